#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The netlink socket, the tokens, the TCP socket, the link and the driver come
to their ends in every order that can occur, each under traffic. Memory is
held exactly as long as somebody may still use it, and not a moment longer.

The same for the removal of the PCI function, and for a reset that fails.

The NIC is taken apart, and set up again, a number of times: this is the file
to run last.
"""

import time

from lib.py import (Binding, Flow, KsftNamedVariant, KsftSkipEx, MIB, Nic,
                    Receiver, Traffic, Udmabuf, batches, bound_queues, defer,
                    describe, dmabufs, give_up_soon, holding, ksft_eq,
                    ksft_exit, ksft_pr, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, orders, run_in_env, send, wait_for)

# Bindings at a time, each on a queue of its own beside queue 0.
LANES = 15
# Tokens that each binding has out until T, or S.
KEEP = 8
# Of each dma-buf: more than the ring of a queue.
LANE_BYTES = 8 * MIB
# Seconds until the work item that unmaps must have run.
UNMAPPED = 5
# Bytes that each stream has to move before and after an end of the NIC.
PROGRESS = 20000


class Lane:
    """A binding on one queue, a stream into it, and the order of its ends."""

    def __init__(self, cfg, queue, ipver, order):
        self.cfg = cfg
        self.queue = queue
        self.order = order
        self.name = f"{describe(order)} ({order.kind}, queue {queue})"
        self.done = set()
        self.hardware_left = False
        self.dmabuf = Udmabuf(LANE_BYTES)
        defer(self.dmabuf.close)
        self.inode = self.dmabuf.inode
        self.binding = Binding(cfg.ifindex, self.dmabuf.fd, [queue])
        defer(self.binding.close)
        self.holder = None
        if order.kind == "two":
            self.holder = self._hold(ipver)
        sock, sender = cfg.connect(ipver, queue)
        give_up_soon(sock)
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

    def check(self):
        """
        Memory that somebody may use must be there.

        It is mapped as long as hardware may write there: a work item unmaps it
        once the last queue has let go, and the removal of a device waits for
        that. C goes on until the last token, for a device that may have no
        driver any more.
        """
        where = f"{self.name}, after {self.done}"
        if self.bound and not self.hardware_left:
            ksft_eq(len(dmabufs()[self.inode]), 1, where)
        elif self.cfg.is_rust:
            wait_for(lambda: self.hardware_left or not dmabufs()[self.inode],
                     UNMAPPED)
            ksft_eq(dmabufs()[self.inode], [], where)
        elif self.held:
            ksft_eq(len(dmabufs()[self.inode]), 1, where)
        if self.held:
            ksft_true(self.dmabuf.is_held, where)

    def hardware_gone(self):
        """The NIC has left for good."""
        self.hardware_left = True

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
    elif which == "R":
        nic.remove()
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
                    if timeline[slot] in "VR":
                        lane.hardware_gone()
                    lane.check()
    finally:
        traffic.stop()


def _c_survives(order):
    """
    What the unfixed base must not be asked for. It cannot restart a queue of a
    gve that is down, so that unbinding then ends in a WARN (defect 8); and it
    does not hold the device that it maps for, so that unmapping after a
    removal uses memory that was freed (defect 18).
    """
    after = list(zip(order.timeline, order.slots[1:]))
    return not any("N" in slot for before, slot in after if before == "D") and \
        not any(slot for before, slot in after if before == "R")


def _batches(is_rust):
    """A name and orders of one timeline, as many as run at once."""
    for timeline in ("DU", "V", "DV", "DUV", "R"):
        todo = [order for order in orders(timeline)
                if is_rust or _c_survives(order)]
        for number, batch in enumerate(batches(todo, LANES)):
            yield f"{timeline}_{number}", batch


class Clock:
    """Says where the time goes."""

    def __init__(self):
        self._last = time.monotonic()
        self._laps = []

    def lap(self, what):
        """Note what has been done since the last lap."""
        now = time.monotonic()
        self._laps.append(f"{what} {now - self._last:.1f} s")
        self._last = now

    def __str__(self):
        return ", ".join(self._laps)


@leaves_nothing
def ends(cfg, nic, batch):
    """Run a batch of orders; see lib/py/orders.py for the letters."""
    clock = Clock()
    cfg.use_rx_queues(LANES + 1)
    clock.lap("queues")
    ksft_pr(" ".join(f"{describe(o)}/{o.kind}" for o in batch))
    lanes = []
    try:
        for number, order in enumerate(batch):
            lanes.append(Lane(cfg, number + 1, "46"[number % 2], order))
        clock.lap("bind and connect")
        _run(cfg, nic, lanes, batch[0].timeline)
        clock.lap("ends")
        for lane in lanes:
            ksft_true(lane.finished, lane.name)
            ksft_true(wait_for(lambda: lane.dmabuf.is_free, 20),
                      f"{lane.name}: {dmabufs()[lane.inode]}, "
                      f"held: {lane.dmabuf.is_held}")
        clock.lap("memory back")
    finally:
        for lane in lanes:
            lane.close()
        clock.lap("close")
        if nic.here():
            cfg.link_up()
        else:
            nic.restore()
    clock.lap("restore")
    nic.check_works()
    clock.lap("try")
    ksft_pr(clock)


@leaves_nothing
def reset_fails(cfg, nic):
    """
    A reset under traffic does not bring the queues back: the NIC is dead. Yet
    unbinding works, all memory comes back, and so does the NIC with its driver.
    """
    if not cfg.is_rust:
        raise KsftSkipEx("the unfixed base warns when a queue cannot be "
                         "restarted (defect 8)")
    receiver, sender, binding = holding(cfg)
    give_up_soon(receiver.sock)
    dmabuf = receiver.dmabuf
    thread = send(sender, 20000, 8 * MIB)
    receiver.receive_all(MIB, keep=KEEP)
    try:
        before = cfg.resets()
        with cfg.faults("reset-request=after-ms=100,port=0",
                        "admin-fail=opcode=CREATE_RX_QUEUE,count=0,port=0"):
            ksft_true(wait_for(lambda: cfg.resets() > before, 30),
                      "the driver does not reset the device")
            binding.close()
        ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
        ksft_true(dmabuf.is_held, "tokens must hold the memory")
        receiver.release()
        receiver.sock.close()
        ksft_true(wait_for(lambda: not dmabuf.is_held, 20),
                  "the last token must end the binding")
        nic.unbind_driver()
    finally:
        thread.abandon()
        binding.close()
        nic.restore()
    nic.check_works()


def _cases(cfg):
    """All test cases, for the implementation that runs."""
    return [
        ksft_variants([KsftNamedVariant(name, batch) for name, batch
                       in _batches(cfg.is_rust)])(ends),
        reset_fails,
    ]


def main():
    """Run the test cases."""
    run_in_env(__file__,
               lambda cfg: ksft_run(_cases(cfg), args=(cfg, Nic(cfg))))
    ksft_exit()


if __name__ == "__main__":
    main()
