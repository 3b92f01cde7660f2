# SPDX-License-Identifier: GPL-2.0

"""io_uring's zero-copy receive: another memory provider for an RX queue."""

import ctypes
import mmap
import os

from net.lib.py import KsftSkipEx

_SETUP_CQE32 = 1 << 11
_SETUP_SINGLE_ISSUER = 1 << 12
_SETUP_DEFER_TASKRUN = 1 << 13
_REGISTER_ZCRX_IFQ = 32

_ENTRIES = 16
_AREA = 1 << 20


class _Params(ctypes.Structure):
    _fields_ = [("entries", ctypes.c_uint32 * 2),
                ("flags", ctypes.c_uint32),
                ("rest", ctypes.c_uint32 * 27)]


class _Region(ctypes.Structure):
    _fields_ = [("user_addr", ctypes.c_uint64),
                ("size", ctypes.c_uint64),
                ("flags", ctypes.c_uint32),
                ("id", ctypes.c_uint32),
                ("mmap_offset", ctypes.c_uint64),
                ("reserved", ctypes.c_uint64 * 4)]


class _Area(ctypes.Structure):
    _fields_ = [("addr", ctypes.c_uint64),
                ("len", ctypes.c_uint64),
                ("token", ctypes.c_uint64),
                ("flags", ctypes.c_uint32),
                ("dmabuf_fd", ctypes.c_uint32),
                ("reserved", ctypes.c_uint64 * 2)]


class _Ifq(ctypes.Structure):
    _fields_ = [("if_idx", ctypes.c_uint32),
                ("if_rxq", ctypes.c_uint32),
                ("rq_entries", ctypes.c_uint32),
                ("flags", ctypes.c_uint32),
                ("area", ctypes.c_uint64),
                ("region", ctypes.c_uint64),
                ("offsets", ctypes.c_uint32 * 8),
                ("zcrx_id", ctypes.c_uint32),
                ("rx_buf_len", ctypes.c_uint32),
                ("event", ctypes.c_uint64),
                ("reserved", ctypes.c_uint64 * 2)]


def _liburing():
    # the one with symbols for what the other has inline
    try:
        return ctypes.CDLL("liburing-ffi.so.2", use_errno=True)
    except OSError as error:
        raise KsftSkipEx(f"no liburing: {error}") from error


class Zcrx:
    """A ring, and memory that it may receive into."""

    def __init__(self):
        self._lib = _liburing()
        params = _Params(flags=_SETUP_CQE32 | _SETUP_SINGLE_ISSUER |
                         _SETUP_DEFER_TASKRUN)
        self._ring = self._lib.io_uring_setup(_ENTRIES, ctypes.byref(params))
        if self._ring < 0:
            raise OSError(-self._ring, f"io_uring: {os.strerror(-self._ring)}")
        self._memory = mmap.mmap(-1, _AREA)
        self._start = (ctypes.c_char * _AREA).from_buffer(self._memory)

    def register(self, ifindex, queue):
        """Take the queue; raises OSError."""
        area = _Area(addr=ctypes.addressof(self._start), len=_AREA)
        region = _Region(size=2 * mmap.PAGESIZE)
        ifq = _Ifq(if_idx=ifindex, if_rxq=queue, rq_entries=_ENTRIES,
                   area=ctypes.addressof(area),
                   region=ctypes.addressof(region))
        done = self._lib.io_uring_register(self._ring, _REGISTER_ZCRX_IFQ,
                                           ctypes.byref(ifq), 1)
        if done < 0:
            raise OSError(-done, f"zcrx: {os.strerror(-done)}")

    def close(self):
        """Let the queue go, which takes the kernel a moment after return."""
        if self._ring is not None:
            os.close(self._ring)
            self._ring = None
