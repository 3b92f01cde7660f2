# SPDX-License-Identifier: GPL-2.0

"""
dma-bufs of the test exporter, tools/testing/devmem_exporter: chosen runs,
failures on demand, and counts that can be read when the buffer is gone.
"""

import bisect
import ctypes
import fcntl
import itertools
import mmap
import os
import random
import struct
from collections import namedtuple

from net.lib.py import KsftSkipEx, cmd

from .dmabuf import MappedDmabuf
from .leftover import wait_for

DEVICE = "/dev/devmem_exporter"
# Where the harness says that it has built the module.
MODULE_ENV = "DEVMEM_EXPORTER"

PAGE = mmap.PAGESIZE
# A run longer than this is more than the page allocator gives at once; one
# page of that is the guard.
LONGEST_RUN = 1023

# See abi.rs of the module.
_CREATE = 0x4010de00
_FAIL = 0x4008de01
_SPOIL = 0x0000de03
_STALL = 0x4008de04
_CREATE_ARGS = struct.Struct("=QII")
_RUN = struct.Struct("=IIII")
_FAIL_ARGS = struct.Struct("=II")
_FLAG_GUARD = 1
_FLAG_SHORT = 2
_STEPS = {"attach": 0, "map": 1}

Counts = namedtuple("Counts", (
    "attached", "attach_failed", "detached", "mapped", "map_failed",
    "unmapped", "cpu_begun", "cpu_ended", "released", "left_at_release",
    "device_runs", "guard_overwritten", "poison_overwritten"))
_COUNTS = struct.Struct(f"={len(Counts._fields)}Q")
_STATUS = 0x8000de02 | _COUNTS.size << 16


class Run(namedtuple("Run", ("pages", "skip", "cut"))):
    """
    A run of the buffer, contiguous for the device.

    pages: its length
    skip, cut: bytes at its start and at its end that importers do not see
    """

    def __new__(cls, pages, skip=0, cut=0):
        return super().__new__(cls, pages, skip, cut)


def load():
    """Have the device; skips the test file where that is not possible."""
    if os.path.exists(DEVICE):
        return
    module = os.environ.get(MODULE_ENV)
    if not module:
        raise KsftSkipEx(f"no {DEVICE}, and {MODULE_ENV} does not say where "
                         "devmem_exporter.ko is")
    cmd(f"insmod {module}")
    if not wait_for(lambda: os.path.exists(DEVICE), 10):
        raise KsftSkipEx(f"{DEVICE} did not appear")


class ExporterBuffer(MappedDmabuf):
    """
    A dma-buf of the test exporter.

    The memory comes in the order of @seed's choice, so that addresses do not
    ascend; with None, in the order of the runs. With @short the dma-buf says
    that it is a page smaller than its runs. Outlives close(): counts() is for
    then. forget() is the end.

    Attributes, beside those of MappedDmabuf:
      runs: list of Run
    """

    def __init__(self, runs, seed=1, short=False):
        self.runs = [Run(run) if isinstance(run, int) else run for run in runs]
        super().__init__((sum(run.pages for run in self.runs) - short) * PAGE)
        self._starts = [0, *itertools.accumulate(
            run.pages * PAGE for run in self.runs)][:-1]
        turns = list(range(len(self.runs)))
        if seed is not None:
            random.Random(seed).shuffle(turns)
        packed = b"".join(_RUN.pack(run.pages, run.skip, run.cut, turn)
                          for run, turn in zip(self.runs, turns))
        keep = ctypes.create_string_buffer(packed, len(packed))
        self._device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            # for an immutable argument ioctl() would not return the fd
            self._open(fcntl.ioctl(self._device, _CREATE,
                                   bytearray(_CREATE_ARGS.pack(
                                       ctypes.addressof(keep), len(self.runs),
                                       _FLAG_GUARD | _FLAG_SHORT * short))))
        except BaseException:
            self.forget()
            raise

    def run_at(self, offset):
        """Index of the run that the byte at @offset is in."""
        return bisect.bisect_right(self._starts, offset) - 1

    def fail(self, step, number):
        """Let "attach" or "map" fail with an errno from now on; 0: work."""
        fcntl.ioctl(self._device, _FAIL, _FAIL_ARGS.pack(_STEPS[step], number))

    def stall(self, seconds):
        """Let each unmap take so long from now on."""
        fcntl.ioctl(self._device, _STALL,
                    _FAIL_ARGS.pack(round(seconds * 1000), 0))

    def counts(self):
        """What importers have done with the buffer, as Counts."""
        answer = bytearray(_COUNTS.size)
        fcntl.ioctl(self._device, _STATUS, answer)
        return Counts(*_COUNTS.unpack(answer))

    def spoil(self):
        """Write where nobody may, as a late device would."""
        fcntl.ioctl(self._device, _SPOIL)

    def forget(self):
        """Let the memory go, and what is known of it."""
        self.close()
        if self._device is not None:
            os.close(self._device)
            self._device = None
