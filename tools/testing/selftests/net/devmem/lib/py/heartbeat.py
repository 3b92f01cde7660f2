# SPDX-License-Identifier: GPL-2.0

"""
How long each CPU did not get to run a task of the highest priority: such a
task takes a CPU from everything but code that holds off preemption or softirqs.
"""

import mmap
import os
import time

from .workers import Worker

PERIOD = 0.002
PRIORITY = 50


_WAIT, _BEAT, _STOP = range(3)


class Heartbeat:
    """
    A real-time task on each CPU that notes when it was kept from running.

    Make it first in a test case: the tasks keep open what is open then.
    """

    def __init__(self):
        self._state = mmap.mmap(-1, 1)
        self._beats = [Worker(self._beat, cpu)
                       for cpu in sorted(os.sched_getaffinity(0))]

    def _beat(self, cpu):
        os.sched_setaffinity(0, {cpu})
        while self._state[0] == _WAIT:
            time.sleep(0.05)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        longest = 0
        last = time.monotonic()
        while self._state[0] == _BEAT:
            time.sleep(PERIOD)
            now = time.monotonic()
            longest = max(longest, now - last)
            last = now
        return longest

    def start(self):
        """Begin to measure."""
        self._state[0] = _BEAT

    def stop(self):
        """The longest that each CPU was away since start(), in seconds."""
        self._state[0] = _STOP
        return [beat.result() for beat in self._beats]
