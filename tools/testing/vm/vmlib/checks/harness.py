# SPDX-License-Identifier: GPL-2.0
"""The harness's own unit tests, and those of the guest's programs."""

import contextlib
import unittest

from .. import paths, ui


class _Recorder(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = []

    def addSuccess(self, test):
        self.passed.append(test.id())


@contextlib.contextmanager
def _silence():
    """The tests' own stages, some of which have to fail, would be taken for those of this run."""
    before, ui.console.quiet = ui.console.quiet, True
    try:
        yield
    finally:
        ui.console.quiet = before


def check(report, stage_name="harness"):
    """Run tools/testing/vm/tests with unittest."""
    with report.stage(stage_name):
        suite = unittest.TestLoader().discover(str(paths.VM / "tests"), top_level_dir=str(paths.VM))
        recorder = _Recorder()
        with _silence():
            suite.run(recorder)
        for name in recorder.passed:
            report.add(stage_name, name, "pass")
        for test, trace in recorder.failures + recorder.errors:
            report.add(stage_name, test.id(), "fail", trace.strip().splitlines()[-1])
        for test, reason in recorder.skipped:
            report.add(stage_name, test.id(), "skip", reason)
