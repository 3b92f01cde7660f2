# SPDX-License-Identifier: GPL-2.0

"""A process that does one part of the work, and can be killed for it."""

import os
import signal
import traceback

from net.lib.py import defer, ksft_eq


class Child:
    """
    A process that does one part of the work, to be killed.

    Attributes:
      lines: what it says, line by line
    """

    def __init__(self, work, *args):
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.close(read_end)
                with os.fdopen(write_end, "w", buffering=1,
                               encoding="utf-8") as say:
                    work(lambda text: say.write(f"{text}\n"), *args)
            except BaseException:              # pylint: disable=W0718
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(write_end)
        self.lines = os.fdopen(read_end, "r", encoding="utf-8")
        defer(self.end)

    def hear(self):
        """The next line; fails when there is none."""
        line = self.lines.readline().strip()
        if not line:
            raise RuntimeError("the child has died too early")
        return line

    def kill(self, name):
        """Kill it by a signal, and wait until it is gone."""
        os.kill(self.pid, getattr(signal, name))
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        ksft_eq(os.WTERMSIG(status), getattr(signal, name))

    def end(self):
        """Make sure that it is gone."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
        self.lines.close()
