#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Urgent data in device memory. The CPU cannot fetch the urgent byte, so it stays
in the stream, as with SO_OOBINLINE: there is a mark at which reads stop, and
one SIGURG, but nothing for MSG_OOB. And that whatever becomes of the segments
on their way.
"""

import errno
import fcntl
import os
import select
import signal
import socket
import struct

from lib.py import tcpinfo
from lib.py import (KsftNamedVariant, Receiver, base_fails, defer, ksft_eq,
                    ksft_exit, ksft_ge, ksft_pr, ksft_run, ksft_variants,
                    leaves_nothing, os_error, pattern, run_in_env, send,
                    wait_for)

SIOCATMARK = 0x8905
TCP_RTO_MAX_MS, TCP_RTO_MIN_US = 44, 45

survives = base_fails("panics on urgent data in device memory (defect 1)")


class _End:
    """
    A stream whose receiving end is told of urgent data.

    Attributes:
      receiver, sender: as of cfg.stream()
      sent: bytes of the stream that were sent
    """

    def __init__(self, cfg, ipver="4", inline=False):
        self.receiver, self.sender, self.binding = cfg.stream(ipver)
        # lost segments come again soon
        self.sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MIN_US, 50000)
        self.sender.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
        self.sent = 0
        self._signals = 0
        sock = self.receiver.sock
        if inline:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        old = signal.signal(signal.SIGURG, self._count)
        defer(signal.signal, signal.SIGURG, old)
        fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())

    def _count(self, *_):
        self._signals += 1

    def send(self, size, flags=0):
        """Send the next bytes; with MSG_OOB the last of them is urgent."""
        ksft_eq(self.sender.send(pattern(self.sent, size), flags), size)
        self.sent += size

    def urgent(self, size=1):
        """Send the next bytes, the last of which is urgent."""
        self.send(size, socket.MSG_OOB)

    def signals(self, at_least=1):
        """How often SIGURG came."""
        wait_for(lambda: self._signals >= at_least, 20)
        return self._signals

    def at_mark(self):
        """Whether the next byte is the urgent one."""
        answer = fcntl.ioctl(self.receiver.sock, SIOCATMARK,
                             struct.pack("i", 0))
        return bool(struct.unpack("i", answer)[0])

    def events(self):
        """What poll(2) says, without waiting."""
        poll = select.poll()
        poll.register(self.receiver.sock,
                      select.POLLIN | select.POLLPRI)
        return sum(event for _, event in poll.poll(0))

    def oob(self):
        """errno of recv(MSG_OOB)."""
        return os_error(self.receiver.sock.recv, 1, socket.MSG_OOB)

    def read_to(self, mark):
        """One read: it stops at the mark, and there it is."""
        ksft_eq(self.at_mark(), False)
        self.receiver.receive()
        ksft_eq(self.receiver.position, mark, "the read stops at the mark")
        ksft_eq(self.at_mark(), True)

    def finish(self):
        """All that was sent arrives, in device memory."""
        self.receiver.wait_queued(self.sent - self.receiver.position)
        self.receiver.receive_all(self.sent)
        ksft_eq(self.receiver.kinds["dmabuf"], self.sent)
        ksft_eq(self.at_mark(), False)
        ksft_eq(self.events(), 0)


# --- nothing goes wrong ----------------------------------------------------

@ksft_variants([KsftNamedVariant("v4", "4", False),
                KsftNamedVariant("v6", "6", False),
                KsftNamedVariant("inline", "4", True)])
@leaves_nothing
@survives
def in_order(cfg, ipver, inline):
    """A mark, an event and a signal, and the byte where it stands."""
    end = _End(cfg, ipver, inline)
    end.send(3000)
    end.receiver.wait_queued(3000)
    ksft_eq(end.events(), select.POLLIN)
    end.urgent()
    end.receiver.wait_queued(3001)
    end.send(3000)
    end.receiver.wait_queued(6001)
    ksft_eq(end.signals(), 1, "SIGURG")
    ksft_eq(end.events(), select.POLLIN | select.POLLPRI)
    ksft_eq(end.oob(), errno.EINVAL)
    end.read_to(3000)
    ksft_eq(end.events(), select.POLLIN | select.POLLPRI)
    ksft_eq(end.oob(), errno.EINVAL)
    ksft_eq(end.receiver.queued(), 3001)
    end.receiver.receive(size=1)
    ksft_eq(end.at_mark(), False)
    ksft_eq(end.events(), select.POLLIN)
    ksft_eq(end.oob(), errno.EINVAL)
    end.finish()


@leaves_nothing
@survives
def last_byte(cfg):
    """The urgent byte is the last in the queue: there is something to read."""
    end = _End(cfg)
    end.send(100)
    end.urgent()
    end.receiver.wait_queued(101)
    end.read_to(100)
    ksft_eq(end.events(), select.POLLIN | select.POLLPRI)
    ksft_eq(end.receiver.queued(), 1)
    end.receiver.receive()
    end.finish()


@leaves_nothing
@survives
def again_and_again(cfg):
    """Each of many urgent bytes is delivered, and all that is between."""
    end = _End(cfg)
    for _ in range(20):
        end.urgent()
        end.send(99)
    end.finish()
    ksft_ge(end.signals(), 1)


@leaves_nothing
@survives
def one_behind_the_other(cfg):
    """
    A second urgent byte follows the first, which nobody has read although the
    read position is at it: it becomes an ordinary one.
    """
    end = _End(cfg)
    end.send(100)
    end.urgent()
    end.receiver.wait_queued(101)
    end.read_to(100)
    ksft_eq(end.signals(), 1)
    end.urgent()
    end.receiver.wait_queued(2)
    ksft_eq(end.signals(2), 2)
    ksft_eq(end.at_mark(), False)
    end.read_to(101)
    end.finish()


@leaves_nothing
@survives
def peek(cfg):
    """MSG_PEEK stops at the mark, and sees the byte from there."""
    end = _End(cfg)
    end.send(50)
    end.urgent()
    end.send(50)
    end.receiver.wait_queued(101)
    message = end.receiver.recvmsg(flags=socket.MSG_PEEK)
    end.receiver.check(message)
    ksft_eq(message.size, 50)
    end.receiver.tokens += [piece.token for piece in message.pieces]
    end.read_to(50)
    message = end.receiver.recvmsg(flags=socket.MSG_PEEK)
    end.receiver.check(message)
    end.receiver.tokens += [piece.token for piece in message.pieces]
    ksft_eq(end.at_mark(), True)
    end.finish()


@leaves_nothing
@survives
def splice_at_the_mark(cfg):
    """splice(2) fails at an unreadable urgent byte as at any other."""
    end = _End(cfg)
    end.send(10)
    end.urgent()
    end.receiver.wait_queued(11)
    end.read_to(10)
    pipe_out, pipe_in = os.pipe()
    defer(os.close, pipe_in)
    defer(os.close, pipe_out)
    ksft_eq(os_error(os.splice, end.receiver.sock.fileno(), pipe_in, 4096),
            errno.EFAULT)
    end.finish()


@leaves_nothing
@survives
def readable_afterwards(cfg):
    """Once the queue is unbound urgent bytes are out of band again."""
    end = _End(cfg)
    end.send(100)
    end.urgent()
    end.finish()
    end.binding.close()
    end.send(100)
    receiver = Receiver(end.receiver.sock, None, 0)
    receiver.position = 101
    receiver.wait_queued(100)
    end.sender.send(b"!", socket.MSG_OOB)
    ksft_eq(end.signals(2), 2)
    wait_for(lambda: end.events() & select.POLLPRI, 20)
    ksft_eq(end.receiver.sock.recv(1, socket.MSG_OOB), b"!")
    end.send(100)
    # the byte is not in the stream
    receiver.receive_all(end.sent)
    ksft_eq(receiver.kinds["plain"], 200)


# --- segments are lost, overtaken, doubled ---------------------------------

# Frames with at least 1,000 bytes of payload, and frames with any.
_LONG, _DATA = 1066, 67


def _on_the_way(kind, min_len, **more):
    """A fault of the sender's frames."""
    arguments = {"port": 1, "min-len": min_len, "count": 1, **more}
    return f"{kind}=" + ",".join(f"{key}={value}"
                                 for key, value in arguments.items())


@ksft_variants([
    KsftNamedVariant("before_is_lost", _on_the_way("drop", _LONG)),
    KsftNamedVariant("before_is_corrupt", _on_the_way("corrupt", _LONG)),
    KsftNamedVariant("before_is_late", _on_the_way("reorder", _LONG, by=1,
                                                   **{"hold-ms": 2000})),
    KsftNamedVariant("before_comes_last", _on_the_way("reorder", _LONG, by=2,
                                                      **{"hold-ms": 2000})),
    KsftNamedVariant("before_and_it_are_lost",
                     _on_the_way("drop", _DATA, count=2)),
    KsftNamedVariant("it_is_lost", _on_the_way("drop", _DATA, nth=2)),
    KsftNamedVariant("it_is_corrupt", _on_the_way("corrupt", _DATA, nth=2)),
    KsftNamedVariant("it_is_late", _on_the_way("reorder", _DATA, nth=2, by=1,
                                               **{"hold-ms": 2000})),
    KsftNamedVariant("it_comes_twice", _on_the_way("duplicate", _DATA, nth=2)),
    KsftNamedVariant("all_come_twice",
                     _on_the_way("duplicate", _DATA, count=0)),
    KsftNamedVariant("all_are_lost", _on_the_way("drop", _DATA, count=3)),
])
@leaves_nothing
@survives
def on_the_way(cfg, fault):
    """
    A segment before the urgent byte, one that ends in it, one behind it. The
    urgent byte may wait out of order for the first, and when that is sent
    again, it has the urgent pointer too: still one urgent byte.
    """
    end = _End(cfg)
    end.send(3000)
    end.receiver.wait_queued(3000)
    with cfg.faults(fault):
        end.send(1000)
        end.urgent(500)
        end.send(900)
        end.receiver.wait_queued(end.sent)
    ksft_eq(end.signals(), 1, "SIGURG")
    end.read_to(4499)
    end.finish()
    ksft_eq(end.signals(), 1, "SIGURG")


@leaves_nothing
@survives
def two_out_of_order(cfg):
    """Two urgent bytes wait for a segment that was lost."""
    end = _End(cfg)
    with cfg.faults(_on_the_way("drop", _LONG)):
        end.send(1000)
        end.urgent()
        end.urgent()
        end.send(500)
        end.receiver.wait_queued(end.sent)
    ksft_ge(2, end.signals())
    # the first became an ordinary byte
    end.read_to(1001)
    end.finish()


@leaves_nothing
@survives
def partly_new(cfg):
    """
    What is sent again begins with bytes that were received, their
    acknowledgements being lost, and ends in the urgent byte, which was lost.
    """
    end = _End(cfg)
    with cfg.faults("drop=port=0,count=3", _on_the_way("drop", _DATA, nth=2)):
        end.send(300)
        end.urgent()
        end.receiver.wait_queued(end.sent)
    end.send(500)
    end.receiver.wait_queued(end.sent)
    ksft_eq(end.signals(), 1, "SIGURG")
    ksft_ge(tcpinfo.retransmitted(end.sender), 1)
    end.read_to(300)
    end.finish()


@ksft_variants([KsftNamedVariant("out_of_band", False),
                KsftNamedVariant("inline", True)])
@leaves_nothing
@survives
def announced(cfg, inline):
    """
    The urgent pointer comes before the byte: reads go up to the mark and wait
    there; then the byte comes.
    """
    end = _End(cfg, inline=inline)
    with cfg.faults(_on_the_way("drop", _DATA),
                    _on_the_way("drop", 1400, count=0)):
        end.send(200)
        # too long for a segment together with what goes before
        end.urgent(1400)
        end.receiver.wait_queued(200)
        ksft_eq(end.signals(), 1, "SIGURG")
        ksft_eq(end.oob(), errno.EINVAL if inline else errno.EAGAIN)
        end.receiver.receive()
        ksft_eq(end.receiver.position, 200)
        ksft_eq(end.events(), 0)
    end.receiver.wait_queued(1400)
    ksft_eq(end.oob(), errno.EINVAL)
    end.read_to(1599)
    end.send(100)
    end.finish()
    ksft_eq(end.signals(), 1, "SIGURG")


def _set_stdurg(value):
    """Set the sysctl; returns what it was."""
    path = "/proc/sys/net/ipv4/tcp_stdurg"
    with open(path, encoding="ascii") as knob:
        old = knob.read()
    with open(path, "w", encoding="ascii") as knob:
        knob.write(value)
    return old


@leaves_nothing
@survives
def pointer_comes_late(cfg):
    """
    With tcp_stdurg the pointer of the other end means the byte behind, whose
    segment has overtaken the one with the pointer.
    """
    end = _End(cfg)
    defer(_set_stdurg, _set_stdurg("1"))
    with cfg.faults(_on_the_way("reorder", _DATA, by=1, **{"hold-ms": 2000})):
        end.urgent(500)
        end.send(900)
        ksft_eq(end.signals(), 1, "SIGURG")
        end.receiver.receive_all(1400)
    ksft_eq(end.receiver.kinds["dmabuf"], 1400)
    ksft_eq(end.events(), 0)


@ksft_variants([KsftNamedVariant("clean", ()),
                KsftNamedVariant("drop", ("drop=port=1,min-len=67,p=0.05",)),
                KsftNamedVariant("reorder",
                                 ("reorder=port=1,min-len=67,p=0.2",)),
                KsftNamedVariant("all", ("drop=port=1,min-len=67,p=0.02",
                                         "duplicate=port=1,p=0.05",
                                         "reorder=port=1,p=0.1"))])
@leaves_nothing
@survives
def long_writes(cfg, faults):
    """
    Writes with MSG_OOB that have to wait for room, so that the mark moves over
    bytes that are on their way, or have even arrived.
    """
    end = _End(cfg)
    end.sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    size = 300000
    with cfg.faults(*faults):
        thread = send(end.sender, 0, size, chunk=50000,
                      flags=socket.MSG_OOB)
        end.receiver.receive_all(size)
        thread.finish()
    ksft_eq(end.receiver.kinds["dmabuf"], size)
    ksft_pr(f"{tcpinfo.retransmitted(end.sender)} segments were sent again")
    ksft_ge(end.signals(), 1)


CASES = [
    in_order,
    last_byte,
    again_and_again,
    one_behind_the_other,
    peek,
    splice_at_the_mark,
    readable_afterwards,
    on_the_way,
    two_out_of_order,
    partly_new,
    announced,
    pointer_comes_late,
    long_writes,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
