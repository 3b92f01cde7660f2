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


class Heartbeat:
    """A real-time task on each CPU that notes when it was kept from running."""

    def __init__(self, *forget):
        """@forget: sockets that the tasks shall not keep open."""
        self._flag = mmap.mmap(-1, 1)
        self._beats = [Worker(self._beat, cpu, forget)
                       for cpu in sorted(os.sched_getaffinity(0))]

    def _beat(self, cpu, forget):
        for sock in forget:
            sock.close()
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
        gaps = []
        last = time.monotonic()
        while not self._flag[0]:
            time.sleep(PERIOD)
            now = time.monotonic()
            gaps.append((now - last, last))
            last = now
        return max(gaps)[0]

    def stop(self):
        """The longest that each CPU was away, in seconds."""
        self._flag[0] = 1
        return [beat.result() for beat in self._beats]
