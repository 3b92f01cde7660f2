# SPDX-License-Identifier: GPL-2.0

"""What any dma-buf that the CPU may look at has, whoever exported it."""

import fcntl
import mmap
import os
import struct

from .leftover import dmabuf_references, dmabufs
from .uapi import DMA_BUF_IOCTL_SYNC, DMA_BUF_SYNC_END, DMA_BUF_SYNC_READ


class MappedDmabuf:
    """
    A dma-buf, mapped for reading.

    Attributes:
      fd: the dma-buf's file descriptor
      size: bytes
    """

    def __init__(self, size):
        self.size = size
        self.fd = None
        self._map = None
        self._own = 0

    def _open(self, fd):
        """The exporter made it: take and map @fd."""
        self.fd = fd
        self._map = mmap.mmap(fd, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._own = dmabuf_references(self.inode)

    @property
    def inode(self):
        """Inode number, which is how debugfs names this buffer."""
        return os.fstat(self.fd).st_ino

    @property
    def is_held(self):
        """A binding holds it, be it mapped for a device or not."""
        return dmabuf_references(self.inode) > self._own

    @property
    def is_free(self):
        """No device is attached, and nobody but us holds it."""
        return not dmabufs().get(self.inode) and not self.is_held

    def read(self, offset, size):
        """The bytes at offset, read between the begin and end of an access."""
        self._sync(DMA_BUF_SYNC_READ)
        try:
            return self._map[offset:offset + size]
        finally:
            self._sync(DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END)

    def close(self):
        """Drop the mapping and the descriptor; importers keep their hold."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _sync(self, flags):
        fcntl.ioctl(self.fd, DMA_BUF_IOCTL_SYNC, struct.pack("=Q", flags))
