#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The netlink socket, the tokens, the TCP socket, the link and the driver come
to their ends in every order that can occur, each under traffic. Memory is
held exactly as long as somebody may still use it, and not a moment longer.

The driver is unbound a number of times. The NIC is set up again after that,
but this is the file to run last.
"""

from lib.py import (Flow, KsftNamedVariant, MIB, Nic, Receiver, Traffic, batches,
                    bound_queues, describe, dmabufs, ksft_eq, ksft_exit, ksft_pr,
                    ksft_run, ksft_true, ksft_variants, leaves_nothing, orders,
                    run_in_env, send, wait_for)

# Bindings at a time, each on a queue of its own beside queue 0.
LANES = 12
# Tokens that each binding has out until T, or S.
KEEP = 8
# Bytes that each stream has to move before and after an end of the NIC.
PROGRESS = 20000
# A closed socket that cannot say goodbye gives up after so many ms.
USER_TIMEOUT = 1500
TCP_USER_TIMEOUT = 18
IPPROTO_TCP = 6


class Lane:
    """A binding on one queue, a stream into it, and the order of its ends."""

    def __init__(self, cfg, queue, ipver, order):
        self.cfg = cfg
        self.queue = queue
        self.order = order
        self.name = f"{describe(order)} ({order.kind}, queue {queue})"
        self.done = set()
        self.dmabuf, self.binding = cfg.bind(queues=[queue])
        self.inode = self.dmabuf.inode
        self.holder = None
        if order.kind == "two":
            self.holder = self._hold(ipver)
        sock, sender = cfg.connect(ipver, queue)
        if order.kind == "close":
            sock.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT)
        self.flow = Flow(Receiver(sock, self.dmabuf, self.binding.id), sender,
                         0 if self.holder else KEEP)

    def _hold(self, ipver):
        """A second socket that has tokens of the binding, and no traffic."""
        sock, sender = self.cfg.connect(ipver, self.queue)
        holder = Receiver(sock, self.dmabuf, self.binding.id)
        send(sender, 0, PROGRESS).finish()
        holder.receive_all(PROGRESS, keep=1 << 30)
        ksft_true(holder.tokens, f"{self.name}: no tokens to hold")
        return holder

    def end(self, which):
        """Bring one of the binding's ends about."""
        if which == "N":
            self.binding.close()
        elif which == "S":
            self.flow.close_receiver()
        elif self.holder:
            self.holder.release()
        else:
            self.flow.release_held()
        self.done.add(which)

    @property
    def bound(self):
        """Nobody has closed the netlink socket."""
        return "N" not in self.done

    @property
    def streaming(self):
        """The receiving socket is open."""
        return "S" not in self.done

    @property
    def finished(self):
        """All ends of the binding have come."""
        return set("".join(self.order.slots)) == self.done

    @property
    def held(self):
        """Somebody has a right to the memory, for certain."""
        tokens = self.holder.tokens if self.holder else self.flow.held
        return self.bound or bool(tokens)

    def attached(self):
        """Devices that the dma-buf is attached to."""
        return dmabufs().get(self.inode, [])

    def check(self):
        """Memory that somebody may use must be there."""
        if self.held:
            ksft_eq(len(self.attached()), 1, f"{self.name}, after {self.done}")

    def close(self):
        """The rest, in any order."""
        self.flow.close()
        self.binding.close()
        if self.holder:
            self.holder.sock.close()


def _end_of_nic(cfg, nic, which):
    """Bring one of the NIC's ends about."""
    if which == "D":
        cfg.link_down()
    elif which == "U":
        cfg.link_up()
    else:
        nic.unbind_driver()


def _check_queues(cfg, lanes):
    """Exactly the bindings whose netlink socket is open are on their queues."""
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {lane.queue: lane.binding.id for lane in lanes if lane.bound})


def _run(cfg, nic, lanes, timeline):
    """Let all ends come."""
    traffic = Traffic([lane.flow for lane in lanes])
    up = True
    try:
        for slot in range(len(timeline) + 1):
            if up:
                _check_queues(cfg, lanes)
                traffic.wait_progress([lane.flow for lane in lanes
                                       if lane.streaming], PROGRESS)
            for lane in lanes:
                for which in lane.order.slots[slot]:
                    lane.end(which)
                    traffic.check()
                    lane.check()
            if up:
                _check_queues(cfg, lanes)
            if slot < len(timeline):
                _end_of_nic(cfg, nic, timeline[slot])
                up = timeline[slot] == "U"
                for lane in lanes:
                    lane.check()
    finally:
        traffic.stop()


def _c_warns(order):
    """
    The base's core cannot restart a queue of a gve that is down (defect 8):
    unbinding then ends in a WARN, which is nothing for a test to provoke.
    """
    return any("N" in slot for before, slot
               in zip(order.timeline, order.slots[1:]) if before == "D")


def _batches(cfg_is_rust):
    """A name and orders of one timeline, as many as run at once."""
    for timeline in ("V", "DV", "DUV"):
        todo = [order for order in orders(timeline)
                if cfg_is_rust or not _c_warns(order)]
        for number, batch in enumerate(batches(todo, LANES)):
            yield f"{timeline}_{number}", batch


@leaves_nothing
def ends(cfg, nic, batch):
    """Run a batch of orders; see lib/py/orders.py for the letters."""
    cfg.use_rx_queues(LANES + 1)
    ksft_pr(" ".join(f"{describe(o)}/{o.kind}" for o in batch))
    lanes = []
    try:
        for number, order in enumerate(batch):
            lanes.append(Lane(cfg, number + 1, "46"[number % 2], order))
        _run(cfg, nic, lanes, batch[0].timeline)
        for lane in lanes:
            ksft_true(lane.finished, lane.name)
            ksft_true(wait_for(lambda: not lane.attached(), 20),
                      f"{lane.name}: still attached")
    finally:
        for lane in lanes:
            lane.close()
        nic.restore()
    _check_works(cfg)


def _check_works(cfg):
    """The NIC is as good as new."""
    dmabuf, binding = cfg.bind(queues=[1])
    sock, sender = cfg.connect("4", 1)
    receiver = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, MIB // 4)
    receiver.receive_all(MIB // 4)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], MIB // 4)


def _cases(cfg):
    """All test cases, for the implementation that runs."""
    return [
        ksft_variants([KsftNamedVariant(name, batch) for name, batch
                       in _batches(cfg.is_rust)])(ends),
    ]


def main():
    """Run the test cases."""
    run_in_env(__file__,
               lambda cfg: ksft_run(_cases(cfg), args=(cfg, Nic(cfg))))
    ksft_exit()


if __name__ == "__main__":
    main()
