#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
A queue with few niovs: fewer than its driver posts at a time, fewer than a
frame takes, or none for a while since the application holds them all. As long
as a frame fits, packets get through, and the kernel says what will not do.
"""

import errno
import socket
import sys

from lib.py import (Binding, KsftNamedVariant, KsftSkipEx, Receiver, Udmabuf,
                    base_fails, bind_request, bound_queues, defer,
                    expect_refused, ip, ksft_eq, ksft_exit, ksft_ge, ksft_in,
                    ksft_pr, ksft_run, ksft_variants, leaves_nothing,
                    run_in_env, send, try_bind, wait_for)
from lib.py.traffic import TCP_RTO_MAX_MS, TCP_RTO_MIN_US

NIOV = 4096
HEADERS = 40
# Seconds until traffic has to go on: a few timeouts of the sender.
SOON = 15
# As many as gve posts at a time, and one less and more.
COUNTS = (31, 32, 33, 1)
SO_MEMINFO = 55

posts_few = base_fails("does not tell the NIC of fewer than 32 buffers")


def _frame(cfg):
    """Niovs that a frame takes."""
    mtu = ip(f"link show dev {cfg.ifname}", json=True)[0]["mtu"]
    return -(-(mtu - HEADERS) // NIOV)


def _connect(cfg, dmabuf, binding, ipver="4"):
    """A connection that lands in the binding, and tries again soon."""
    sock, sender = cfg.connect(ipver, cfg.queues[0])
    sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MIN_US, 20000)
    sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
    return Receiver(sock, dmabuf, binding.id), sender


def _receive(receiver, upto):
    """Receive up to a position, and give back each token at once."""
    while receiver.position < upto:
        if not receiver.readable(SOON):
            raise TimeoutError(f"silence after {receiver.position} bytes")
        receiver.receive()
        receiver.release()


@ksft_variants([KsftNamedVariant(f"{more}_more_than_a_frame", more)
                for more in (0, 1, 7, 15, 30, 31, 32, 62)])
@leaves_nothing
@posts_few
def small(cfg, more):
    """A dma-buf that holds a frame, and hardly more."""
    niovs = _frame(cfg) + more
    dmabuf, binding = cfg.bind(niovs * NIOV, cfg.queues[:1])
    size = 30000 if more < 8 else 300000
    for ipver in "46":
        receiver, sender = _connect(cfg, dmabuf, binding, ipver)
        thread = send(sender, 0, size)
        _receive(receiver, size)
        thread.finish()
        ksft_eq(receiver.kinds["dmabuf"], size)
        receiver.sock.close()
        sender.close()


class Hoard:
    """A receiver that holds on to all niovs of its queue."""

    def __init__(self, cfg):
        self.frame = _frame(cfg)
        self.niovs = 128
        dmabuf, self.binding = cfg.bind(self.niovs * NIOV, cfg.queues[:1])
        self.receiver, sender = _connect(cfg, dmabuf, self.binding)
        # more than all the turns take
        self.size = 640 * self.frame * NIOV
        self.thread = send(sender, 0, self.size)
        self.fill()

    def _early(self):
        """
        Niovs of segments that came before a lost one, and wait for it. If they
        have all that is left, so does everybody: it cannot come again.
        """
        memory = self.receiver.sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4)
        return int.from_bytes(memory, sys.byteorder) // NIOV

    def _fits(self, early=0):
        """Whether what is left can hold a frame."""
        left = self.niovs - len(self.receiver.tokens) - early
        return left >= self.frame

    def fill(self):
        """Receive until what is left cannot hold a frame."""
        while self._fits():
            if not wait_for(lambda: self.receiver.readable(0) or
                            not self._fits(self._early()), SOON):
                raise TimeoutError(f"silence with {len(self.receiver.tokens)} "
                                   f"of {self.niovs} niovs held")
            if not self.receiver.readable(0):
                ksft_pr(f"{self._early()} niovs wait for what is lost")
                return
            self.receiver.receive()

    def give_back(self, frames):
        """Release what so many frames take; that many have to get through."""
        before = self.receiver.position
        self.receiver.release(frames * self.frame)
        self.fill()
        ksft_pr(f"{self.receiver.position - before} bytes in {frames} frames")

    def finish(self):
        """Receive the rest."""
        self.receiver.release()
        _receive(self.receiver, self.size)
        self.thread.finish()
        ksft_eq(self.receiver.kinds["dmabuf"], self.size)


@leaves_nothing
@posts_few
def given_back(cfg):
    """Nothing is left, then a little is given back, again and again."""
    hoard = Hoard(cfg)
    for _ in range(4):
        for count in COUNTS:
            hoard.give_back(count)
    hoard.finish()


def _other_rings(cfg):
    """All queues are made anew, with other rings."""
    cfg.use_rx_ring(cfg.rings()["rx"] // 2)


def _link(cfg):
    """The link goes down, and comes back up."""
    cfg.link_down()
    cfg.link_up()


def _neighbour(cfg):
    """Another queue is restarted, twice, while this one has nothing."""
    dmabuf, binding = cfg.bind(64 * NIOV, cfg.queues[1:2])
    binding.close()
    dmabuf.close()


@ksft_variants([KsftNamedVariant("other_rings", _other_rings),
                KsftNamedVariant("link", _link),
                KsftNamedVariant("neighbour", _neighbour)])
@leaves_nothing
@posts_few
def given_back_after(cfg, happens):
    """
    The queue is made anew, or stands still, while all niovs are held: its ring
    is empty then, and no packet comes in to have it filled.
    """
    hoard = Hoard(cfg)
    happens(cfg)
    for count in COUNTS:
        hoard.give_back(count)
    hoard.finish()


def _needs_rust(cfg):
    if not cfg.is_rust:
        raise KsftSkipEx("the implementation in C binds without a word")


def _refused(cfg, niovs, queues, *says):
    dmabuf = Udmabuf(niovs * NIOV)
    defer(dmabuf.close)
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, queues))
    expect_refused(cfg, error, errno.EINVAL, rust_attr=".fd", says=says)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


@leaves_nothing
def too_few(cfg):
    """What cannot hold a frame on each queue is refused; a niov more is not."""
    _needs_rust(cfg)
    for queues in (cfg.queues[:1], cfg.queues[:2]):
        need = _frame(cfg) * len(queues)
        if need > 1:
            _refused(cfg, need - 1, queues, f"{need - 1} niovs", f"need {need}")
        dmabuf, binding = cfg.bind(need * NIOV, queues)
        binding.close()
        dmabuf.close()


@leaves_nothing
def mtu_counts(cfg):
    """How many niovs a frame takes depends on the MTU."""
    _needs_rust(cfg)
    before = ip(f"link show dev {cfg.ifname}", json=True)[0]["mtu"]
    defer(cfg.wait_carrier)
    defer(ip, f"link set dev {cfg.ifname} mtu {before}")
    for mtu, need in ((8192, 2), (8232, 2), (8233, 3), (9000, 3)):
        ip(f"link set dev {cfg.ifname} mtu {mtu}")
        cfg.wait_carrier()
        _refused(cfg, need - 1, cfg.queues[:1], f"MTU {mtu}", f"takes {need}")


def _warning(cfg, niovs, queues):
    """What is said when so much is bound."""
    dmabuf = Udmabuf(niovs * NIOV)
    binding = Binding(cfg.ifindex, dmabuf.fd, queues)
    warning = binding.warning
    binding.close()
    dmabuf.close()
    ksft_pr(f"{niovs} niovs on {len(queues)} queues: {warning!r}")
    return warning


@leaves_nothing
def warned(cfg):
    """What will stall is bound, and the answer says what would not."""
    _needs_rust(cfg)
    ring = cfg.rings()["rx"]
    kib = ring * NIOV // 1024
    ksft_eq(_warning(cfg, ring, cfg.queues[:1]), "")
    short = _warning(cfg, ring - 1, cfg.queues[:1])
    ksft_in(f"{ring - 1} niovs", short)
    ksft_in(f"bind {kib} KiB", short)

    ksft_eq(_warning(cfg, 2 * ring, cfg.queues[:2]), "")
    short = _warning(cfg, ring // 2, cfg.queues[:2])
    ksft_in(f"RX queue {cfg.queues[1]} ", short)
    ksft_in(f"of {ring // 2} niovs", short)
    ksft_in(f"bind {2 * kib} KiB", short)
    ksft_ge(79, len(short))


CASES = [
    small,
    given_back,
    given_back_after,
    too_few,
    mtu_counts,
    warned,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
