#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The netlink socket, the tokens, the TCP socket, the link and the driver come
to their ends in every order that can occur, each under traffic. Memory is
held exactly as long as somebody may still use it, and not a moment longer.

The same for the removal of the PCI function, for the end of the NIC's network
namespace, and for a reset that fails.

The NIC is taken apart, and set up again, a number of times: this is the file
to run last.
"""

import socket
import time

from lib.py import (Binding, Flow, KsftNamedVariant, KsftSkipEx, MIB,
                    NetNSEnter, Nic, Receiver, Traffic, Udmabuf, batches,
                    bound_queues, defer, describe, dmabufs, holding,
                    ip, ksft_eq, ksft_exit, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, netdev_family, orders,
                    run_in_env, send, wait_for)

# Bindings at a time, each on a queue of its own beside queue 0.
LANES = 15
# Tokens that each binding has out until T, or S.
KEEP = 8
# Of each dma-buf: more than the ring of a queue.
LANE_BYTES = 8 * MIB
# Bytes that each stream has to move before and after an end of the NIC.
PROGRESS = 20000
# A closed socket that cannot say goodbye gives up after so many ms.
USER_TIMEOUT = 1500


def _give_up_soon(sock):
    """
    Let the socket outlive its last descriptor for a moment only: an orphan
    holds its tokens, and segments that came out of order.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


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
        _give_up_soon(sock)
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

        It is mapped as long as hardware may write there. C goes on until the
        last token, for a device that may have no driver any more.
        """
        where = f"{self.name}, after {self.done}"
        if self.bound and not self.hardware_left:
            ksft_eq(len(dmabufs()[self.inode]), 1, where)
        elif self.cfg.is_rust:
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
    _check_works(cfg)
    clock.lap("try")
    ksft_pr(clock)


def _check_works(cfg):
    """The NIC is as good as new."""
    dmabuf, binding = cfg.bind(queues=[1])
    sock, sender = cfg.connect("4", 1)
    receiver = Receiver(sock, dmabuf, binding.id)
    thread = send(sender, 0, MIB // 4)
    receiver.receive_all(MIB // 4)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], MIB // 4)


def _silence(sender, thread):
    """End a stream whose receiver may be gone, or out of reach."""
    try:
        sender.shutdown(socket.SHUT_RDWR)
        thread.finish()
    except OSError:
        pass
    sender.close()


class Elsewhere:
    """A network namespace that the NIC can be moved to."""

    NAME = "devmem-doomed"

    def __init__(self, cfg):
        self._cfg = cfg
        self._there = True
        ip(f"netns add {self.NAME}")
        defer(self.delete)

    def take(self):
        """Move the NIC there; returns its ifindex."""
        ip(f"link set dev {self._cfg.ifname} netns {self.NAME}")
        return ip(f"link show dev {self._cfg.ifname}", json=True,
                  ns=self.NAME)[0]["ifindex"]

    def set_up(self):
        """Link and addresses; header split and such have come along."""
        cfg = self._cfg
        ip(f"link set dev {cfg.ifname} up", ns=self.NAME)
        ip(f"addr add {cfg.addr_v['4']}/24 dev {cfg.ifname}", ns=self.NAME)
        ksft_true(wait_for(lambda: ip(
            f"link show dev {cfg.ifname}", json=True,
            ns=self.NAME)[0]["operstate"] == "UP", 20), "no carrier")

    def delete(self):
        """Delete its name; it ends with the last socket in it."""
        if self._there:
            self._there = False
            ip(f"netns del {self.NAME}")


@leaves_nothing
def netns_deleted(cfg, nic):
    """
    The netns of NIC, binding and sockets is deleted under traffic. Sockets pin
    it, so it goes on until the last one is closed, which is the netlink socket;
    the NIC then lands in init_net, unbound.
    """
    doomed = Elsewhere(cfg)
    ifindex = cfg.ifindex
    try:
        cfg.ifindex = doomed.take()
        doomed.set_up()
        with NetNSEnter(doomed.NAME):
            dmabuf, binding = cfg.bind()
            sock, sender = cfg.connect("4")
        flow = Flow(Receiver(sock, dmabuf, binding.id), sender, KEEP)
        traffic = Traffic([flow])
        try:
            traffic.wait_progress([flow], PROGRESS)
            doomed.delete()
            traffic.wait_progress([flow], PROGRESS)
            ksft_eq(flow.receiver.kinds["plain"], 0)
            flow.close_receiver()
        finally:
            traffic.stop()
        ksft_eq(len(dmabufs()[dmabuf.inode]), 1)
        binding.close()
        ksft_true(wait_for(lambda: not dmabuf.is_held, 20),
                  "the binding must end with its socket")
    finally:
        cfg.ifindex = ifindex
        flow.close()
        binding.close()
        nic.restore()
    _check_works(cfg)


@ksft_variants(["before", "there", "after"])
@leaves_nothing
def netns_moved(cfg, nic, unbind):
    """
    The NIC moves to another netns while it is bound and tokens are out, and
    comes to init_net when that netns is deleted. The binding comes along until
    the netlink socket is closed, here or there, and the tokens stay good.
    """
    doomed = Elsewhere(cfg)
    receiver, sender, binding = holding(cfg)
    _give_up_soon(receiver.sock)
    dmabuf = receiver.dmabuf
    thread = send(sender, 20000, 8 * MIB)
    receiver.receive_all(MIB, keep=KEEP)
    try:
        if unbind == "before":
            binding.close()
        ifindex = doomed.take()
        doomed.set_up()
        with NetNSEnter(doomed.NAME):
            netdev = netdev_family()
            ksft_eq(sorted(bound_queues(netdev, ifindex)),
                    cfg.queues if unbind != "before" else [])
            # a socket would keep the netns
            netdev.sock.close()
        if unbind == "there":
            binding.close()
        ksft_true(dmabuf.is_held)
        doomed.delete()
        nic.wait_home()
        ksft_true(dmabuf.is_held)
        if unbind == "after":
            # C can only unbind from a NIC that is up (defect 8)
            if not cfg.is_rust:
                nic.home_up()
            binding.close()
        ksft_true(dmabuf.is_held, "tokens must hold the memory")
        receiver.release()
        receiver.sock.close()
        ksft_true(wait_for(lambda: not dmabuf.is_held, 20),
                  "the last token must end the binding")
    finally:
        _silence(sender, thread)
        binding.close()
        nic.restore()
    _check_works(cfg)


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
    _give_up_soon(receiver.sock)
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
        _silence(sender, thread)
        binding.close()
        nic.restore()
    _check_works(cfg)


def _cases(cfg):
    """All test cases, for the implementation that runs."""
    return [
        ksft_variants([KsftNamedVariant(name, batch) for name, batch
                       in _batches(cfg.is_rust)])(ends),
        netns_deleted,
        netns_moved,
        reset_fails,
    ]


def main():
    """Run the test cases."""
    run_in_env(__file__,
               lambda cfg: ksft_run(_cases(cfg), args=(cfg, Nic(cfg))))
    ksft_exit()


if __name__ == "__main__":
    main()
