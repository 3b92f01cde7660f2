#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Streams whose packets lie in device memory and in host memory by turns, because
the flow is moved between a bound and an unbound queue: bytes in order, the
right kind each, the two never in one message.
"""

import errno
import os
import socket
import threading

from lib.py import tcpinfo
from lib.py import (KsftNamedVariant, Receiver, ethtool, ksft_eq, ksft_exit,
                    ksft_ge, ksft_ne, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, merges_packets, os_error,
                    pattern, run_in_env, send, wait_for)
from lib.py.faults import REMOTE, Faults
from lib.py.uapi import CMSG_SPACE

TCP_RTO_MAX_MS = 44

# Bytes that are sent between two moves: three packets and a bit.
PHASE = 4500
# Room for all that a case sends before it receives.
RCVBUF = 1 << 20


class Turns:
    """
    A stream whose packets go to a bound queue, where its n-tuple rule sends
    them, or without the rule to an unbound one, where RSS does.

    Attributes:
      receiver: Receiver
      sender: socket
      bound: packets go to the bound queue now
    """

    def __init__(self, cfg, ipver):
        self._cfg = cfg
        self._ipver = ipver
        dmabuf, binding = cfg.bind()
        sock, self.sender = cfg.connect(ipver, rcvbuf=RCVBUF)
        self._port = sock.getsockname()[1]
        self.receiver = Receiver(sock, dmabuf, binding.id)
        self.bound = True

    def turn(self):
        """Move the flow to the other queue."""
        cfg = self._cfg
        if self.bound:
            ethtool(f"-N {cfg.ifname} delete {cfg.rules.pop()}")
        else:
            cfg.steer(self._ipver, self._port, cfg.queues[0])
        self.bound = not self.bound

    def send_phases(self, count):
        """
        Send and wait for @count phases, the first of them to an unbound queue;
        returns the stream's length.
        """
        for phase in range(count):
            self.turn()
            send(self.sender, phase * PHASE, PHASE).finish()
            self.receiver.wait_queued((phase + 1) * PHASE)
        return count * PHASE


def _where(message):
    """Where a message's bytes were: "host", "device", or "both"."""
    if message.kinds() == {"plain"}:
        return "host"
    # a NIC that splits late leaves linear parts to device memory packets
    return "device" if message.kinds() <= {"dmabuf", "linear"} else "both"


def _place(phase):
    return "device" if phase % 2 else "host"


@ksft_variants(["4", "6"])
@leaves_nothing
def a_change_ends_the_call(cfg, ipver):
    """
    Twelve phases wait in the queue: even MSG_WAITALL with room for all gets
    exactly one of them, and so does a MSG_PEEK of it.
    """
    turns = Turns(cfg, ipver)
    receiver = turns.receiver
    size = turns.send_phases(12)
    for phase in range(12):
        left = size - phase * PHASE
        peeked = receiver.recvmsg(size=left,
                                  flags=socket.MSG_PEEK | socket.MSG_WAITALL)
        ksft_eq((peeked.size, _where(peeked)), (PHASE, _place(phase)))
        receiver.check(peeked)
        receiver.tokens += [piece.token for piece in peeked.pieces
                            if piece.kind == "dmabuf"]
        message = receiver.receive(size=left, flags=socket.MSG_WAITALL)
        ksft_eq((message.size, _where(message)), (PHASE, _place(phase)))
    receiver.release()


@leaves_nothing
def small_reads_at_the_borders(cfg):
    """Reads of any size and small control buffers: each byte of its kind."""
    turns = Turns(cfg, "4")
    receiver = turns.receiver
    size = turns.send_phases(8)
    step = 0
    while receiver.position < size:
        phase = receiver.position // PHASE
        step = step % 1900 + 611
        message = receiver.receive(size=step, control=2 * CMSG_SPACE)
        ksft_eq(_where(message), _place(phase))
        ksft_ge((phase + 1) * PHASE, receiver.position)
    receiver.release()
    ksft_eq(receiver.kinds["plain"], size // 2)
    ksft_eq(receiver.kinds["dmabuf"] + receiver.kinds["linear"], size // 2)


@leaves_nothing
def without_the_flag_by_turns(cfg):
    """
    Without the flag the phases in host memory are received, with a short read
    at their end, and those in device memory are EFAULT and wait.
    """
    turns = Turns(cfg, "6")
    receiver = turns.receiver
    size = turns.send_phases(6)
    for phase in range(6):
        at = phase * PHASE
        if _place(phase) == "host":
            ksft_eq(receiver.sock.recv(size), pattern(at, PHASE))
            receiver.position += PHASE
        else:
            for _ in range(2):
                ksft_eq(os_error(receiver.sock.recv, size), errno.EFAULT)
            receiver.receive_all(at + PHASE)
    ksft_eq(receiver.kinds["dmabuf"] + receiver.kinds["linear"], size // 2)


class Endless(threading.Thread):
    """Sends the stream until it is told to stop."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self._sock = sock
        self._stop = threading.Event()
        self.sent = 0
        self.start()

    def run(self):
        while not self._stop.is_set():
            self._sock.sendall(pattern(self.sent, 30000))
            self.sent += 30000

    def finish(self):
        """Stop; the last write may have to be received first."""
        self._stop.set()


@ksft_variants(["4", "6"])
@leaves_nothing
def moved_while_it_runs(cfg, ipver):
    """
    Six moves under load: packets of both queues are under way at once, may
    overtake each other, and still come in order and apart.
    """
    turns = Turns(cfg, ipver)
    receiver = turns.receiver
    endless = Endless(turns.sender)
    changes = messages = 0
    last = None

    def receive():
        nonlocal changes, messages, last
        where = _where(receiver.receive())
        ksft_ne(where, "both")
        changes += where != last and last is not None
        messages += 1
        last = where
        receiver.release()

    for _ in range(6):
        kind = "dmabuf" if turns.bound else "plain"
        goal = receiver.kinds[kind] + 150000
        while receiver.kinds[kind] < goal:
            receive()
        turns.turn()
    endless.finish()
    while endless.is_alive() or receiver.position < endless.sent:
        receive()
    ksft_pr(f"{receiver.kinds}, {changes} changes in {messages} messages")
    ksft_ge(changes, 5)


@ksft_variants([KsftNamedVariant("in_host_memory", True),
                KsftNamedVariant("in_device_memory", False)])
@leaves_nothing
def hole_filled_from_the_other_queue(cfg, bound):
    """
    A segment is lost between two others and comes again through the other
    queue: the hole in the out-of-order queue is filled with the other kind.
    """
    turns = Turns(cfg, "4")
    receiver = turns.receiver
    faults = Faults()
    turns.sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
    if turns.bound != bound:
        turns.turn()
    mss = turns.sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    short = mss // 2
    turns.sender.sendall(pattern(0, short))
    receiver.wait_queued(short)
    # only the long segment is lost, every time that it is sent
    faults.set(f"drop=port={REMOTE},min-len={mss},count=0")
    turns.sender.sendall(pattern(short, mss))
    turns.sender.sendall(pattern(short + mss, short))
    acked = wait_for(lambda: tcpinfo.sacked(turns.sender), 20)
    ksft_true(acked, "the segment behind the hole did not come")
    ksft_eq(receiver.queued(), short)
    turns.turn()
    faults.set()
    size = mss + 2 * short
    receiver.wait_queued(size)
    places = []
    while receiver.position < size:
        message = receiver.receive(size=size - receiver.position,
                                   flags=socket.MSG_WAITALL)
        places.append((message.size, _where(message)))
    receiver.release()
    one, other = ("device", "host") if bound else ("host", "device")
    ksft_eq(places, [(short, one), (mss, other), (short, one)])


CASES = [
    a_change_ends_the_call,
    small_reads_at_the_borders,
    without_the_flag_by_turns,
    hole_filled_from_the_other_queue,
    moved_while_it_runs,
]


def run(cfg):
    """Run the test cases."""
    ksft_run(CASES, args=(cfg,))


def main():
    """Set up and run."""
    splits_late = os.environ.get("DEVMEM_SPLIT_LATE", "0") != "0"
    run_in_env(__file__, merges_packets(run) if splits_late else run)
    ksft_exit()


if __name__ == "__main__":
    main()
