#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""recvmsg() on device memory: flags, waiting, and what must not be lost."""

import errno
import os
import select
import socket
import threading
import time

from lib.py import (MIB, Receiver, defer, ksft_eq, ksft_exit, ksft_ne, ksft_run,
                    ksft_true, leaves_nothing, os_error, pattern, run_in_env,
                    send)
from lib.py.queued import check_rest, queued_stream
from lib.py.rawmsg import RawReceive
from lib.py.uapi import CMSG_SPACE, MSG_SOCK_DEVMEM, SO_PEEK_OFF

_WITHOUT_THE_FLAG = {
    "read": lambda sock: os.read(sock.fileno(), 4096),
    "readv": lambda sock: os.readv(sock.fileno(), [bytearray(100)] * 3),
    "recv": lambda sock: sock.recv(4096),
    "recvfrom": lambda sock: sock.recvfrom(4096),
    "recvmsg": lambda sock: sock.recvmsg(4096, 16 * CMSG_SPACE),
    "peek": lambda sock: sock.recv(4096, socket.MSG_PEEK),
    "waitall": lambda sock: sock.recv(30000, socket.MSG_WAITALL),
    "dontwait": lambda sock: sock.recv(4096, socket.MSG_DONTWAIT),
}


@leaves_nothing
def without_the_flag(cfg):
    """EFAULT without MSG_SOCK_DEVMEM, and the data is still there."""
    receiver = queued_stream(cfg, 20000)
    for _ in range(2):
        for name, call in _WITHOUT_THE_FLAG.items():
            ksft_eq(os_error(call, receiver.sock), errno.EFAULT, name)
    ksft_eq(receiver.queued(), 20000)
    check_rest(receiver, 20000)


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
def waitall_to_the_end(cfg):
    """MSG_WAITALL makes do with less at the end of the stream."""
    receiver, sender, _ = cfg.stream("6")
    send(sender, 0, 3000).finish()
    sender.shutdown(socket.SHUT_WR)
    message = receiver.receive(size=4000, flags=socket.MSG_WAITALL)
    ksft_eq(message.size, 3000)
    receiver.release()


@leaves_nothing
def dontwait(cfg):
    """
    With nothing there MSG_DONTWAIT is EAGAIN, as is a call on a non-blocking
    socket; with data there it is not.
    """
    receiver, sender, _ = cfg.stream("6")
    for blocking, flags in ((True, socket.MSG_DONTWAIT), (False, 0),
                            (False, socket.MSG_WAITALL)):
        receiver.sock.setblocking(blocking)
        at = receiver.position
        ksft_eq(os_error(receiver.recvmsg, flags=flags), errno.EAGAIN)
        send(sender, at, 5000).finish()
        receiver.wait_queued(5000)
        ksft_eq(receiver.take(receiver.recvmsg(flags=flags)).size, 5000)
        ksft_eq(os_error(receiver.recvmsg, flags=flags), errno.EAGAIN)
    receiver.release()


@leaves_nothing
def rcvlowat(cfg):
    """
    SO_RCVLOWAT counts device memory: below it neither poll() nor a blocking
    recvmsg() returns, MSG_DONTWAIT takes what is there all the same.
    """
    receiver, sender, _ = cfg.stream("4")
    receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10000)
    send(sender, 0, 3000).finish()
    receiver.wait_queued(3000)
    ksft_true(not receiver.readable(timeout=0.3))
    ksft_eq(receiver.take(receiver.recvmsg(flags=socket.MSG_DONTWAIT)).size,
            3000)

    # nothing is there when it begins: TCP wakes for what is in the queue, not
    # for what the call has taken out of it already
    messages = []
    waiter = threading.Thread(
        target=lambda: messages.append(receiver.recvmsg()), daemon=True)
    waiter.start()
    waiter.join(0.5)
    send(sender, 3000, 9999).finish()
    receiver.wait_queued(9999)
    waiter.join(0.5)
    ksft_true(waiter.is_alive(), "recvmsg() returned below SO_RCVLOWAT")
    send(sender, 12999, 1).finish()
    waiter.join(30)
    ksft_eq([message.size for message in messages], [10000])
    receiver.take(messages[0])

    send(sender, 13000, 9999).finish()
    receiver.wait_queued(9999)
    ksft_true(not receiver.readable(timeout=0.3))
    send(sender, 22999, 1).finish()
    ksft_true(receiver.readable())
    receiver.receive_all(23000)


@leaves_nothing
def epoll_level(cfg):
    """Device memory is reported for as long as there is some."""
    receiver, sender, _ = cfg.stream("4")
    poll = select.epoll()
    defer(poll.close)
    poll.register(receiver.sock, select.EPOLLIN)
    ksft_eq(poll.poll(0.2), [])
    send(sender, 0, 5000).finish()
    receiver.wait_queued(5000)
    for size in (1, 3000, 1999):
        ksft_eq([event for _, event in poll.poll(30)], [select.EPOLLIN])
        # a refused call takes nothing away
        ksft_eq(os_error(receiver.sock.recv, 100), errno.EFAULT)
        ksft_eq(receiver.receive(size=size).size, size)
    ksft_eq(poll.poll(0.2), [])
    receiver.release()


@leaves_nothing
def epoll_edge(cfg):
    """With EPOLLET each arrival is reported once, received or not."""
    receiver, sender, _ = cfg.stream("6")
    poll = select.epoll()
    defer(poll.close)
    poll.register(receiver.sock, select.EPOLLIN | select.EPOLLET)
    for arrival in range(3):
        sender.sendall(pattern(1000 * arrival, 1000))
        receiver.wait_queued(1000 * (arrival + 1) - receiver.position)
        ksft_eq([event for _, event in poll.poll(30)], [select.EPOLLIN])
        ksft_eq(poll.poll(0.2), [])
        receiver.receive(size=500)
        ksft_eq(poll.poll(0.2), [], "reported without an arrival")
    receiver.receive_all(3000)


@leaves_nothing
def peek(cfg):
    """
    MSG_PEEK with the flag consumes nothing: the same bytes of the same niovs
    come again, each time with tokens of their own, which are good.
    """
    receiver = queued_stream(cfg, 20000)
    tokens, places = [], []
    for flags in (socket.MSG_PEEK, socket.MSG_PEEK | socket.MSG_WAITALL,
                  socket.MSG_PEEK | socket.MSG_DONTWAIT):
        message = receiver.recvmsg(size=20000, flags=flags)
        ksft_eq(message.size, 20000)
        receiver.check(message)
        tokens += [piece.token for piece in message.pieces]
        places.append([(p.offset, p.size) for p in message.pieces])
    ksft_eq(len(set(tokens)), len(tokens))
    places.append([(p.offset, p.size) for p in receiver.receive().pieces])
    ksft_eq(places[1:], places[:-1])
    # what was peeked holds the niovs when what was received does not
    receiver.release()
    receiver.check(message, position=0)
    receiver.tokens = tokens
    receiver.release()


@leaves_nothing
def peek_offset(cfg):
    """SO_PEEK_OFF moves a peek along the stream, a receive moves it back."""
    receiver = queued_stream(cfg, 20000)
    receiver.sock.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
    for position in (0, 3000, 6000):
        message = receiver.recvmsg(size=3000, flags=socket.MSG_PEEK)
        ksft_eq(message.size, 3000)
        receiver.check(message, position)
        receiver.tokens += [piece.token for piece in message.pieces]
    receiver.receive(size=8000)
    message = receiver.recvmsg(size=3000, flags=socket.MSG_PEEK)
    receiver.check(message, 9000)
    receiver.tokens += [piece.token for piece in message.pieces]
    receiver.release()
    check_rest(receiver, 20000)


@leaves_nothing
def trunc(cfg):
    """
    MSG_TRUNC throws bytes away, with the flag and without, and the stream goes
    on behind them; no control message, no token.
    """
    receiver = queued_stream(cfg, 20000)
    receive = RawReceive()
    ksft_eq(len(receiver.sock.recv(6000, socket.MSG_TRUNC)), 6000)
    ksft_eq(receive(receiver.sock, socket.MSG_TRUNC, size=500), 500)
    ksft_eq(receive.header.controllen, 0)
    ksft_eq(receive(receiver.sock, socket.MSG_TRUNC | socket.MSG_PEEK,
                    size=2000), 2000)
    ksft_eq(receive.header.controllen, 0)
    ksft_eq(receiver.queued(), 13500)
    receiver.position = 6500
    ksft_eq(receiver.receive(size=10).pieces[0].token, 1)
    check_rest(receiver, 20000)


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
    waitall,
    waitall_to_the_end,
    dontwait,
    rcvlowat,
    epoll_level,
    epoll_edge,
    peek,
    peek_offset,
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
