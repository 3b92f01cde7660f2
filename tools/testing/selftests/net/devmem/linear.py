#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
A NIC that splits headers late leaves the first bytes of the payload beside
the headers, in host memory: those come in the iov and a SCM_DEVMEM_LINEAR
message, the rest in the dma-buf, and the stream must read as one.

DEVMEM_SPLIT_LATE says how many bytes the NIC splits late (the emulated
gVNIC's --split-late); without it, or with 0, there is nothing to test.
"""

import errno
import os
import socket

from lib.py import (KsftSkipEx, MIB, defer, ksft_eq, ksft_exit, ksft_ge,
                    ksft_lt, ksft_ne, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, merges_packets, os_error,
                    pattern, run_in_env, send)
from lib.py.rawmsg import Memory, RawReceive
from lib.py.uapi import (CMSG_SPACE, DMABUF_CMSG, ETOOSMALL,
                         SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR)


def _late():
    """Bytes of payload that stay in host memory, for each packet."""
    late = int(os.environ.get("DEVMEM_SPLIT_LATE", "0"))
    if not late:
        raise KsftSkipEx("the NIC splits exactly (DEVMEM_SPLIT_LATE is not "
                         "set)")
    return late


def _one_packet(cfg):
    """A stream with one packet in its queue that has parts of both kinds."""
    size = _late() + 700
    receiver, sender, _ = cfg.stream("4")
    sender.sendall(pattern(0, size))
    receiver.wait_queued(size)
    return receiver


@ksft_variants(["4", "6"])
@leaves_nothing
def one_by_one(cfg, ipver):
    """Packets that are received before the next one is sent."""
    late = _late()
    receiver, sender, _ = cfg.stream(ipver)
    size = late + 700
    for step in range(30):
        sender.sendall(pattern(step * size, size))
        receiver.wait_queued(size)
        message = receiver.receive()
        ksft_eq([(piece.kind, piece.size) for piece in message.pieces],
                [("linear", late), ("dmabuf", 700)])
        receiver.release()


@ksft_variants(["4", "6"])
@leaves_nothing
@merges_packets
def both_kinds(cfg, ipver):
    """Linear and dmabuf pieces in one stream, in order, all verified."""
    _late()
    receiver, sender, _ = cfg.stream(ipver)
    thread = send(sender, 0, MIB)
    mixed = 0
    while receiver.position < MIB:
        if receiver.receive().kinds() == {"linear", "dmabuf"}:
            mixed += 1
        receiver.release()
    thread.finish()
    ksft_pr(f"{receiver.kinds}, {mixed} messages had both")
    ksft_ne(receiver.kinds["linear"], 0)
    ksft_ne(receiver.kinds["dmabuf"], 0)
    # a segment that is no longer than what splits late has nothing unreadable
    ksft_lt(receiver.kinds["plain"], MIB // 100)
    ksft_ne(mixed, 0)


@leaves_nothing
def only_linear(cfg):
    """A payload no longer than what splits late needs no dma-buf at all."""
    late = _late()
    receiver, sender, _ = cfg.stream("4")
    for step in range(10):
        send(sender, step * late, late).finish()
        receiver.receive_all((step + 1) * late)
    ksft_eq(receiver.position, 10 * late)
    ksft_eq(receiver.kinds["dmabuf"], 0)
    ksft_eq(receiver.frags, 0)


@leaves_nothing
@merges_packets
def linear_in_parts(cfg):
    """An iov too small for a linear part: the rest of it comes later."""
    late = _late()
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, 20000).finish()
    receiver.wait_queued(20000)
    step = max(1, late // 3)
    while receiver.position < 20000:
        message = receiver.receive(size=step)
        ksft_ge(step, message.size)
    receiver.release()
    ksft_ne(receiver.kinds["linear"], 0)
    ksft_ne(receiver.kinds["dmabuf"], 0)


@leaves_nothing
def iov_too_small(cfg):
    """
    An iov that ends inside of the linear part, then one that ends behind it:
    each read resumes at the next byte, of whatever kind.
    """
    late = _late()
    receiver = _one_packet(cfg)
    for size, pieces in ((1, [("linear", 1)]),
                         (late // 2, [("linear", late // 2)]),
                         (late, [("linear", late - 1 - late // 2),
                                 ("dmabuf", 1 + late // 2)]),
                         (1000, [("dmabuf", 699 - late // 2)])):
        message = receiver.receive(size=size)
        ksft_eq([(piece.kind, piece.size) for piece in message.pieces],
                pieces)
    receiver.release()


@leaves_nothing
def iov_faults(cfg):
    """
    The linear part cannot be written: EFAULT, nothing lost. Memory for the
    linear part alone is all that a packet needs.
    """
    late = _late()
    receiver = _one_packet(cfg)
    receive = RawReceive()
    memory = Memory()
    defer(memory.close)
    for writable in (0, 1, late - 1):
        ksft_eq(os_error(receive, receiver.sock, size=4096,
                         iov_at=memory.end - writable), errno.EFAULT,
                f"{writable} of {late} bytes can be written")
    ksft_eq(receiver.queued(), late + 700)
    ksft_eq(receive(receiver.sock, size=4096, iov_at=memory.end - late),
            late + 700)
    ksft_eq(receive.cmsgs, 2)
    ksft_eq(memory.tail(late), pattern(0, late))


@leaves_nothing
def every_byte(cfg):
    """
    What a call leaves in its buffers: the linear part's message says nothing
    but its length, its bytes are the only ones in the iov.
    """
    late = _late()
    receiver = _one_packet(cfg)
    receive = RawReceive()
    receive.fill(0xA5)
    ksft_eq(receive(receiver.sock), late + 700)
    ksft_eq((receive.header.controllen, receive.header.flags),
            (2 * CMSG_SPACE, 0))
    ksft_eq(receive.iov_bytes(late + 700), pattern(0, late) + b"\xa5" * 700)
    (*linear, told), (*dmabuf, piece) = receive.messages()
    ksft_eq((linear, dmabuf), ([socket.SOL_SOCKET, SCM_DEVMEM_LINEAR],
                               [socket.SOL_SOCKET, SCM_DEVMEM_DMABUF]))
    # offset, size, token, dma-buf, flags
    ksft_eq(DMABUF_CMSG.unpack(told), (0, late, 0, 0, 0))
    offset, size, token, _, flags = DMABUF_CMSG.unpack(piece)
    ksft_eq((size, token, flags), (700, 1, 0))
    ksft_eq(receiver.dmabuf.read(offset, 700), pattern(late, 700))
    ksft_eq(receive.control_bytes(3 * CMSG_SPACE)[2 * CMSG_SPACE:],
            b"\xa5" * CMSG_SPACE)


@leaves_nothing
def neither_room_nor_memory(cfg):
    """
    No room for the message of a linear part, nor memory for its bytes. C
    copies first, and says EFAULT.
    """
    late = _late()
    receiver = _one_packet(cfg)
    receive = RawReceive()
    memory = Memory()
    defer(memory.close)
    for writable in (0, late - 1):
        ksft_eq(os_error(receive, receiver.sock, size=4096,
                         control=CMSG_SPACE - 1,
                         iov_at=memory.end - writable), errno.EFAULT)
    for control in (0, CMSG_SPACE - 1):
        ksft_eq(os_error(receive, receiver.sock, size=4096, control=control,
                         iov_at=memory.end - late), ETOOSMALL)
    # and no room at all for that of the rest: no message can be written
    ksft_eq(os_error(receive, receiver.sock, control_at=8), errno.EFAULT)
    receiver.receive_all(receiver.queued())
    ksft_eq(receiver.kinds, {"linear": late, "dmabuf": 700, "plain": 0})


@leaves_nothing
def control_full_behind_the_linear_part(cfg):
    """Room for the linear part's message alone: it comes alone."""
    late = _late()
    receiver = _one_packet(cfg)
    message = receiver.receive(control=2 * CMSG_SPACE - 1)
    ksft_eq([(piece.kind, piece.size) for piece in message.pieces],
            [("linear", late)])
    ksft_eq(receiver.receive().pieces[0].token, 1)
    ksft_eq(receiver.position, late + 700)
    receiver.release()


@leaves_nothing
def peek(cfg):
    """MSG_PEEK sees the linear part too, and it is still there afterwards."""
    late = _late()
    receiver = _one_packet(cfg)
    for _ in range(2):
        message = receiver.recvmsg(flags=socket.MSG_PEEK)
        receiver.check(message)
        ksft_eq([(piece.kind, piece.size) for piece in message.pieces],
                [("linear", late), ("dmabuf", 700)])
        receiver.tokens.append(message.pieces[1].token)
    receiver.receive()
    receiver.release()


@leaves_nothing
def control_too_small(cfg):
    """No room for the message of a linear part: ETOOSMALL, nothing lost."""
    receiver = _one_packet(cfg)
    for control in (0, CMSG_SPACE - 1):
        ksft_eq(os_error(receiver.recvmsg, control=control), ETOOSMALL)
    receiver.receive_all(receiver.queued())
    ksft_eq(receiver.kinds, {"linear": _late(), "dmabuf": 700, "plain": 0})


@leaves_nothing
@merges_packets
def control_for_one(cfg):
    """Room for one message at a time: each piece alone, none lost."""
    _late()
    receiver, sender, _ = cfg.stream("6")
    thread = send(sender, 0, 50000)
    while receiver.position < 50000:
        message = receiver.receive(control=CMSG_SPACE)
        ksft_eq(len(message.pieces), 1)
        ksft_eq(message.flags & socket.MSG_CTRUNC, 0)
        receiver.release()
    thread.finish()
    ksft_ne(receiver.kinds["linear"], 0)
    ksft_ne(receiver.kinds["dmabuf"], 0)


@leaves_nothing
def without_the_flag(cfg):
    """
    The flag is asked for even where the next byte is in host memory: the
    packet has parts that the CPU may not read.
    """
    receiver = _one_packet(cfg)
    ksft_eq(os_error(receiver.sock.recv, 4096), errno.EFAULT)
    receiver.receive_all(receiver.queued())
    ksft_eq(receiver.kinds, {"linear": _late(), "dmabuf": 700, "plain": 0})


@leaves_nothing
@merges_packets
def small_writes(cfg):
    """Ragged writes around the length that splits late."""
    late = _late()
    receiver, sender, _ = cfg.stream("6")
    at = 0
    for size in list(range(max(1, late - 3), late + 4)) * 4:
        sender.settimeout(60)
        send(sender, at, size).finish()
        at += size
    receiver.receive_all(at)
    ksft_eq(receiver.position, at)
    ksft_true(receiver.kinds["linear"] > receiver.kinds["dmabuf"])


CASES = [
    one_by_one,
    both_kinds,
    only_linear,
    linear_in_parts,
    iov_too_small,
    iov_faults,
    every_byte,
    neither_room_nor_memory,
    control_too_small,
    control_full_behind_the_linear_part,
    peek,
    control_for_one,
    without_the_flag,
    small_writes,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
