#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What a program can observe of a call, to the last byte: what recvmsg() leaves in
its buffers and its struct msghdr, what else comes beside the messages of device
memory, and what each call returns at each limit. Expected is what the
implementation in C does.

Elsewhere: which number a token gets (token_numbers.py); what SO_DEVMEM_DONTNEED
refuses (tokens.py); buffers that fault, small reads, no token without a message
(buffers.py); flags of recvmsg(), reads without MSG_SOCK_DEVMEM (recvmsg.py);
device and host memory by turns (order.py); parts in host memory (linear.py);
when a program is woken (wakeups.py); splice(), sockmap, kTLS (stack.py); states
of the socket (socket_states.py); the calls of an administrator (bind_rx.py,
errno_order.py, raw_netlink.py, permissions.py).
"""

import ctypes
import errno
import os
import select
import socket
import struct
import time
from types import SimpleNamespace

from lib.py import (MIB, Message, defer, dontneed, ksft_eq, ksft_exit, ksft_ge,
                    ksft_run, ksft_true, ksft_variants, leaves_nothing,
                    os_error, pattern, run_in_env, send)
from lib.py.held import Held
from lib.py.queued import check_rest, queued_stream
from lib.py.rawmsg import Memory, RawReceive, recvmmsg
from lib.py.uapi import (CMSG_SPACE, DMABUF_CMSG, ETOOSMALL, MSG_SOCK_DEVMEM,
                         SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR,
                         SO_DEVMEM_DONTNEED, SO_PEEK_OFF)

# Length of a packet's payload.
SIZE = 1000
# What buffers are filled with: no byte of a message is one for long.
FILL = 0xA5
PEEK = socket.MSG_PEEK
CTRUNC = socket.MSG_CTRUNC

_SOL_TCP = socket.IPPROTO_TCP
_TCP_INQ = 36
_TCP_ZEROCOPY_RECEIVE = 35
_SO_TIMESTAMPNS = 35
_SO_TIMESTAMPING = 37
_RX_SOFTWARE, _SOFTWARE = 1 << 3, 1 << 4
_SO_ZEROCOPY, _MSG_ZEROCOPY = 60, 0x4000000


def _packets(cfg, count=3, ipver="4", setup=None):
    """
    A Receiver with @count packets of SIZE bytes in its queue, each of which is
    one piece; @setup is called with the socket first.
    """
    receiver, sender, _ = cfg.stream(ipver)
    if setup:
        setup(receiver.sock)
    for number in range(count):
        sender.sendall(pattern(number * SIZE, SIZE))
        receiver.wait_queued((number + 1) * SIZE)
    return receiver


def _message(receive):
    """What Receiver.take() takes, of a RawReceive."""
    pieces = receive.pieces()
    return Message(sum(p.size for p in pieces), pieces, receive.header.flags)


@ksft_variants(["4", "6"])
@leaves_nothing
def every_byte(cfg, ipver):
    """
    A message for each piece in the order of the stream, nothing between or
    behind; no byte of the iov or of the name is written, there are no flags.
    """
    receiver = _packets(cfg, ipver=ipver)
    receive = RawReceive()
    name = ctypes.create_string_buffer(bytes([FILL]) * 28, 28)
    receive.header.name = ctypes.addressof(name)
    receive.header.namelen = 28
    receive.fill(FILL)

    ksft_eq(receive(receiver.sock), 3 * SIZE)

    header = receive.header
    ksft_eq((header.namelen, header.controllen, header.flags),
            (0, 3 * CMSG_SPACE, 0))
    ksft_eq(name.raw, bytes([FILL]) * 28)
    ksft_eq(receive.iov_bytes(4 * SIZE), bytes([FILL]) * (4 * SIZE))
    want = b""
    for number, piece in enumerate(receive.pieces(), 1):
        # cmsg_len, level, type; offset, size, token, dma-buf, flags
        want += struct.pack("=QiiQIIII", CMSG_SPACE, socket.SOL_SOCKET,
                            SCM_DEVMEM_DMABUF, piece.offset, SIZE, number,
                            piece.dmabuf_id, 0)
    ksft_eq(receive.control_bytes(4 * CMSG_SPACE),
            want + bytes([FILL]) * CMSG_SPACE)
    # and they are the bytes of the stream
    receiver.take(_message(receive))
    receiver.release()


@leaves_nothing
def iov_lengths(cfg):
    """The iov's length around the borders of three pieces; one iov or many."""
    receiver = _packets(cfg)
    for size, want in ((1, [1]), (2, [2]), (999, [999]), (1000, [1000]),
                       (1001, [1000, 1]), (1999, [1000, 999]),
                       (2000, [1000, 1000]), (2001, [1000, 1000, 1]),
                       (2999, [1000, 1000, 999]), (3000, [1000] * 3),
                       (3001, [1000] * 3), (1 << 18, [1000] * 3)):
        for cuts in ((), (0,), (1,), (size // 2, size // 3)):
            iovs = [bytearray(cut) for cut in cuts if sum(cuts) <= size]
            iovs.append(bytearray(size - sum(map(len, iovs))))
            iovs.append(bytearray())
            got, ancillary, flags, name = receiver.sock.recvmsg_into(
                iovs, 4 * CMSG_SPACE, PEEK | MSG_SOCK_DEVMEM)
            told = [DMABUF_CMSG.unpack(data)[1] for _, _, data in ancillary]
            ksft_eq((got, told, flags, name), (sum(want), want, 0, None),
                    f"iovs of {list(map(len, iovs))} bytes")
            ksft_true(not any(map(any, iovs)), "an iov was written")
    check_rest(receiver, 3 * SIZE)


@leaves_nothing
def control_lengths(cfg):
    """
    The control buffer's length around the borders of three messages: what is
    returned, msg_controllen, flags, and the bytes behind the last message. On
    an error struct msghdr is as it was.
    """
    receiver = _packets(cfg)
    receive = RawReceive()
    header = receive.header
    for control in (0, 1, 15, 16, 39, 40, 41, 55, 56, 79, 80, 81, 119, 120,
                    121, 160, 5120):
        receive.fill(FILL)
        count = min(control // CMSG_SPACE, 3)
        what = f"control buffer of {control} bytes"
        if count:
            ksft_eq(receive(receiver.sock, PEEK, control=control),
                    count * SIZE, what)
            ksft_eq((header.controllen, header.flags),
                    (count * CMSG_SPACE, 0), what)
        else:
            ksft_eq(os_error(receive, receiver.sock, PEEK, control=control),
                    ETOOSMALL, what)
            ksft_eq((header.controllen, header.flags), (control, 0), what)
        behind = receive.control_bytes(5120)[count * CMSG_SPACE:]
        ksft_eq(behind.strip(bytes([FILL])), b"", what)
    # no buffer at all, whatever its length
    for control in (0, 40, 4096):
        ksft_eq(os_error(receive, receiver.sock, PEEK, control=control,
                         control_at=0), ETOOSMALL)
    check_rest(receiver, 3 * SIZE)


def _named(receive):
    """The messages of a call in short: pieces, and (type, length) of others."""
    names = {(socket.SOL_SOCKET, SCM_DEVMEM_DMABUF): "piece",
             (socket.SOL_SOCKET, SCM_DEVMEM_LINEAR): "linear",
             (socket.SOL_SOCKET, _SO_TIMESTAMPNS): "stamp",
             (socket.SOL_SOCKET, _SO_TIMESTAMPING): "stamps",
             (_SOL_TCP, _TCP_INQ): "inq"}
    found = []
    for level, kind, data in receive.messages():
        name = names[level, kind]
        found.append(name if name == "piece" else (name, len(data)))
    return found


@leaves_nothing
def inq_beside(cfg):
    """
    TCP_INQ comes behind the pieces, and into what they leave of the control
    buffer: cut off with MSG_CTRUNC where that is too little.
    """
    receiver = _packets(cfg, setup=lambda sock: sock.setsockopt(
        _SOL_TCP, _TCP_INQ, 1))
    receive = RawReceive()
    for control, pieces, inq, used in (
            (40, 1, None, 40), (55, 1, None, 40), (56, 1, 0, 56),
            (59, 1, 3, 59), (60, 1, 4, 60), (63, 1, 4, 63), (64, 1, 4, 64),
            (79, 1, 4, 64), (80, 2, None, 80), (119, 2, 4, 104),
            (120, 3, None, 120), (135, 3, None, 120), (136, 3, 0, 136),
            (139, 3, 3, 139), (140, 3, 4, 140), (144, 3, 4, 144),
            (200, 3, 4, 144)):
        what = f"control buffer of {control} bytes"
        ksft_eq(receive(receiver.sock, PEEK, control=control), pieces * SIZE,
                what)
        others = [] if inq is None else [("inq", inq)]
        ksft_eq((_named(receive), receive.header.controllen,
                 receive.header.flags),
                (["piece"] * pieces + others, used,
                 0 if inq == 4 else CTRUNC), what)
    ksft_eq(os_error(receive, receiver.sock, PEEK, control=39), ETOOSMALL)

    # what is left: nothing was taken yet, then it was
    def left(size, flags=0):
        receive(receiver.sock, flags, size=size)
        receiver.tokens += [DMABUF_CMSG.unpack(data)[2] for level, _, data in
                            receive.messages() if level == socket.SOL_SOCKET]
        return struct.unpack("=i", receive.messages()[-1][2])[0]

    ksft_eq([left(1, PEEK), left(1), left(998), left(1), left(1001),
             left(999)], [3000, 2999, 2001, 2000, 999, 0])
    receiver.release()


_STAMPS = {
    "stamp": (lambda sock: sock.setsockopt(
        socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1), 16),
    "stamps": (lambda sock: sock.setsockopt(
        socket.SOL_SOCKET, _SO_TIMESTAMPING, _RX_SOFTWARE | _SOFTWARE), 48),
}


@ksft_variants(list(_STAMPS))
@leaves_nothing
def stamps_beside(cfg, name):
    """
    A time stamp comes behind the pieces and before TCP_INQ; each is cut off
    where the room ends.
    """
    setup, size = _STAMPS[name]

    def both(sock):
        setup(sock)
        sock.setsockopt(_SOL_TCP, _TCP_INQ, 1)
        # the kernel begins to stamp packets a little later
        time.sleep(0.5)

    receiver = _packets(cfg, count=2, setup=both)
    receive = RawReceive()
    space = 16 + size
    for room, others, flags in (
            (0, [], CTRUNC), (15, [], CTRUNC), (16, [(name, 0)], CTRUNC),
            (17, [(name, 1)], CTRUNC), (space - 1, [(name, size - 1)], CTRUNC),
            (space, [(name, size)], CTRUNC),
            (space + 15, [(name, size)], CTRUNC),
            (space + 16, [(name, size), ("inq", 0)], CTRUNC),
            (space + 20, [(name, size), ("inq", 4)], 0),
            (space + 24, [(name, size), ("inq", 4)], 0)):
        ksft_eq(receive(receiver.sock, PEEK,
                        control=2 * CMSG_SPACE + room), 2 * SIZE)
        ksft_eq((_named(receive), receive.header.flags),
                (["piece"] * 2 + others, flags),
                f"room for two pieces and {room} bytes")
    # with the time in it
    stamp = receive.messages()[2][2]
    seconds, nanoseconds = struct.unpack_from("=qq", stamp)
    ksft_ge(60, abs(time.time() - seconds - nanoseconds / 1e9))
    check_rest(receiver, 2 * SIZE)


def _so_error(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@leaves_nothing
def recvmmsg_of_pieces(cfg):
    """recvmmsg() gives a piece to each message, with tokens that ascend."""
    receiver = _packets(cfg)
    receives = [RawReceive(SIZE, 2 * CMSG_SPACE) for _ in range(4)]
    headers = [receive.prepare() for receive in receives]
    ksft_eq(recvmmsg(receiver.sock, headers, socket.MSG_DONTWAIT), [SIZE] * 3)
    ksft_eq([(h.controllen, h.flags) for h in headers],
            [(CMSG_SPACE, 0)] * 3 + [(2 * CMSG_SPACE, 0)])
    # EAGAIN behind the first message is no error
    ksft_eq(_so_error(receiver.sock), 0)
    for receive in receives[:3]:
        receiver.take(_message(receive))
    ksft_eq(receiver.tokens, [1, 2, 3])
    receiver.release()


@ksft_variants(["ETOOSMALL", "EFAULT"])
@leaves_nothing
def recvmmsg_that_fails_later(cfg, how):
    """
    An error of the second message does not spoil the first, and is the
    socket's afterwards: poll() says so, and the next call does once the queue
    is empty.
    """
    number = {"ETOOSMALL": ETOOSMALL, "EFAULT": errno.EFAULT}[how]
    spoil = {"ETOOSMALL": {"control": CMSG_SPACE - 1},
             "EFAULT": {"control_at": 8}}[how]
    receiver = _packets(cfg)
    receives = [RawReceive(SIZE, CMSG_SPACE) for _ in range(3)]

    def fail():
        # the first of them gets a piece
        headers = [receives[0].prepare(), receives[1].prepare(**spoil),
                   receives[2].prepare()]
        ksft_eq(recvmmsg(receiver.sock, headers), [SIZE])
        receiver.take(_message(receives[0]))

    poll = select.poll()
    poll.register(receiver.sock, select.POLLIN)
    fail()
    ksft_eq(poll.poll(0)[0][1], select.POLLIN | select.POLLERR)
    ksft_eq(_so_error(receiver.sock), number)
    ksft_eq(poll.poll(0)[0][1], select.POLLIN)
    fail()
    # here recvmmsg() looks first, recvmsg() for want of data
    ksft_eq(os_error(recvmmsg, receiver.sock, [receives[0].prepare()]), number)
    ksft_eq(_so_error(receiver.sock), 0)
    receiver.receive(size=1)
    ksft_eq(os_error(recvmmsg, receiver.sock,
                     [receives[0].prepare(control=0)]), ETOOSMALL)
    ksft_eq(_so_error(receiver.sock), 0, "a first message's error is no other")
    check_rest(receiver, 3 * SIZE)


@leaves_nothing
def peek_offset_at_the_borders(cfg):
    """
    SO_PEEK_OFF moves by what was told of, not by a call that fails; what is
    received or thrown away moves it back; at the end there is EAGAIN.
    """
    receiver = _packets(cfg)
    sock = receiver.sock

    def offset():
        return sock.getsockopt(socket.SOL_SOCKET, SO_PEEK_OFF)

    def peek(size, control=4 * CMSG_SPACE):
        message = receiver.recvmsg(size=size, control=control,
                                   flags=PEEK | socket.MSG_DONTWAIT)
        receiver.tokens += [piece.token for piece in message.pieces]
        return [piece.size for piece in message.pieces], offset()

    ksft_eq(offset(), -1)
    sock.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 999)
    ksft_eq(os_error(peek, 10, CMSG_SPACE - 1), ETOOSMALL)
    ksft_eq(offset(), 999)
    ksft_eq(peek(1), ([1], 1000))
    ksft_eq(peek(3000, CMSG_SPACE), ([1000], 2000))
    ksft_eq(receiver.receive(size=1500).size, 1500)
    ksft_eq(offset(), 500)
    ksft_eq(peek(1001), ([1000], 1500))
    ksft_eq(os_error(peek, 1), errno.EAGAIN)
    ksft_eq(len(sock.recv(100, socket.MSG_TRUNC)), 100)
    receiver.position += 100
    ksft_eq(offset(), 1400)
    sock.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 5000)
    ksft_eq(os_error(peek, 1), errno.EAGAIN)
    receiver.release()
    check_rest(receiver, 3 * SIZE)


@leaves_nothing
def most_tokens_of_a_call(cfg):
    """
    SO_DEVMEM_DONTNEED around its 1,024 tokens and 128 ranges: what it frees,
    with unknown ones between.
    """
    receiver, sender, _ = cfg.stream("4", rcvbuf=4 * MIB)
    send(sender, 0, 100 * SIZE, chunk=SIZE).finish()
    receiver.wait_queued(100 * SIZE)
    held = Held(receiver.sock)
    held.peek(2200)
    unknown = 100000
    for call, freed in (
            ([(1, 1023)], 1023), ([(1, 1024)], 1024), ([(1, 1025)], 1024),
            ([(1, 2200)], 1024), ([(1, 0xffffffff)], 1024),
            ([(1, 1023), (1024, 1)], 1024), ([(1, 1023), (1024, 2)], 1024),
            ([(1, 1024), (1025, 1)], 1024), ([(1, 1023), (unknown, 1)], 1023),
            ([(1, 1022), (unknown, 1), (1500, 2)], 1023),
            ([(1, 500), (unknown, 23), (501, 502)], 1001),
            ([(unknown, 1023), (1, 2)], 1), ([(unknown, 1024), (1, 2)], 0),
            ([(2200, 5), (1, 1019)], 1020), ([(2199, 5), (1, 1020)], 1021),
            ([(1 + 8 * n, 8) for n in range(127)], 1016),
            ([(1 + 8 * n, 8) for n in range(128)], 1024),
            ([(1 + 9 * n, 9) for n in range(128)], 1024),
            ([(1 + 9 * n, 1) for n in range(128)], 128),
            ([(1, 8)] * 128, 8)):
        ksft_eq(held.give_back(*call), freed, f"{call}")
        held.peek(freed)
        ksft_eq(len(held.held), 2200)
    for count in (129, 130, 1000):
        ksft_eq(os_error(dontneed, held.sock, [(1, 1)] * count), errno.EINVAL)
    held.give_back_all()


@leaves_nothing
def options_that_are_not(cfg):
    """
    The numbers of the messages are no socket options, nor is the option one of
    TCP's; it wants an open socket.
    """
    receiver = _packets(cfg, count=1)
    sock = receiver.sock
    for number in (SCM_DEVMEM_LINEAR, SCM_DEVMEM_DMABUF):
        ksft_eq(os_error(sock.setsockopt, socket.SOL_SOCKET, number, 1),
                errno.ENOPROTOOPT)
        ksft_eq(os_error(sock.getsockopt, socket.SOL_SOCKET, number),
                errno.ENOPROTOOPT)
    for length in (0, 1, 4, 8, 64):
        ksft_eq(os_error(sock.getsockopt, socket.SOL_SOCKET,
                         SO_DEVMEM_DONTNEED, length), errno.ENOPROTOOPT)
    for level in (_SOL_TCP, socket.IPPROTO_IP):
        ksft_eq(os_error(sock.setsockopt, level, SO_DEVMEM_DONTNEED, bytes(8)),
                errno.ENOPROTOOPT)
    with open("/dev/null", "rb") as null:
        ksft_eq(os_error(dontneed, null, [(1, 1)]), errno.ENOTSOCK)
    closed = socket.socket().detach()
    os.close(closed)
    ksft_eq(os_error(dontneed, SimpleNamespace(fileno=lambda: closed),
                     [(1, 1)]), errno.EBADF)
    check_rest(receiver, SIZE)


@leaves_nothing
def not_connected(cfg):
    """The flag changes nothing where there is no connection, or no TCP."""
    del cfg
    flags = MSG_SOCK_DEVMEM | socket.MSG_DONTWAIT
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            ksft_eq(os_error(sock.recvmsg, 10, 80, flags), errno.ENOTCONN)
            sock.listen(1)
            ksft_eq(os_error(sock.recvmsg, 10, 80, flags), errno.ENOTCONN)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            ksft_eq(os_error(sock.recvmsg, 10, 80, flags), errno.EAGAIN)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        one, two = socket.socketpair(socket.AF_UNIX, kind)
        with one, two:
            one.send(b"abc")
            ksft_eq(two.recvmsg(10, 80, flags)[:3], (b"abc", [], 0), str(kind))


@leaves_nothing
def urgent_data_that_is_not(cfg):
    """MSG_OOB with the flag: EINVAL while there is no urgent data."""
    receiver = _packets(cfg, count=1)
    receive = RawReceive()
    for flags in (socket.MSG_OOB, socket.MSG_OOB | PEEK):
        ksft_eq(os_error(receive, receiver.sock, flags), errno.EINVAL)
    # MSG_ERRQUEUE looks elsewhere
    ksft_eq(os_error(receive, receiver.sock, socket.MSG_ERRQUEUE),
            errno.EAGAIN)
    check_rest(receiver, SIZE)


@leaves_nothing
def sending_with_the_flag(cfg):
    """
    The flag is a receiver's: it changes nothing of a send. A message that
    names a binding for sending is EINVAL where that is none for sending, or
    there is no zerocopy.
    """
    receiver, sender, binding = cfg.stream("4")
    sock = receiver.sock
    ksft_eq(sock.send(pattern(0, 100), MSG_SOCK_DEVMEM), 100)
    ksft_eq(sender.recv(200), pattern(0, 100))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ZEROCOPY, 1)
    for number in (binding.id, binding.id + 1000, 0xffffffff):
        message = [(socket.SOL_SOCKET, SCM_DEVMEM_DMABUF,
                    struct.pack("=I", number))]
        for flags in (0, MSG_SOCK_DEVMEM, _MSG_ZEROCOPY,
                      _MSG_ZEROCOPY | MSG_SOCK_DEVMEM):
            ksft_eq(os_error(sock.sendmsg, [pattern(100, 100)], message,
                             flags), errno.EINVAL,
                    f"binding {number}, flags {flags:#x}")
    for size in (0, 1, 3, 5, 8, 24):
        ksft_eq(os_error(sock.sendmsg, [b"x"], [
            (socket.SOL_SOCKET, SCM_DEVMEM_DMABUF, bytes(size))]),
                errno.EINVAL, f"{size} bytes")
    ksft_eq(sock.send(pattern(100, 100)), 100)
    ksft_eq(sender.recv(200), pattern(100, 100))


@leaves_nothing
def zerocopy_receive_with_a_buffer(cfg):
    """TCP_ZEROCOPY_RECEIVE that may copy instead cannot either: EFAULT."""
    receiver = _packets(cfg)
    buffer = ctypes.create_string_buffer(bytes([FILL]) * 4096, 4096)
    libc = ctypes.CDLL(None, use_errno=True)
    # address, length, recv_skip_hint, inq, err, copybuf_address, copybuf_len,
    # flags, msg_control, msg_controllen, msg_flags, reserved
    layout = struct.Struct("=QIIIiQiIQQII")
    asked = layout.pack(0, 0, 0, 0, 0, ctypes.addressof(buffer), 4096, 0, 0, 0,
                        0, 0)
    request = ctypes.create_string_buffer(asked, layout.size)
    length = ctypes.c_uint32(layout.size)
    ret = libc.getsockopt(receiver.sock.fileno(), _SOL_TCP,
                          _TCP_ZEROCOPY_RECEIVE, request,
                          ctypes.byref(length))
    ksft_eq((ret, ctypes.get_errno()), (-1, errno.EFAULT))
    ksft_eq(request.raw, asked)
    ksft_eq(buffer.raw, bytes([FILL]) * 4096)
    check_rest(receiver, 3 * SIZE)


@leaves_nothing
def memory_between(cfg):
    """
    The first page of the control buffer is there and the next is not: as many
    messages as fit into it, and the cut one leaves no trace in what counts.
    """
    receiver = queued_stream(cfg, 20000, chunk=SIZE)
    memory = Memory()
    defer(memory.close)
    receive = RawReceive()
    for room in (40, 41, 79, 80, 100):
        at = memory.end - room
        count = room // CMSG_SPACE
        got = receive(receiver.sock, PEEK, control_at=at)
        ksft_eq((receive.header.controllen, receive.header.flags),
                (count * CMSG_SPACE, 0), f"{room} bytes")
        pieces = receive.pieces(control_at=at)
        ksft_eq(sum(piece.size for piece in pieces), got)
    for room in (0, 1, 8, 39):
        ksft_eq(os_error(receive, receiver.sock, PEEK,
                         control_at=memory.end - room), errno.EFAULT)
    ksft_eq(receiver.queued(), 20000)
    check_rest(receiver, 20000)


CASES = [
    every_byte,
    iov_lengths,
    control_lengths,
    memory_between,
    inq_beside,
    stamps_beside,
    recvmmsg_of_pieces,
    recvmmsg_that_fails_later,
    peek_offset_at_the_borders,
    most_tokens_of_a_call,
    options_that_are_not,
    not_connected,
    urgent_data_that_is_not,
    sending_with_the_flag,
    zerocopy_receive_with_a_buffer,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
