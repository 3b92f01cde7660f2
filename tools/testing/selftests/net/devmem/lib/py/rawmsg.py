# SPDX-License-Identifier: GPL-2.0

"""
recvmsg() with every pointer and length in the test's hands: memory that
faults, buffers that are used again, and no allocation per call.
"""

import ctypes
import os
import socket

from .stream import Piece, StreamError
from .uapi import (CMSG_HEADER, CMSG_SPACE, DMABUF_CMSG, MSG_SOCK_DEVMEM,
                   SCM_DEVMEM_DMABUF)

PAGE = 4096
PROT_NONE, PROT_READ, PROT_RW = 0, 1, 3
_MAP_PRIVATE_ANONYMOUS = 0x22
_MAP_FAILED = ctypes.c_void_p(-1).value

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                       ctypes.c_int, ctypes.c_int, ctypes.c_long]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_LIBC.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint,
                           ctypes.c_int, ctypes.c_void_p]
_LIBC.recvmsg.restype = ctypes.c_ssize_t
_LIBC.recvmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]


class Iovec(ctypes.Structure):
    """struct iovec"""

    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    """struct msghdr"""

    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32),
                ("iov", ctypes.c_void_p), ("iovlen", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = [("header", Msghdr), ("len", ctypes.c_uint)]


def _checked(ret):
    if ret < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ret


class Memory:
    """
    Pages of memory with one behind them that faults.

    Attributes:
      start, end: addresses
    """

    def __init__(self, pages=1):
        self._size = pages * PAGE
        self.start = _LIBC.mmap(None, self._size + PAGE, PROT_RW,
                                _MAP_PRIVATE_ANONYMOUS, -1, 0)
        if self.start in (None, _MAP_FAILED):
            raise OSError(ctypes.get_errno(), "mmap")
        self.end = self.start + self._size
        _LIBC.mprotect(self.end, PAGE, PROT_NONE)

    def protect(self, prot):
        """Change what may be done with the pages."""
        if _LIBC.mprotect(self.start, self._size, prot):
            raise OSError(ctypes.get_errno(), "mprotect")

    def tail(self, size):
        """The last @size bytes."""
        return ctypes.string_at(self.end - size, size)

    def close(self):
        """Unmap them."""
        if self.start:
            _LIBC.munmap(self.start, self._size + PAGE)
            self.start = None


class RawReceive:
    """
    recvmsg() into the same buffers again and again.

    Attributes:
      header: its struct msghdr, as the last call left it
    """

    def __init__(self, size=1 << 18, control=128 * CMSG_SPACE):
        self._iov_buffer = ctypes.create_string_buffer(size)
        self._control_buffer = ctypes.create_string_buffer(max(control, 1))
        self._iov = Iovec(ctypes.addressof(self._iov_buffer), size)
        self.header = Msghdr(None, 0, ctypes.addressof(self._iov), 1,
                             ctypes.addressof(self._control_buffer), control,
                             0)
        self._size = size
        self._control = control

    def prepare(self, *, size=None, control=None, iov_at=None,
                control_at=None):
        """
        Make the struct msghdr ready for a call, with arguments of the call's;
        returns it.
        """
        self._iov.len = self._size if size is None else size
        self._iov.base = iov_at or ctypes.addressof(self._iov_buffer)
        self.header.controllen = self._control if control is None else control
        self.header.control = ctypes.addressof(self._control_buffer) \
            if control_at is None else control_at
        self.header.flags = 0
        return self.header

    def __call__(self, sock, flags=0, *, header_in=None, **kwargs):
        """
        One recvmsg(MSG_SOCK_DEVMEM); returns what it returns, or raises.

        @size, @control: lengths of the buffers
        @iov_at, @control_at: addresses in place of the buffers here; there may
        be none (0) for the latter
        @header_in: Memory that the struct msghdr is in, and that is read-only
        during the call
        """
        at = ctypes.addressof(self.prepare(**kwargs))
        if header_in:
            ctypes.memmove(header_in.start, at, ctypes.sizeof(Msghdr))
            at = header_in.start
            header_in.protect(PROT_READ)
        return _checked(_LIBC.recvmsg(sock.fileno(), at,
                                      flags | MSG_SOCK_DEVMEM))

    def fill(self, byte):
        """Make all bytes of both buffers this one."""
        for buffer in (self._iov_buffer, self._control_buffer):
            ctypes.memset(buffer, byte, ctypes.sizeof(buffer))

    def iov_bytes(self, size):
        """The first @size bytes of the buffer for payload."""
        return ctypes.string_at(self._iov_buffer, size)

    def control_bytes(self, size):
        """The first @size bytes of the control buffer."""
        return ctypes.string_at(self._control_buffer, size)

    def messages(self):
        """All control messages that the last call left: (level, type, data)."""
        data = self.control_bytes(self.header.controllen)
        found = []
        while len(data) >= CMSG_HEADER.size:
            length, level, kind = CMSG_HEADER.unpack_from(data)
            found.append((level, kind, data[CMSG_HEADER.size:length]))
            data = data[-(-length // 8) * 8:]
        return found

    @property
    def cmsgs(self):
        """How many of our messages the last call left."""
        return self.header.controllen // CMSG_SPACE

    def pieces(self, count=None, control_at=None):
        """
        The first @count dmabuf pieces in the control buffer, by default what
        the last call left.
        """
        count = self.cmsgs if count is None else count
        at = control_at or ctypes.addressof(self._control_buffer)
        found = []
        for start in range(at, at + count * CMSG_SPACE, CMSG_SPACE):
            data = ctypes.string_at(start, CMSG_SPACE)
            _, level, kind = CMSG_HEADER.unpack_from(data)
            if (level, kind) != (socket.SOL_SOCKET, SCM_DEVMEM_DMABUF):
                raise StreamError(f"not a dmabuf piece: {data.hex()}")
            offset, length, token, dmabuf_id, _ = \
                DMABUF_CMSG.unpack_from(data, CMSG_HEADER.size)
            found.append(Piece("dmabuf", length, token=token, offset=offset,
                               dmabuf_id=dmabuf_id))
        return found


def recvmmsg(sock, headers, flags=0):
    """
    recvmmsg(MSG_SOCK_DEVMEM) with what RawReceive.prepare() returned; returns
    the lengths of the messages that came, and leaves the rest in @headers.
    """
    vector = (Mmsghdr * len(headers))(*(Mmsghdr(h, 0) for h in headers))
    count = _checked(_LIBC.recvmmsg(sock.fileno(), vector, len(headers),
                                    flags | MSG_SOCK_DEVMEM, None))
    for header, entry in zip(headers, vector):
        header.controllen = entry.header.controllen
        header.flags = entry.header.flags
    return [entry.len for entry in vector[:count]]
