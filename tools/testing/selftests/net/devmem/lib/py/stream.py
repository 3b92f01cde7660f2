# SPDX-License-Identifier: GPL-2.0

"""
Both ends of a TCP connection: a receiver that knows device memory and checks
every byte against the pattern, and an ordinary sender on a thread.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import termios
import threading
import time

from .pattern import pattern
from .uapi import (CMSG_SPACE, DMABUF_CMSG, DMABUF_TOKEN, MAX_DONTNEED_TOKENS,
                   MSG_SOCK_DEVMEM, SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR,
                   SO_DEVMEM_DONTNEED)

_LIBC = ctypes.CDLL(None, use_errno=True)

# Under full emulation a queue restart and a retransmission may each take
# seconds; silence for this long is a failure.
SILENCE = 60
# A closed socket that cannot say goodbye gives up after so many ms.
USER_TIMEOUT = 1500


class StreamError(Exception):
    """The stream is not what the sender sent."""


def give_up_soon(sock):
    """
    Let the socket outlive its last descriptor for a moment only: an orphan
    holds its tokens, and segments that came out of order.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT)


def setsockopt_dontneed(sock, pointer, length):
    """
    SO_DEVMEM_DONTNEED with any pointer and length.

    Python's own setsockopt() hides the return value, which is the number of
    frags that were given back. Raises OSError.
    """
    ret = _LIBC.setsockopt(sock.fileno(), socket.SOL_SOCKET,
                           SO_DEVMEM_DONTNEED, ctypes.c_void_p(pointer),
                           ctypes.c_uint32(length))
    if ret < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ret


def dontneed(sock, ranges):
    """Give back (first token, count) ranges; return how many frags it freed."""
    packed = b"".join(DMABUF_TOKEN.pack(*r) for r in ranges)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    return setsockopt_dontneed(sock, ctypes.addressof(buffer), len(packed))


def token_ranges(tokens):
    """
    Tokens as (first, count) ranges.

    >>> token_ranges([5, 1, 2, 3, 7])
    [(1, 3), (5, 1), (7, 1)]
    """
    ranges = []
    for token in sorted(tokens):
        if ranges and ranges[-1][0] + ranges[-1][1] == token:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((token, 1))
    return ranges


class Piece:
    """
    A part of the stream as one message delivered it.

    Attributes:
      kind: "dmabuf", "linear" (host part of a device memory packet) or
            "plain" (packet without device memory)
      size: bytes
      token, offset, dmabuf_id: only for "dmabuf"
      data: only for the other two
    """

    def __init__(self, kind, size, **fields):
        self.kind = kind
        self.size = size
        self.token = fields.get("token")
        self.offset = fields.get("offset")
        self.dmabuf_id = fields.get("dmabuf_id")
        self.data = fields.get("data")

    def __repr__(self):
        where = f"@{self.offset:#x} token {self.token}" \
            if self.kind == "dmabuf" else ""
        return f"<{self.kind} {self.size}{where}>"


class Message:
    """
    What one recvmsg() returned.

    Attributes:
      size: its return value
      pieces: list of Piece, in stream order
      flags: msg_flags
    """

    def __init__(self, size, pieces, flags):
        self.size = size
        self.pieces = pieces
        self.flags = flags

    def kinds(self):
        """The kinds of piece in it."""
        return {piece.kind for piece in self.pieces}


class Receiver:
    """
    The receiving end.

    Attributes:
      position: bytes of the stream received and verified so far
      tokens: tokens not yet given back
      kinds: bytes received, by kind
      frags: number of dmabuf pieces received
      dmabuf: the one of the first binding
    """

    def __init__(self, sock, dmabuf, dmabuf_id):
        self.sock = sock
        self.position = 0
        self.tokens = []
        self.kinds = {"dmabuf": 0, "linear": 0, "plain": 0}
        self.frags = 0
        self.dmabuf = dmabuf
        self._bindings = {dmabuf_id: dmabuf}

    def expect(self, dmabuf, dmabuf_id):
        """Device memory pieces may come from this binding too from now on."""
        self._bindings[dmabuf_id] = dmabuf

    def readable(self, timeout=SILENCE):
        """Wait until there is something to receive."""
        return bool(select.select([self.sock], [], [], timeout)[0])

    def wait_queued(self, size, timeout=SILENCE):
        """Wait until @size bytes are in the receive queue."""
        end = time.monotonic() + timeout
        while self.queued() < size:
            if time.monotonic() > end:
                raise StreamError(f"{self.queued()} of {size} bytes arrived")
            time.sleep(0.01)

    def queued(self):
        """Bytes in the receive queue."""
        answer = fcntl.ioctl(self.sock, termios.FIONREAD, struct.pack("i", 0))
        return struct.unpack("i", answer)[0]

    def recvmsg(self, size=1 << 18, control=128 * CMSG_SPACE, flags=0):
        """One recvmsg(MSG_SOCK_DEVMEM); nothing is verified or recorded."""
        iov = bytearray(size)
        got, ancillary, msg_flags, _ = self.sock.recvmsg_into(
            [iov], control, flags | MSG_SOCK_DEVMEM)
        pieces = []
        taken = 0
        for level, kind, data in ancillary:
            if level != socket.SOL_SOCKET or \
               kind not in (SCM_DEVMEM_DMABUF, SCM_DEVMEM_LINEAR):
                continue
            offset, length, token, dmabuf_id, _ = DMABUF_CMSG.unpack(data)
            if kind == SCM_DEVMEM_DMABUF:
                pieces.append(Piece("dmabuf", length, token=token,
                                    offset=offset, dmabuf_id=dmabuf_id))
            else:
                # only linear parts go to the iov, one after the other
                pieces.append(Piece("linear", length,
                                    data=bytes(iov[taken:taken + length])))
                taken += length
        if got and not pieces:
            pieces.append(Piece("plain", got, data=bytes(iov[:got])))
        told = sum(piece.size for piece in pieces)
        if told != got:
            raise StreamError(f"recvmsg returned {got}, its control messages"
                              f" describe {told} bytes: {pieces}")
        return Message(got, pieces, msg_flags)

    def check(self, message, position=None):
        """Compare the message with the stream at @position."""
        at = self.position if position is None else position
        for piece in message.pieces:
            if piece.kind == "dmabuf":
                dmabuf = self._bindings.get(piece.dmabuf_id)
                if dmabuf is None:
                    raise StreamError(f"{piece} names binding "
                                      f"{piece.dmabuf_id}, not one of "
                                      f"{list(self._bindings)}")
                if piece.offset + piece.size > dmabuf.size:
                    raise StreamError(f"{piece} is outside of the dma-buf")
                data = dmabuf.read(piece.offset, piece.size)
            else:
                data = piece.data
            want = pattern(at, piece.size)
            if data != want:
                wrong = next(i for i, (a, b) in enumerate(zip(data, want))
                             if a != b)
                raise StreamError(
                    f"{piece} differs from the stream at byte {at + wrong}: "
                    f"{data[wrong:wrong + 16].hex()} is not "
                    f"{want[wrong:wrong + 16].hex()}")
            at += piece.size

    def take(self, message):
        """Verify a message and record its tokens."""
        self.check(message)
        for piece in message.pieces:
            self.kinds[piece.kind] += piece.size
            if piece.kind == "dmabuf":
                self.tokens.append(piece.token)
                self.frags += 1
        self.position += message.size
        return message

    def receive(self, **kwargs):
        """Receive and verify one message; waits for it."""
        if not self.readable():
            raise StreamError(f"silence after {self.position} bytes")
        return self.take(self.recvmsg(**kwargs))

    def receive_all(self, until, keep=0, **kwargs):
        """
        Receive and verify up to stream position @until.

        Gives tokens back as it goes, except for the last @keep: many at a time,
        but all before it waits, for a small dma-buf may have no more.
        """
        while self.position < until:
            if len(self.tokens) > keep and not self.readable(0):
                self.release(len(self.tokens) - keep)
            if not self.receive(**kwargs).size:
                raise StreamError(f"end of stream after {self.position} of "
                                  f"{until} bytes")
            if len(self.tokens) - keep >= 64:
                self.release(len(self.tokens) - keep)
        if len(self.tokens) > keep:
            self.release(len(self.tokens) - keep)

    def release(self, count=None):
        """Give back the oldest @count tokens, or all."""
        count = len(self.tokens) if count is None else count
        batch, self.tokens = self.tokens[:count], self.tokens[count:]
        ranges = token_ranges(batch)
        freed = 0
        for first in range(0, len(ranges), MAX_DONTNEED_TOKENS):
            freed += dontneed(self.sock,
                              ranges[first:first + MAX_DONTNEED_TOKENS])
        if freed != len(batch):
            raise StreamError(f"gave back {len(batch)} tokens, the kernel "
                              f"freed {freed}")


class Sender(threading.Thread):
    """Sends part of the stream on a thread of its own; join() raises."""

    def __init__(self, sock, start, size, chunk=1 << 16, flags=0):
        super().__init__(daemon=True)
        self._sock = sock
        self._start = start
        self._size = size
        self._chunk = chunk
        self._flags = flags
        self._error = None
        self.start()

    def run(self):
        try:
            done = 0
            while done < self._size:
                step = min(self._chunk, self._size - done)
                self._sock.sendall(pattern(self._start + done, step),
                                   self._flags)
                done += step
        except OSError as error:
            self._error = error

    def finish(self, timeout=SILENCE):
        """Wait until all is handed to the kernel."""
        self.join(timeout)
        if self.is_alive():
            raise StreamError("the sender is stuck")
        if self._error:
            raise self._error

    def abandon(self):
        """End a stream whose receiver may be gone, or out of reach."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
            self.finish()
        except OSError:
            pass
        self._sock.close()
