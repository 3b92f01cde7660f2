# SPDX-License-Identifier: GPL-2.0

"""What a BPF program reports of packets, by way of perf events."""

import ctypes
import os

from net.lib.py import defer

from .bpf import libbpf, report

_MAP_TYPE_PERF_EVENT_ARRAY = 4
_PAGES = 8
_SAMPLE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int,
                           ctypes.c_void_p, ctypes.c_uint32)


class Reports:
    """
    The first @size bytes of all that arrives on an interface and is @longer
    than so many bytes, until the end of the test case.
    """

    # What the program itself says: the length of the packet.
    _OWN = 8

    def __init__(self, cfg, longer, size):
        self._size = size
        self._found = []
        # both are called until close()
        self._take = _SAMPLE(self._sample)
        self._library = libbpf()
        self._library.perf_buffer__new.restype = ctypes.c_void_p
        events = self._check(self._library.bpf_map_create(
            _MAP_TYPE_PERF_EVENT_ARRAY, b"reports", 4, 4, os.cpu_count(), None))
        # its events go with the descriptor
        defer(os.close, events)
        self._buffer = ctypes.c_void_p(self._library.perf_buffer__new(
            events, ctypes.c_size_t(_PAGES), self._take, None, None, None))
        if not self._buffer:
            raise OSError(ctypes.get_errno(), "perf_buffer__new")
        defer(self._library.perf_buffer__free, self._buffer)
        defer(os.close, report(cfg.ifindex, events, longer, size))

    @staticmethod
    def _check(number):
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number

    def _sample(self, _context, _cpu, data, size):
        raw = ctypes.string_at(data, size)
        self._found.append(raw[self._OWN:self._OWN + self._size])

    def read(self):
        """What has been reported since the last call."""
        self._check(self._library.perf_buffer__poll(self._buffer, 100))
        found, self._found = self._found, []
        return found
