# SPDX-License-Identifier: GPL-2.0

"""A dma-buf made of host memory, the stand-in for a device's memory."""

import fcntl
import os

from .dmabuf import MappedDmabuf
from .uapi import UDMABUF_ARGS, UDMABUF_CREATE, UDMABUF_FLAGS_CLOEXEC

UDMABUF_DEV = "/dev/udmabuf"


class Udmabuf(MappedDmabuf):
    """A udmabuf over a memfd."""

    def __init__(self, size):
        super().__init__(size)
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
                fd = fcntl.ioctl(dev, UDMABUF_CREATE, args)
            finally:
                os.close(dev)
        finally:
            os.close(memfd)
        self._open(fd)
