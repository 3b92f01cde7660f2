# SPDX-License-Identifier: GPL-2.0

"""Sending from a dma-buf that is bound to a NIC by bind-tx."""

import ctypes
import errno
import mmap
import os
import socket
import struct

from net.lib.py import KsftSkipEx, NlError

from .binding import netdev_family
from .pattern import pattern
from .rawmsg import Iovec, Msghdr
from .uapi import SCM_DEVMEM_DMABUF
from .udmabuf import Udmabuf

SO_ZEROCOPY = 60
MSG_ZEROCOPY = 0x4000000

_LIBC = ctypes.CDLL(None, use_errno=True)


class TxBinding:
    """
    A dma-buf of the stream's first bytes, bound for sending.

    Attributes:
      id: the id that sendmsg() takes
    """

    def __init__(self, ifindex, size):
        self._dmabuf = Udmabuf(size)
        with mmap.mmap(self._dmabuf.fd, size, mmap.MAP_SHARED,
                       mmap.PROT_READ | mmap.PROT_WRITE) as memory:
            memory[:] = pattern(0, size)
        self._netdev = netdev_family()
        try:
            reply = self._netdev.bind_tx({"ifindex": ifindex,
                                          "fd": self._dmabuf.fd})
        except NlError as error:
            self.close()
            if error.error == errno.EOPNOTSUPP:
                raise KsftSkipEx("this kernel does not send device memory") \
                    from error
            raise
        self.id = reply["id"]

    def send(self, sock, start, size):
        """Send stream bytes [start, start + size); returns how many."""
        sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        # an address in the iov is an offset into the dma-buf
        iov = Iovec(start, size)
        control = struct.pack("=QIII4x", 20, socket.SOL_SOCKET,
                              SCM_DEVMEM_DMABUF, self.id)
        control = ctypes.create_string_buffer(control, len(control))
        message = Msghdr(iov=ctypes.addressof(iov), iovlen=1,
                         control=ctypes.addressof(control),
                         controllen=len(control))
        sent = _LIBC.sendmsg(sock.fileno(), ctypes.byref(message),
                             MSG_ZEROCOPY)
        if sent < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return sent

    def close(self):
        """Unbind; what is under way is still sent."""
        if self._netdev is not None:
            self._netdev.sock.close()
            self._netdev = None
        self._dmabuf.close()
