# SPDX-License-Identifier: GPL-2.0
"""What a run with a limit leaves out."""

import time
import unittest
from unittest import mock

from vmlib import report
from vmlib.checks import kernelbuild


class Limit(unittest.TestCase):
    def record(self, minutes, gone):
        began = mock.patch.object(report, "_BEGAN", time.monotonic() - gone)
        began.start()
        self.addCleanup(began.stop)
        return report.Report(minutes)

    def test_there_is_none(self):
        record = self.record(None, 1e6)
        self.assertTrue(record.has_time("long", 1e6))
        self.assertEqual(record.entries, [])

    def test_it_is_kept(self):
        record = self.record(80, 3000)
        self.assertTrue(record.has_time("fits", 1700))
        self.assertEqual(record.entries, [])

    def test_what_is_left_out_is_said(self):
        record = self.record(80, 3000)
        self.assertFalse(record.has_time("long", 2400))
        entry, = record.entries
        self.assertEqual((entry.name, entry.outcome), ("long", "skip"))
        self.assertEqual(entry.reason, "takes about 40 minutes, and of the 80 that this run "
                                       "may take 30 are left")


class Kernels(unittest.TestCase):
    def seconds(self, *built):
        kernel = mock.Mock()
        kernel.is_built = built.__contains__
        return kernelbuild.release_seconds(kernel)

    def test_the_first_takes_longest(self):
        self.assertLess(self.seconds("c", "rust"), self.seconds("rust"))
        self.assertLess(self.seconds("rust") + 1000, self.seconds())


if __name__ == "__main__":
    unittest.main()
