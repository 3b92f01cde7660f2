# SPDX-License-Identifier: GPL-2.0

"""A dma-buf made of host memory, the stand-in for a device's memory."""

import fcntl
import mmap
import os
import struct

from .uapi import (DMA_BUF_IOCTL_SYNC, DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ,
                   UDMABUF_ARGS, UDMABUF_CREATE, UDMABUF_FLAGS_CLOEXEC)

UDMABUF_DEV = "/dev/udmabuf"


class Udmabuf:
    """
    A udmabuf over a memfd, mapped for reading.

    Attributes:
      fd: the dma-buf's file descriptor
      size: bytes
    """

    def __init__(self, size):
        self.size = size
        self.fd = None
        self._map = None
        memfd = os.memfd_create("devmem-selftest", os.MFD_ALLOW_SEALING |
                                os.MFD_CLOEXEC)
        try:
            os.ftruncate(memfd, size)
            # udmabuf refuses a memfd that could shrink under it
            fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            dev = os.open(UDMABUF_DEV, os.O_RDWR | os.O_CLOEXEC)
            try:
                # for an immutable argument ioctl() would not return the fd
                args = bytearray(UDMABUF_ARGS.pack(memfd,
                                                   UDMABUF_FLAGS_CLOEXEC,
                                                   0, size))
                self.fd = fcntl.ioctl(dev, UDMABUF_CREATE, args)
            finally:
                os.close(dev)
        finally:
            os.close(memfd)
        self._map = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ)

    @property
    def inode(self):
        """Inode number, which is how debugfs names this buffer."""
        return os.fstat(self.fd).st_ino

    def read(self, offset, size):
        """The bytes at offset, read between the begin and end of an access."""
        self._sync(DMA_BUF_SYNC_READ)
        try:
            return self._map[offset:offset + size]
        finally:
            self._sync(DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END)

    def close(self):
        """Drop the mapping and the descriptor; a binding keeps its own hold."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _sync(self, flags):
        fcntl.ioctl(self.fd, DMA_BUF_IOCTL_SYNC, struct.pack("=Q", flags))
