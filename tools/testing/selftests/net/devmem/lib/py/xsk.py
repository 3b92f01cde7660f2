# SPDX-License-Identifier: GPL-2.0

"""AF_XDP sockets: another user of an RX queue."""

import ctypes
import mmap
import os
import socket
import struct

AF_XDP = 44
_SOL_XDP = 283
_RX_RING = 2
_UMEM_REG = 4
_UMEM_FILL_RING = 5
_UMEM_COMPLETION_RING = 6

# of sockaddr_xdp
COPY = 1 << 1
ZEROCOPY = 1 << 2

_FRAMES = 64
_FRAME_SIZE = 4096


class Xsk:
    """An AF_XDP socket with memory and rings, for one RX queue."""

    def __init__(self):
        self._memory = mmap.mmap(-1, _FRAMES * _FRAME_SIZE)
        self._start = (ctypes.c_char * len(self._memory)).from_buffer(
            self._memory)
        self._sock = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
        self._sock.setsockopt(_SOL_XDP, _UMEM_REG, struct.pack(
            "=QQIIII", ctypes.addressof(self._start), len(self._memory),
            _FRAME_SIZE, 0, 0, 0))
        for ring in (_UMEM_FILL_RING, _UMEM_COMPLETION_RING, _RX_RING):
            self._sock.setsockopt(_SOL_XDP, ring, _FRAMES)

    def bind(self, ifindex, queue, flags):
        """Take the queue; raises OSError."""
        # Python does not know this family's addresses
        libc = ctypes.CDLL(None, use_errno=True)
        address = struct.pack("=HHIII", AF_XDP, flags, ifindex, queue, 0)
        if libc.bind(self._sock.fileno(), address, len(address)):
            number = ctypes.get_errno()
            raise OSError(number, f"bind AF_XDP: {os.strerror(number)}")

    def close(self):
        """Let the queue go."""
        self._sock.close()
