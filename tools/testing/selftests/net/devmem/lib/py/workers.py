# SPDX-License-Identifier: GPL-2.0

"""
Work beside the test case, in processes of its own: Python's threads take turns,
and what is under test is the kernel doing two things at once.
"""

import os
import pickle
import signal
import traceback

from net.lib.py import defer


class WorkerError(Exception):
    """A worker raised; the message has its traceback."""


class Worker:
    """
    Runs @func(*args) in a child process, with the same descriptors.

    The child is to end by itself; it is killed with the test case.
    """

    def __init__(self, func, *args):
        reading, writing = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            self._child(reading, writing, func, args)
        os.close(writing)
        self._answer = os.fdopen(reading, "rb")
        defer(self._kill)

    @staticmethod
    def _child(reading, writing, func, args):
        try:
            os.close(reading)
            try:
                answer = ("ok", func(*args))
            except BaseException:              # pylint: disable=W0718
                answer = ("failed", traceback.format_exc())
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            # nothing of the parent's clean-up
            os._exit(0)                        # pylint: disable=W0212

    def result(self):
        """Wait for the end; what @func returned."""
        data = self._answer.read()
        self._reap()
        if not data:
            raise WorkerError("it was killed")
        how, what = pickle.loads(data)
        if how == "failed":
            raise WorkerError(what)
        return what

    def _reap(self):
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = None

    def _kill(self):
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            self._reap()
        self._answer.close()
