#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
When a program is woken, and what it is told of the state of a connection with
device memory: poll bits, timeouts, signals, counters, the end of the stream,
and what the receive buffer is charged with. Expected is what the implementation
in C does.

Elsewhere: SO_RCVLOWAT, MSG_DONTWAIT, MSG_WAITALL, level and edge triggered
epoll, a slow reader (recvmsg.py); states of the socket (socket_states.py).
"""

import errno
import fcntl
import select
import signal
import socket
import struct
import termios
import threading
import time

from lib.py import tcpinfo
from lib.py import (KsftNamedVariant, MIB, defer, dontneed, ksft_eq, ksft_exit,
                    ksft_ge, ksft_gt, ksft_lt, ksft_pr, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, os_error, pattern,
                    run_in_env, send, wait_for)
from lib.py.queued import check_rest
from lib.py.rawmsg import RawReceive
from lib.py.uapi import CMSG_SPACE, ETOOSMALL

SIZE = 1000

IN = select.POLLIN | select.POLLRDNORM
OUT = select.POLLOUT | select.POLLWRNORM
HUP = select.POLLRDHUP
ALL = IN | OUT | HUP | select.POLLPRI | select.POLLRDBAND

_SIOCATMARK = 0x8905
_SO_MEMINFO = 55
_F_SETSIG = 10
_LINGER_RST = b"\1\0\0\0\0\0\0\0"


def _bits(sock):
    """What poll() says at once."""
    poll = select.poll()
    poll.register(sock, ALL)
    return dict(poll.poll(0)).get(sock.fileno(), 0)


def _int(sock, request):
    """An int from an ioctl."""
    return struct.unpack("i", fcntl.ioctl(sock, request, bytes(4)))[0]


def _counts(sock):
    """Bytes to receive, bytes to be acknowledged, at the urgent mark."""
    return (_int(sock, termios.FIONREAD), _int(sock, termios.TIOCOUTQ),
            _int(sock, _SIOCATMARK))


def _charged(sock):
    """What the receive buffer is charged with, in bytes."""
    return struct.unpack_from("=I", sock.getsockopt(
        socket.SOL_SOCKET, _SO_MEMINFO, 36))[0]


def _fin(receiver, sender):
    """The sender ends the stream; waits until that has come."""
    sender.shutdown(socket.SHUT_WR)
    ksft_true(wait_for(lambda: _bits(receiver.sock) & HUP, 20), "no FIN came")


def _reset(receiver, sender):
    """The sender resets the connection; waits until that has come."""
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
    sender.close()
    ksft_true(wait_for(lambda: _bits(receiver.sock) & select.POLLHUP, 20),
              "no RST came")


def _stream(cfg, packets=3, ipver="4"):
    """A stream with so many packets in its queue."""
    receiver, sender, binding = cfg.stream(ipver)
    for number in range(packets):
        sender.sendall(pattern(number * SIZE, SIZE))
        receiver.wait_queued((number + 1) * SIZE)
    return receiver, sender, binding


@leaves_nothing
def poll_bits(cfg):
    """
    Readable as long as there is a byte to receive: failed calls, peeks, parts
    and held tokens change nothing. Never POLLPRI.
    """
    receiver, sender, _ = cfg.stream("4")
    sock = receiver.sock
    ksft_eq(_bits(sock), OUT)
    sender.sendall(pattern(0, SIZE))
    receiver.wait_queued(SIZE)
    ksft_eq(_bits(sock), OUT | IN)
    ksft_eq(os_error(receiver.recvmsg, control=0), ETOOSMALL)
    ksft_eq(os_error(sock.recv, 10), errno.EFAULT)
    ksft_eq(_bits(sock), OUT | IN)
    receiver.tokens += [piece.token for piece in receiver.recvmsg(
        flags=socket.MSG_PEEK).pieces]
    ksft_eq(_bits(sock), OUT | IN)
    receiver.receive(size=SIZE - 1)
    ksft_eq(_bits(sock), OUT | IN)
    receiver.receive(size=1)
    ksft_eq(_bits(sock), OUT)
    ksft_eq(select.select([sock], [sock], [sock], 0), ([], [sock], []))
    receiver.release()
    ksft_eq(_bits(sock), OUT)


@leaves_nothing
def end_of_stream(cfg):
    """
    FIN behind data: readable and half closed at once, all data, then 0 for
    ever; tokens are good.
    """
    receiver, sender, _ = _stream(cfg, ipver="6")
    sock = receiver.sock
    _fin(receiver, sender)
    ksft_eq(_bits(sock), OUT | IN | HUP)
    ksft_eq(_counts(sock), (3 * SIZE, 0, 0))
    ksft_eq(receiver.receive(size=3 * SIZE, flags=socket.MSG_WAITALL).size,
            3 * SIZE)
    for flags in (0, socket.MSG_WAITALL, socket.MSG_PEEK,
                  socket.MSG_DONTWAIT, socket.MSG_TRUNC):
        ksft_eq(receiver.recvmsg(flags=flags).size, 0)
        # nothing to tell of, so no room is needed
        ksft_eq(receiver.recvmsg(flags=flags, control=0).size, 0)
    ksft_eq(_bits(sock), OUT | IN | HUP)
    ksft_eq(sock.recv(10), b"")
    # what ioctl() says at the end
    ksft_eq(_counts(sock), (0, 0, 0))
    receiver.release()
    ksft_eq(receiver.recvmsg().size, 0)


@leaves_nothing
def shut_for_reading(cfg):
    """
    After shutdown(SHUT_RD) what is queued comes, then 0; what arrives later
    comes too; tokens are good.
    """
    receiver, sender, _ = _stream(cfg)
    sock = receiver.sock
    receiver.receive(size=SIZE)
    sock.shutdown(socket.SHUT_RD)
    ksft_eq(_bits(sock), OUT | IN | HUP)
    ksft_eq(dontneed(sock, [(receiver.tokens.pop(), 1)]), 1)
    ksft_eq(receiver.receive().size, 2 * SIZE)
    ksft_eq(receiver.recvmsg().size, 0)
    ksft_eq(receiver.recvmsg(flags=socket.MSG_DONTWAIT).size, 0)
    sender.sendall(pattern(3 * SIZE, SIZE))
    receiver.wait_queued(SIZE)
    ksft_eq(receiver.receive().size, SIZE)
    ksft_eq(receiver.kinds["dmabuf"], 4 * SIZE)
    receiver.release()


@leaves_nothing
def reset_behind_data(cfg):
    """
    A reset: what is queued can still be had, then ECONNRESET once, then 0;
    tokens of before and after are good.
    """
    receiver, sender, _ = _stream(cfg)
    sock = receiver.sock
    receiver.receive(size=SIZE)
    _reset(receiver, sender)
    ksft_eq(_bits(sock), OUT | IN | HUP | select.POLLHUP | select.POLLERR)
    ksft_eq(os_error(receiver.recvmsg, control=0), ETOOSMALL)
    ksft_eq(os_error(sock.recv, 1), errno.EFAULT)
    ksft_eq(dontneed(sock, [(receiver.tokens.pop(), 1)]), 1)
    ksft_eq(receiver.receive(size=1).pieces[0].token, 1)
    ksft_eq(receiver.receive(flags=socket.MSG_WAITALL).size, 2 * SIZE - 1)
    ksft_eq(os_error(receiver.recvmsg), errno.ECONNRESET)
    ksft_eq(receiver.recvmsg().size, 0)
    ksft_eq(_bits(sock), OUT | IN | HUP | select.POLLHUP)
    receiver.release()


@leaves_nothing
def reset_while_it_waits(cfg):
    """MSG_WAITALL makes do with what it has at a reset; the error is next."""
    receiver, sender, _ = _stream(cfg, 1)
    messages = []
    waiter = threading.Thread(
        target=lambda: messages.append(receiver.recvmsg(
            flags=socket.MSG_WAITALL)), daemon=True)
    waiter.start()
    waiter.join(0.5)
    ksft_true(waiter.is_alive())
    _reset(receiver, sender)
    waiter.join(30)
    ksft_eq([message.size for message in messages], [SIZE])
    receiver.take(messages[0])
    ksft_eq(os_error(receiver.recvmsg), errno.ECONNRESET)
    receiver.release()


@ksft_variants([KsftNamedVariant("with_unread_data", 1),
                KsftNamedVariant("with_tokens", 0)])
@leaves_nothing
def reader_goes(cfg, unread):
    """
    A receiver that closes with unread device memory resets the connection; one
    that has received all, tokens given back or not, does not.
    """
    receiver, sender, _ = _stream(cfg, 1)
    receiver.receive(size=SIZE - unread)
    receiver.sock.close()
    wanted = select.POLLHUP if unread else HUP
    ksft_true(wait_for(lambda: _bits(sender) & wanted, 20))
    if unread:
        ksft_eq(os_error(sender.recv, 1), errno.ECONNRESET)
    else:
        ksft_eq(sender.recv(1), b"")


@leaves_nothing
def timeout(cfg):
    """
    SO_RCVTIMEO: EAGAIN with nothing there, with MSG_WAITALL what there is; a
    call that needs not wait is as ever.
    """
    receiver, _, _ = _stream(cfg)
    receiver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                             struct.pack("=qq", 0, 400000))

    def took(size, flags=0, control=4 * CMSG_SPACE):
        start = time.monotonic()
        try:
            got = receiver.take(receiver.recvmsg(size, control, flags)).size
        except OSError as error:
            got = -error.errno
        return got, time.monotonic() - start > 0.35

    ksft_eq(took(SIZE, socket.MSG_WAITALL), (SIZE, False))
    ksft_eq(took(100, 0, 0), (-ETOOSMALL, False))
    # no room for a third message ends it at once
    ksft_eq(took(3 * SIZE, socket.MSG_WAITALL, CMSG_SPACE), (SIZE, False))
    ksft_eq(took(3 * SIZE, socket.MSG_WAITALL), (SIZE, True))
    ksft_eq(took(SIZE), (-errno.EAGAIN, True))
    ksft_eq(took(SIZE, socket.MSG_WAITALL), (-errno.EAGAIN, True))
    ksft_eq(took(SIZE, socket.MSG_WAITALL | socket.MSG_DONTWAIT),
            (-errno.EAGAIN, False))
    receiver.release()


@ksft_variants(["nothing_there", "part_there", "restarts"])
@leaves_nothing
def interrupted(cfg, how):
    """
    A signal ends a call that waits: EINTR, or what it has; with SA_RESTART one
    that has nothing goes on.
    """
    receiver, sender, _ = cfg.stream("4")
    hits = []
    defer(signal.signal, signal.SIGALRM,
          signal.signal(signal.SIGALRM, lambda *_: hits.append(1)))
    signal.siginterrupt(signal.SIGALRM, how != "restarts")
    receive = RawReceive()
    if how == "part_there":
        sender.sendall(pattern(0, SIZE))
        receiver.wait_queued(SIZE)
    elif how == "restarts":
        later = threading.Timer(1.5, sender.sendall, (pattern(0, SIZE),))
        later.start()
        defer(later.join)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    if how == "nothing_there":
        ksft_eq(os_error(receive, receiver.sock), errno.EINTR)
    else:
        flags = socket.MSG_WAITALL if how == "part_there" else 0
        ksft_eq(receive(receiver.sock, flags, size=2 * SIZE), SIZE)
        piece, = receive.pieces()
        ksft_eq((piece.size, piece.token), (SIZE, 1))
    ksft_eq(hits, [1])


@leaves_nothing
def signal_driven(cfg):
    """
    SIGIO comes for what arrives and for the end, not for what is received or
    given back.
    """
    receiver, sender, _ = cfg.stream("6")
    sock = receiver.sock
    mine = {signal.SIGIO}
    signal.pthread_sigmask(signal.SIG_BLOCK, mine)
    defer(signal.pthread_sigmask, signal.SIG_UNBLOCK, mine)
    fcntl.fcntl(sock, fcntl.F_SETOWN, threading.get_native_id())
    fcntl.fcntl(sock, _F_SETSIG, signal.SIGIO)
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    fcntl.fcntl(sock, fcntl.F_SETFL, flags | fcntl.FASYNC)

    def bands(seconds=0.3):
        found = set()
        while (info := signal.sigtimedwait(mine, seconds)):
            found.add(info.si_band)
            seconds = 0.3
        return found

    bands()
    for number in range(2):
        sender.sendall(pattern(number * SIZE, SIZE))
        ksft_eq(bands(20), {IN})
    receiver.receive(size=100)
    ksft_eq(os_error(receiver.recvmsg, control=0), ETOOSMALL)
    receiver.receive()
    receiver.release()
    ksft_eq(bands(), set())
    sender.shutdown(socket.SHUT_WR)
    ksft_eq(bands(20), {IN})


@leaves_nothing
def edge_after_errors(cfg):
    """
    EPOLLET reports no call that failed, EPOLLONESHOT nothing until it is armed
    again, and then at once.
    """
    receiver, sender, _ = _stream(cfg, 1)
    edge, once = select.epoll(), select.epoll()
    for poll, flag in ((edge, select.EPOLLET), (once, select.EPOLLONESHOT)):
        defer(poll.close)
        poll.register(receiver.sock, select.EPOLLIN | flag)
        ksft_eq([event for _, event in poll.poll(30)], [select.EPOLLIN])
    for _ in range(3):
        ksft_eq(os_error(receiver.recvmsg, control=0), ETOOSMALL)
        ksft_eq(os_error(receiver.sock.recv, 1), errno.EFAULT)
        receiver.receive(size=100)
        ksft_eq((edge.poll(0.1), once.poll(0)), ([], []))
        once.modify(receiver.sock, select.EPOLLIN | select.EPOLLONESHOT)
        ksft_eq([event for _, event in once.poll(1)], [select.EPOLLIN])
    receiver.release()
    ksft_eq(edge.poll(0.1), [])
    sender.shutdown(socket.SHUT_WR)
    ksft_eq([event for _, event in edge.poll(30)], [select.EPOLLIN])
    check_rest(receiver, SIZE)


@leaves_nothing
def counters(cfg):
    """
    FIONREAD goes down by what is received or thrown away, whatever the kind of
    call; nothing is to be acknowledged; there is no mark.
    """
    receiver, _, _ = _stream(cfg)
    sock = receiver.sock
    ksft_eq(_counts(sock), (3000, 0, 0))
    for call, left in (
            (lambda: receiver.receive(size=1), 2999),
            (lambda: receiver.receive(size=999), 2000),
            (lambda: receiver.receive(control=CMSG_SPACE), 1000),
            (lambda: os_error(receiver.recvmsg, control=1), 1000),
            (lambda: os_error(sock.recv, 1000), 1000),
            (lambda: sock.recv(400, socket.MSG_TRUNC), 600),
            (lambda: sock.recv(100, socket.MSG_TRUNC | socket.MSG_PEEK), 600)):
        call()
        ksft_eq(_counts(sock), (left, 0, 0))
    receiver.position += 400
    receiver.release()
    ksft_eq(_counts(sock), (600, 0, 0))
    check_rest(receiver, 3000)


@leaves_nothing
def what_is_charged(cfg):
    """
    The receive buffer is charged with packets that wait, whole, until the last
    byte of them was received; what a program holds costs it nothing.
    """
    receiver, sender, _ = cfg.stream("4")
    sock = receiver.sock
    ksft_eq(_charged(sock), 0)
    sender.sendall(pattern(0, SIZE))
    receiver.wait_queued(SIZE)
    one = _charged(sock)
    ksft_pr(f"a packet of {SIZE} bytes costs {one}")
    # its niov, and the packet's own memory
    ksft_true(4096 < one < 3 * 4096)
    sender.sendall(pattern(SIZE, SIZE))
    receiver.wait_queued(2 * SIZE)
    two = _charged(sock)
    ksft_ge(2 * one, two)
    receiver.tokens += [piece.token for piece in receiver.recvmsg(
        flags=socket.MSG_PEEK).pieces]
    ksft_eq(_charged(sock), two)
    receiver.receive(size=2 * SIZE - 1)
    ksft_gt(_charged(sock), 0)
    receiver.receive(size=1)
    ksft_eq(_charged(sock), 0)
    ksft_eq(len(receiver.tokens), 5)
    receiver.release()
    ksft_eq(_charged(sock), 0)


@leaves_nothing
def window(cfg):
    """
    A reader that holds all its tokens gets many times its receive buffer; one
    that does not read gets that at most, and then nothing for as long.
    """
    receiver, sender, _ = cfg.stream("6", 16 * MIB, rcvbuf=1 << 16)
    size = MIB
    thread = send(sender, 0, size)
    receiver.receive_all(size, keep=1 << 30)
    thread.finish()
    ksft_ge(len(receiver.tokens), size // 4096)
    limit = receiver.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    thread = send(sender, size, size)
    ksft_true(wait_for(lambda: receiver.queued() > 0, 20))
    last = -1
    while (now := receiver.queued()) != last:
        last = now
        time.sleep(1)
    ksft_pr(f"{last} bytes wait in a buffer of {limit}, charged with "
            f"{_charged(receiver.sock)}")
    ksft_lt(last, limit)
    receiver.receive_all(2 * size)
    thread.finish()
    ksft_eq(receiver.kinds["dmabuf"], 2 * size)


@leaves_nothing
def the_buffer_grows(cfg):
    """
    A reader that keeps up is given more room by TCP as it goes, though it
    copies nothing.
    """
    receiver, sender, _ = cfg.stream("4")
    before = tcpinfo.receive_space(receiver.sock)
    size = 2 * MIB
    thread = send(sender, 0, size)
    receiver.receive_all(size)
    thread.finish()
    after = tcpinfo.receive_space(receiver.sock)
    ksft_pr(f"space for what a reader takes in a round trip: {before}, then "
            f"{after}")
    ksft_ge(after, before)


CASES = [
    poll_bits,
    end_of_stream,
    shut_for_reading,
    reset_behind_data,
    reset_while_it_waits,
    reader_goes,
    timeout,
    interrupted,
    signal_driven,
    edge_after_errors,
    counters,
    what_is_charged,
    window,
    the_buffer_grows,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
