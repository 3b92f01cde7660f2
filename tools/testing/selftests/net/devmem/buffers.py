#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
recvmsg() on device memory into buffers that are too small or fault: nothing is
lost, and no token exists that the caller was not told of.
"""

import errno
import socket

from lib.py import (defer, dontneed, ksft_eq, ksft_exit, ksft_ge, ksft_lt,
                    ksft_run, ksft_true, ksft_variants, leaves_nothing,
                    os_error, run_in_env)
from lib.py.queued import check_rest, queued_stream
from lib.py.rawmsg import Memory, RawReceive
from lib.py.uapi import CMSG_SPACE, ETOOSMALL

# The control buffer's tail that is too short for a message.
TAIL = CMSG_SPACE - 1
# An address that no process has memory at.
NOWHERE = 8


def _next_token(receiver):
    """
    Receives one piece and returns its token. The lowest free token is given
    out first, so it shows how many are taken.
    """
    message = receiver.receive(control=CMSG_SPACE)
    ksft_eq(len(message.pieces), 1)
    return message.pieces[0].token


@leaves_nothing
def control_for_none(cfg):
    """No room for one message: ETOOSMALL, nothing lost, no token issued."""
    receiver = queued_stream(cfg, 20000)
    for control in (0, 1, 16, TAIL):
        for _ in range(3):
            ksft_eq(os_error(receiver.recvmsg, control=control), ETOOSMALL,
                    f"control buffer of {control} bytes")
    ksft_eq(receiver.queued(), 20000)
    ksft_eq(_next_token(receiver), 1)
    check_rest(receiver, 20000)


@ksft_variants([1, 2, 3, 17])
@leaves_nothing
def control_for_a_few(cfg, room):
    """
    Room for n messages and not quite one more: a short read of n pieces, no
    MSG_CTRUNC, exactly n tokens, and the rest later.
    """
    size = 30000
    receiver = queued_stream(cfg, size, chunk=1000)
    told = 0
    while receiver.position < size:
        message = receiver.receive(control=room * CMSG_SPACE + TAIL)
        told += len(message.pieces)
        # pieces come one after the other until the queue is empty
        ksft_eq(len(message.pieces) if receiver.position < size else room,
                room)
        ksft_ge(room, len(message.pieces))
        ksft_eq(message.flags & socket.MSG_CTRUNC, 0)
    ksft_eq(sorted(receiver.tokens), list(range(1, told + 1)),
            "tokens that nobody was told of lie between those")
    receiver.release()
    ksft_eq(receiver.kinds["dmabuf"], size)


@leaves_nothing
def control_full_ends_waitall(cfg):
    """
    MSG_WAITALL does not wait for room in the control buffer: nobody else can
    make it.
    """
    receiver = queued_stream(cfg, 20000, chunk=1000)
    message = receiver.receive(size=20000, control=2 * CMSG_SPACE,
                               flags=socket.MSG_WAITALL)
    ksft_eq(len(message.pieces), 2)
    ksft_lt(message.size, 20000)
    check_rest(receiver, 20000)


@leaves_nothing
def iov_caps_device_memory(cfg):
    """The length of the iov limits device memory bytes too."""
    receiver = queued_stream(cfg, 20000)
    for size in (1, 7, 100, 1000, 4096):
        message = receiver.receive(size=size)
        ksft_eq(message.size, size)
    check_rest(receiver, 20000)


@leaves_nothing
def resumes_inside_a_frag(cfg):
    """
    Reads that end inside of a frag go on right behind: same niov, next byte, a
    token of its own, and giving one back leaves the others alone.
    """
    size = 1400
    receiver = queued_stream(cfg, size)
    start = receiver.receive(size=1).pieces[0].offset
    for step in (99, 1, 500, 4096):
        at = receiver.position
        message = receiver.receive(size=step)
        ksft_eq([piece.offset for piece in message.pieces], [start + at])
        # the rest of the niov is still in the queue, and must stay as it is
        receiver.release(1)
    ksft_eq(receiver.position, size)
    ksft_eq(len(receiver.tokens), 1)
    receiver.release()


@leaves_nothing
def byte_by_byte(cfg):
    """A frag can be received in single bytes, each with its own token."""
    receiver = queued_stream(cfg, 3000)
    for _ in range(300):
        ksft_eq(receiver.receive(size=1).size, 1)
    ksft_eq(len(set(receiver.tokens)), 300)
    check_rest(receiver, 3000)


@leaves_nothing
def iov_of_nothing(cfg):
    """
    An iov of no bytes receives nothing.

    C hands out a token for a piece of 0 bytes, which keeps a niov out of its
    pool for no data at all; a caller that looks at the returned 0 takes it for
    the end of the stream and never gives it back. Ours says 0 and means it.
    """
    receiver = queued_stream(cfg, 20000)
    receive = RawReceive()
    ksft_eq(receive(receiver.sock, size=0), 0)
    told = [piece.token for piece in receive.pieces()]
    if cfg.is_rust:
        ksft_eq(told, [])
        ksft_eq(_next_token(receiver), 1)
    else:
        ksft_eq([piece.size for piece in receive.pieces()], [0])
        ksft_eq(dontneed(receiver.sock, [(told[0], 1)]), 1)
    check_rest(receiver, 20000)


@leaves_nothing
def iov_is_not_touched(cfg):
    """Device memory needs the iov's length, not its memory."""
    receiver = queued_stream(cfg, 1400)
    receive = RawReceive()
    ksft_eq(receive(receiver.sock, size=1000, iov_at=NOWHERE), 1000)
    piece, = receive.pieces()
    ksft_eq(piece.size, 1000)
    receiver.tokens.append(piece.token)
    receiver.position = 1000
    check_rest(receiver, 1400)


@leaves_nothing
def control_faults(cfg):
    """No memory for the first message: EFAULT, nothing lost, no token."""
    receiver = queued_stream(cfg, 20000)
    receive = RawReceive()
    for _ in range(3):
        ksft_eq(os_error(receive, receiver.sock, control_at=NOWHERE),
                errno.EFAULT)
    ksft_eq(receiver.queued(), 20000)
    ksft_eq(_next_token(receiver), 1)
    check_rest(receiver, 20000)


@leaves_nothing
def control_faults_later(cfg):
    """
    Memory for two messages and none for the third: a short read of two
    pieces, two tokens.
    """
    receiver = queued_stream(cfg, 20000, chunk=1000)
    receive = RawReceive()
    memory = Memory()
    defer(memory.close)
    at = memory.end - 2 * CMSG_SPACE
    got = receive(receiver.sock, control_at=at)
    ksft_eq(receive.cmsgs, 2)
    pieces = receive.pieces(control_at=at)
    ksft_eq(sum(piece.size for piece in pieces), got)
    receiver.tokens += [piece.token for piece in pieces]
    receiver.position = got
    ksft_eq(receiver.queued(), 20000 - got)
    ksft_eq(sorted(receiver.tokens), [1, 2])
    ksft_eq(_next_token(receiver), 3)
    check_rest(receiver, 20000)


@leaves_nothing
def header_faults(cfg):
    """
    The kernel cannot write the struct msghdr back: EFAULT, and this once the
    data counts as received. The messages are in the control buffer by then,
    and their tokens are good.
    """
    receiver = queued_stream(cfg, 20000, chunk=1000)
    receive = RawReceive(control=2 * CMSG_SPACE)
    memory = Memory()
    defer(memory.close)

    ksft_eq(os_error(receive, receiver.sock, header_in=memory), errno.EFAULT)

    pieces = receive.pieces(count=2)
    gone = sum(piece.size for piece in pieces)
    ksft_true(0 < gone < 20000)
    ksft_eq(receiver.queued(), 20000 - gone)
    ksft_eq(sorted(piece.token for piece in pieces), [1, 2])
    ksft_eq(dontneed(receiver.sock, [(1, 2)]), 2)
    receiver.position = gone
    check_rest(receiver, 20000)


CASES = [
    control_for_none,
    control_for_a_few,
    control_full_ends_waitall,
    control_faults,
    control_faults_later,
    header_faults,
    iov_caps_device_memory,
    iov_of_nothing,
    iov_is_not_touched,
    resumes_inside_a_frag,
    byte_by_byte,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
