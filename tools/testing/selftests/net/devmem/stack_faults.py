#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What the stack does with unreadable data (see stack.py) while frames are lost,
overtaken, doubled or damaged, an interrupt is lost or a queue does nothing:
each case once with each of these, and every byte of the stream is right.

With DEVMEM_SPLIT_LATE the NIC leaves the first bytes of each payload in host
memory, which is for the cases that say so.
"""

import errno
import fcntl
import os
import signal
import socket

from lib.py import netfilter, tcpinfo
from lib.py import (KsftNamedVariant, KsftSkipEx, Receiver, base_fails, defer,
                    ethtool, ksft_eq, ksft_exit, ksft_ge, ksft_ne, ksft_run,
                    ksft_variants, leaves_nothing, merges_packets, os_error,
                    pattern, run_in_env, send, wait_for)
from lib.py.queued import check_nothing_comes
from lib.py.sockmap import SK_SKB_VERDICT, Sockmap
from lib.py.tcpsig import connect, md5_key
from lib.py.weather import KINDS, Weather, impatient
from stack import _beyond, connect_beyond

SIZE = 6000
NFQUEUE = 7
LATE = int(os.environ.get("DEVMEM_SPLIT_LATE", "0"))

in_any_weather = ksft_variants([KsftNamedVariant(kind.replace("-", "_"), kind)
                                for kind in KINDS])


def _exact():
    if LATE:
        raise KsftSkipEx("for a NIC that splits exactly")


def _send_segments(sender, start, count=6, size=1000):
    """Send the next bytes, a segment each time; returns where they end."""
    for at in range(start, start + count * size, size):
        sender.sendall(pattern(at, size))
    return start + count * size


@in_any_weather
@leaves_nothing
@base_fails("panics on urgent data in device memory (defect 1)")
def urgent(cfg, kind):
    """An urgent byte among segments: nothing is lost, nothing is skipped."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    signals = []
    old = signal.signal(signal.SIGURG, lambda *_: signals.append(1))
    defer(signal.signal, signal.SIGURG, old)
    _own(receiver.sock)
    start = receiver.position
    with weather:
        at = _send_segments(sender, start, 3)
        sender.sendall(pattern(at, 1), socket.MSG_OOB)
        at = _send_segments(sender, at + 1, 3)
        receiver.wait_queued(at - start)
    receiver.receive_all(at)
    ksft_eq(receiver.kinds["dmabuf"], at - start)
    ksft_eq(wait_for(lambda: len(signals), 20), 1, "SIGURG")
    weather.check_struck(sender)


def _own(sock):
    """Have SIGURG sent to this process."""
    fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())


@in_any_weather
@leaves_nothing
@merges_packets
def merged(cfg, kind):
    """
    GRO and the receive queue merge what came; where the NIC splits late, only
    what is alike.
    """
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    start = receiver.position
    with weather:
        # ragged, so that some packets are shorter than what is split late
        at = start
        for size in (40, 3000, 100, 9000, 64, 1448, 65, 30000, 1):
            send(sender, at, size).finish()
            at += size
        receiver.wait_queued(at - start)
    receiver.receive_all(at)
    ksft_eq(sum(receiver.kinds.values()), at - start)
    ksft_ne(receiver.kinds["dmabuf"], 0)
    if not LATE:
        ksft_eq(receiver.kinds["dmabuf"], at - start)
    weather.check_struck(sender)


@in_any_weather
@leaves_nothing
@base_fails("warns about checksums of unreadable data (defect 12)")
def checksum_off(cfg, kind):
    """What the NIC has not verified is dropped, and comes in order later."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    start = receiver.position
    before = tcpinfo.counter("InCsumErrors")
    ethtool(f"-K {cfg.ifname} rx off")
    on_again = defer(ethtool, f"-K {cfg.ifname} rx on")
    with weather:
        at = _send_segments(sender, start)
        check_nothing_comes(receiver)
        ksft_ge(tcpinfo.counter("InCsumErrors"), before + 2)
        on_again.exec()
        receiver.receive_all(at)
    ksft_eq(receiver.kinds["dmabuf"], at - start)


@in_any_weather
@leaves_nothing
def splice(cfg, kind):
    """splice(2) fails, and loses nothing."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    start = receiver.position
    ends = os.pipe()
    for end in ends:
        defer(os.close, end)
    with weather:
        at = _send_segments(sender, start)
        for queued in (1000, 3000, 6000):
            receiver.wait_queued(queued)
            if cfg.is_fixed:
                ksft_eq(os_error(os.splice, receiver.sock.fileno(), ends[1],
                                 SIZE), errno.EFAULT)
    receiver.receive_all(at)
    ksft_eq(receiver.kinds["dmabuf"], at - start)
    weather.check_struck(sender)


def _sockmap(setup):
    """A sockmap, or a skip where there is none."""
    try:
        sockmap = Sockmap()
        defer(sockmap.close)
        setup(sockmap)
    except OSError as error:
        raise KsftSkipEx(f"no sockmap in this kernel: {error}") from error
    return sockmap


@in_any_weather
@leaves_nothing
@base_fails("panics on the receive from a sockmap (defect 12)")
def sockmap_pass(cfg, kind):
    """No scatterlist is made of it: the socket fails."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    sockmap = _sockmap(lambda new: new.verdict_pass())
    sockmap.add(0, receiver.sock)
    receiver.sock.settimeout(10)
    with weather:
        _send_segments(sender, receiver.position)
        ksft_eq(os_error(receiver.sock.recv, SIZE), errno.EFAULT)


@in_any_weather
@leaves_nothing
@base_fails("panics on a redirect by a sockmap (defect 12)")
def sockmap_redirect(cfg, kind):
    """It is not sent on through another socket, which fails."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    other, far_end = cfg.connect("4", 0)
    sockmap = _sockmap(
        lambda new: new.verdict_redirect(1, False, SK_SKB_VERDICT))
    sockmap.add(1, other)
    sockmap.add(0, receiver.sock)
    with weather:
        _send_segments(sender, receiver.position)
        ksft_eq(wait_for(lambda: other.getsockopt(
            socket.SOL_SOCKET, socket.SO_ERROR), 10), errno.EFAULT)
    ksft_eq(Receiver(far_end, None, 0).queued(), 0)


@in_any_weather
@leaves_nothing
@base_fails("panics on signed segments in device memory (defect 2)")
def signed(cfg, kind):
    """
    Nothing of a signed stream is delivered out of device memory, and all of it
    once the queue is no longer bound.
    """
    _exact()
    weather = Weather(cfg, kind)
    _, binding = weather.bind()
    sock, sender = connect(cfg, "4", md5_key)
    sock.settimeout(None)
    impatient(sender)
    receiver = Receiver(sock, None, 0)
    before = tcpinfo.counter("TCPMD5Failure")
    with weather:
        at = _send_segments(sender, 0)
        check_nothing_comes(receiver)
        ksft_ge(tcpinfo.counter("TCPMD5Failure"), before + 1)
        binding.close()
        receiver.receive_all(at)
    ksft_eq(receiver.kinds["plain"], at)


@in_any_weather
@leaves_nothing
def hairpin(cfg, kind):
    """What arrived does not leave; once it is readable it does."""
    _exact()
    weather = Weather(cfg, kind)
    _beyond(cfg)
    _, binding = weather.bind()
    receiver, sender = connect_beyond(cfg)
    impatient(sender)
    with weather:
        at = _send_segments(sender, 0)
        if cfg.is_fixed:
            check_nothing_comes(receiver)
        else:
            receiver.wait_queued(at)
        binding.close()
        receiver.receive_all(at)
    ksft_eq(receiver.kinds["plain"], at)


@in_any_weather
@leaves_nothing
@base_fails("hands zeros to the application in place of the data (R1)")
def queued(cfg, kind):
    """All goes through NFQUEUE, where user space sees the headers."""
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    start = receiver.position
    queue = netfilter.Queue(NFQUEUE)
    defer(queue.close)
    netfilter.table(netfilter.input_chain(
        f"tcp dport {sender.getpeername()[1]} queue num {NFQUEUE}"))
    with weather:
        at = _send_segments(sender, start)
        receiver.receive_all(at)
    ksft_eq(receiver.kinds["dmabuf"], at - start)
    ksft_ge(len(queue.packets), 1)
    weather.check_struck(sender)


@ksft_variants([
    KsftNamedVariant(f"{fault}_{kind}".replace("-", "_"), fault, kind)
    for fault in ("header-lost", "header-long", "data-long", "end-lost")
    for kind in KINDS])
@leaves_nothing
@base_fails("panics on a packet whose header the NIC left in the buffer, reads "
            "beyond the end of one that is too long (defect 3), and so on")
def nonsense(cfg, fault, kind):
    """
    The NIC says of some packets that it has split them and has not, names more
    header or more data than there are, or has them go on: dropped, and sent
    again.
    """
    _exact()
    weather = Weather(cfg, kind)
    receiver, sender, _ = weather.stream()
    start = receiver.position
    queue = cfg.queues[0]
    also = [KINDS[kind]] if KINDS[kind] else []
    with cfg.faults(f"{fault}=port=0,queue={queue},nth=2,count=2", *also):
        at = _send_segments(sender, start)
        receiver.wait_queued(at - start)
    receiver.receive_all(at)
    ksft_eq(receiver.kinds["dmabuf"], at - start)
    # of a frame that comes twice only one may be struck
    ksft_ge(tcpinfo.retransmitted(sender), 1)


CASES = [
    urgent,
    merged,
    checksum_off,
    splice,
    sockmap_pass,
    sockmap_redirect,
    signed,
    hairpin,
    queued,
    nonsense,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
