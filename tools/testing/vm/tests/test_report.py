# SPDX-License-Identifier: GPL-2.0
"""What a run with a limit leaves out, and what it says at its end."""

import contextlib
import io
import json
import tempfile
import time
import unittest
from pathlib import Path
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


class Gist(unittest.TestCase):
    """The end of a run has no room for a whole console."""

    def test_short(self):
        self.assertEqual(report._gist("a\nb"), "a\nb")
        self.assertEqual(report._gist(""), "no reason given")

    def test_long(self):
        lines = [str(number) for number in range(40)]
        said = report._gist("\n".join(lines)).splitlines()
        self.assertEqual(said, [*lines[:6], "  ...", *lines[-6:]])


class Finish(unittest.TestCase):
    """Each target has a record of its own."""

    def finish(self, *names, **kwargs):
        results = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.multiple(report.paths, RESULTS=results, REPO=results))
        self.enterContext(mock.patch.object(report.ui.console, "print"))
        out = self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        record = report.Report(**kwargs)
        for name in names:
            record.add("stage", name, name)
        ended = record.finish()
        file, = results.iterdir()
        return ended, file.name, json.loads(file.read_text()), out.getvalue().splitlines()[-1]

    def test_of_make_test(self):
        well, name, record, last = self.finish("pass", "skip")
        self.assertEqual((well, name, last), (True, "test.json", "1 passed, 0 failed"))
        self.assertEqual((record["passed"], record["failed"], record["skipped"]), (1, 0, 1))

    def test_of_another(self):
        well, name, _record, last = self.finish("pass", "fail", target="gve")
        self.assertEqual((well, name, last), (False, "gve-test.json", "1 passed, 1 failed"))

    def test_nothing_is_not_well(self):
        self.assertFalse(self.finish()[0])


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
