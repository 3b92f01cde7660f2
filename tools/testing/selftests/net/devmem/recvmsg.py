#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""recvmsg() on device memory: flags, short buffers, and what must not be lost."""

import errno
import os
import select
import socket
import time

from lib.py import (MIB, Receiver, defer, dontneed, ksft_eq, ksft_exit,
                    ksft_ge, ksft_in, ksft_lt, ksft_ne, ksft_pr, ksft_run,
                    ksft_true, ksft_variants, KsftNamedVariant, leaves_nothing,
                    os_error, pattern, run_in_env, send)
from lib.py.uapi import CMSG_SPACE, ETOOSMALL, MSG_SOCK_DEVMEM


def _queued_stream(cfg, size, ipver="4", chunk=1 << 16):
    """A stream with @size bytes waiting in the receive queue."""
    receiver, sender, _ = cfg.stream(ipver)
    send(sender, 0, size, chunk).finish()
    receiver.wait_queued(size)
    return receiver


def _check_rest(receiver, size):
    """All of the stream is still to be had, in device memory."""
    receiver.receive_all(size)
    ksft_eq(receiver.position, size)
    ksft_eq(receiver.kinds["dmabuf"], size)


def _read(sock):
    return os.read(sock.fileno(), 4096)


def _recv(sock):
    return sock.recv(4096)


def _recvmsg(sock):
    return sock.recvmsg(4096, 16 * CMSG_SPACE)


def _peek(sock):
    return sock.recv(4096, socket.MSG_PEEK)


@ksft_variants([KsftNamedVariant("read", _read),
                KsftNamedVariant("recv", _recv),
                KsftNamedVariant("recvmsg", _recvmsg),
                KsftNamedVariant("peek", _peek)])
@leaves_nothing
def without_the_flag(cfg, call):
    """EFAULT without MSG_SOCK_DEVMEM, and the data is still there."""
    receiver = _queued_stream(cfg, 20000)
    for _ in range(3):
        ksft_eq(os_error(call, receiver.sock), errno.EFAULT)
    _check_rest(receiver, 20000)


@leaves_nothing
def without_the_flag_short(cfg):
    """
    Bytes that can be read come first: a read without the flag that meets
    device memory later returns what it has, and EFAULT only the next time.
    """
    queue = cfg.queues[0]
    sock, sender = cfg.connect("4", queue)
    # nothing is bound yet, so this part is ordinary
    send(sender, 0, 5000).finish()
    receiver = Receiver(sock, None, 0)
    receiver.wait_queued(5000)
    dmabuf, binding = cfg.bind(queues=[queue])
    receiver.expect(dmabuf, binding.id)
    send(sender, 5000, 5000).finish()
    receiver.wait_queued(10000)

    ksft_eq(sock.recv(20000), pattern(0, 5000))
    receiver.position = 5000
    ksft_eq(os_error(sock.recv, 20000), errno.EFAULT)
    receiver.receive_all(10000)
    ksft_eq(receiver.kinds["dmabuf"], 5000)


@leaves_nothing
def kinds_do_not_mix(cfg):
    """A change from host to device memory ends the call, MSG_WAITALL or not."""
    queue = cfg.queues[0]
    sock, sender = cfg.connect("6", queue)
    send(sender, 0, 5000).finish()
    receiver = Receiver(sock, None, 0)
    receiver.wait_queued(5000)
    dmabuf, binding = cfg.bind(queues=[queue])
    receiver.expect(dmabuf, binding.id)
    send(sender, 5000, 5000).finish()
    receiver.wait_queued(10000)

    message = receiver.receive(size=10000, flags=socket.MSG_WAITALL)
    ksft_eq(message.kinds(), {"plain"})
    ksft_eq(message.size, 5000)
    message = receiver.receive(size=5000, flags=socket.MSG_WAITALL)
    ksft_eq(message.kinds(), {"dmabuf"})
    ksft_eq(receiver.position, 10000)
    receiver.release()


@ksft_variants([0, 1, 16, CMSG_SPACE - 1])
@leaves_nothing
def control_too_small(cfg, control):
    """No room for one message: ETOOSMALL, nothing lost, no token issued."""
    receiver = _queued_stream(cfg, 20000)
    for _ in range(3):
        ksft_eq(os_error(receiver.recvmsg, control=control), ETOOSMALL)
    # the lowest free token is given out first: none may be taken
    first = receiver.receive(control=CMSG_SPACE)
    ksft_eq(first.pieces[0].token, 1)
    _check_rest(receiver, 20000)


@ksft_variants([1, 2, 3])
@leaves_nothing
def control_for_a_few(cfg, room):
    """Room for n messages: a short read, no MSG_CTRUNC, the rest later."""
    size = 40000
    receiver = _queued_stream(cfg, size, chunk=4000)
    while receiver.position < size:
        message = receiver.receive(control=room * CMSG_SPACE)
        ksft_ge(room, len(message.pieces))
        ksft_true(len(message.pieces) > 0)
        ksft_eq(message.flags & socket.MSG_CTRUNC, 0)
    receiver.release()
    ksft_eq(receiver.kinds["dmabuf"], size)


@leaves_nothing
def iov_caps_device_memory(cfg):
    """The length of the iov limits device memory bytes too."""
    receiver = _queued_stream(cfg, 20000)
    for size in (1, 7, 100, 1000, 4096):
        message = receiver.receive(size=size)
        ksft_ge(size, message.size)
        ksft_lt(0, message.size)
    _check_rest(receiver, 20000)


@leaves_nothing
def byte_by_byte(cfg):
    """A frag can be received in single bytes, each with its own token."""
    receiver = _queued_stream(cfg, 3000)
    for _ in range(300):
        message = receiver.receive(size=1)
        ksft_eq(message.size, 1)
    ksft_eq(len(set(receiver.tokens)), 300)
    _check_rest(receiver, 3000)


@leaves_nothing
def waitall(cfg):
    """MSG_WAITALL waits for data that has yet to come."""
    receiver, sender, _ = cfg.stream("4")
    thread = send(sender, 0, 200000, chunk=10000)
    message = receiver.receive(size=200000, flags=socket.MSG_WAITALL,
                               control=1000 * CMSG_SPACE)
    thread.finish()
    ksft_eq(message.size, 200000)
    receiver.release()


@leaves_nothing
def dontwait(cfg):
    """MSG_DONTWAIT with nothing there is EAGAIN; with data it is not."""
    receiver, sender, _ = cfg.stream("6")
    ksft_eq(os_error(receiver.recvmsg, flags=socket.MSG_DONTWAIT),
            errno.EAGAIN)
    send(sender, 0, 5000).finish()
    receiver.wait_queued(5000)
    receiver.take(receiver.recvmsg(flags=socket.MSG_DONTWAIT))
    _check_rest(receiver, 5000)


@leaves_nothing
def epoll(cfg):
    """Device memory wakes epoll, and silence after it does not."""
    receiver, sender, _ = cfg.stream("4")
    poll = select.epoll()
    defer(poll.close)
    poll.register(receiver.sock, select.EPOLLIN)
    ksft_eq(poll.poll(0.2), [])
    send(sender, 0, 5000).finish()
    ksft_eq([event for _, event in poll.poll(30)], [select.EPOLLIN])
    receiver.receive_all(5000)
    ksft_eq(poll.poll(0.2), [])


@leaves_nothing
def peek(cfg):
    """
    MSG_PEEK with the flag consumes nothing: the same bytes come again. Every
    token that it hands out, if it does, can be given back.
    """
    receiver = _queued_stream(cfg, 20000)
    tokens = []
    for _ in range(3):
        try:
            message = receiver.recvmsg(flags=socket.MSG_PEEK)
        except OSError as error:
            # an implementation may refuse it, if it says so
            ksft_in(error.errno, (errno.EOPNOTSUPP, errno.EINVAL))
            ksft_pr(f"peek is refused: {error}")
            continue
        receiver.check(message)
        tokens += [p.token for p in message.pieces if p.kind == "dmabuf"]
    if tokens:
        freed = sum(dontneed(receiver.sock, [(token, 1)])
                    for token in set(tokens))
        ksft_eq(freed, len(set(tokens)))
    _check_rest(receiver, 20000)


@leaves_nothing
def trunc(cfg):
    """MSG_TRUNC throws bytes away, and the stream goes on behind them."""
    receiver = _queued_stream(cfg, 20000)
    ksft_eq(len(receiver.sock.recv(6000, socket.MSG_TRUNC)), 6000)
    receiver.position = 6000
    receiver.receive_all(20000)
    ksft_eq(receiver.kinds["dmabuf"], 14000)


@leaves_nothing
def end_of_stream(cfg):
    """After the last byte recvmsg() returns 0, and tokens are still good."""
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, 5000).finish()
    sender.shutdown(socket.SHUT_WR)
    receiver.receive_all(5000, keep=100)
    held = len(receiver.tokens)
    ksft_ne(held, 0)
    receiver.readable()
    ksft_eq(receiver.recvmsg().size, 0)
    receiver.release()


@leaves_nothing
def reset_by_peer(cfg):
    """A reset leaves tokens that were handed out usable."""
    receiver, sender, _ = cfg.stream("4")
    send(sender, 0, 5000).finish()
    receiver.receive_all(5000, keep=100)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                      b"\1\0\0\0\0\0\0\0")
    sender.close()
    receiver.readable()
    ksft_eq(os_error(receiver.recvmsg), errno.ECONNRESET)
    receiver.release()


@leaves_nothing
def flag_on_plain_socket(cfg):
    """The flag does nothing on a connection without device memory."""
    sock, sender = cfg.connect("4", 0)
    send(sender, 0, 5000).finish()
    receiver = Receiver(sock, None, 0)
    receiver.wait_queued(5000)
    data, ancillary, flags, _ = sock.recvmsg(5000, 1000, MSG_SOCK_DEVMEM)
    ksft_eq(data, pattern(0, 5000))
    ksft_eq(ancillary, [])
    ksft_eq(flags & ~MSG_SOCK_DEVMEM, 0)


@leaves_nothing
def data_stays_until_released(cfg):
    """A held niov is not written again, whatever else arrives."""
    receiver, sender, _ = cfg.stream("6", size=2 * MIB)
    size = 4 * MIB
    thread = send(sender, 0, size)
    first = receiver.receive(control=8 * CMSG_SPACE)
    held = receiver.tokens
    receiver.tokens = []
    receiver.receive_all(size)
    thread.finish()
    receiver.check(first, position=0)
    receiver.tokens = held
    receiver.release()


@leaves_nothing
def slow_reader(cfg):
    """The window closes on a reader that sleeps, and opens again."""
    receiver, sender, _ = cfg.stream("4")
    size = 4 * MIB
    thread = send(sender, 0, size)
    time.sleep(3)
    receiver.receive_all(size)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], size)


CASES = [
    without_the_flag,
    without_the_flag_short,
    kinds_do_not_mix,
    control_too_small,
    control_for_a_few,
    iov_caps_device_memory,
    byte_by_byte,
    waitall,
    dontwait,
    epoll,
    peek,
    trunc,
    end_of_stream,
    reset_by_peer,
    flag_on_plain_socket,
    data_stays_until_released,
    slow_reader,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
