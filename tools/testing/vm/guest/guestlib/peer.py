# SPDX-License-Identifier: GPL-2.0
"""Runs a test of the base's as it is, and says what its verdicts are.

The base's tests speak in two ways: some print TAP, some only end with a
status. Of the former every case counts, of the latter the status.
"""

import os
import re
import tempfile
import time
from collections import Counter
from dataclasses import asdict

from .process import follow
from .runner import endpoints, wrapper
from .tap import Case, Tap

SKIPPED = 4     # kselftest's exit status of a test that cannot run here
# Anything that the tests with containers may give to them; routed by peer.py.
PREFIX_V6 = "2001:db8:2::/64"


class PeerRunner:
    """Runs PeerTests; each one's output goes to `out`."""

    def __init__(self, folder, out, kernel_log, say):
        self._folder = folder
        self._out = out
        self._log = kernel_log
        self._say = say

    def run(self, test):
        """Run one; returns its record, fit for JSON."""
        program = self._folder / test.path
        if not program.is_file():
            return self._record(test, 0, None, [Case("exit status", "skip", "it was not built")])
        tap = Tap()
        last = ""
        started = time.monotonic()
        self._log.new_lines()
        with open(self._out / f"{test.name.replace('/', '-')}.log", "w", encoding="utf-8") as sink:
            def take(line):
                nonlocal last
                line = tap.feed(line)
                last = line or last
                sink.write(line + "\n")
                sink.flush()

            with tempfile.TemporaryDirectory() as scratch:
                status, timed_out = follow(
                    self._argv(test, program), scratch if test.scratch else program.parent,
                    self._environment(test), test.timeout, take)
            complaint = self._log.complaints()
            for line in complaint:
                sink.write(f"# kernel: {line}\n")
        late = f"no end after {test.timeout} s" if timed_out else ""
        cases = verdicts(tap, status, late, last, test.counts)
        if complaint:
            cases.append(Case("kernel log", "fail", complaint[0]))
        return self._record(test, time.monotonic() - started, status, cases)

    def _record(self, test, seconds, status, cases):
        counts = Counter(case.outcome for case in cases)
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("pass", "fail", "skip")
                         if counts[outcome])
        self._say(f"{test.name}: {told}, {seconds:.0f} s")
        return {"test": test.name, "seconds": round(seconds, 1), "status": status,
                "cases": [asdict(case) for case in cases]}

    def _argv(self, test, program):
        without = [word for case in test.omit for word in ("-T", case)]
        start = ["python3", *wrapper(test)] if test.through else []
        name = program if test.scratch else f"./{program.name}"
        return [*start, str(name), *test.arguments, *without]

    def _environment(self, test):
        nic = {**endpoints(), "LOCAL_PREFIX_V6": PREFIX_V6} if test.nic else {}
        return {**os.environ, **nic, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def verdicts(tap, status, late, last, counts=False):
    """The cases of a finished test; `late` says that it had to be stopped.

    A test without TAP is one case, whose verdict is its exit status; its
    last line stands for the reason. One that had to be stopped has none but
    that: how far it got is chance. With `counts` the numbers in names are
    left out. Two cases of one name are told apart by their number.
    """
    cases = list(tap.cases)
    if late:
        cases = [Case("end", "fail", late)]
    elif not cases:
        outcome = {0: "pass", SKIPPED: "skip"}.get(status, "fail")
        note = "" if outcome == "pass" else last or f"exit status {status}"
        cases = [Case("exit status", outcome, note)]
    elif tap.planned is not None and len(tap.cases) < tap.planned:
        cases.append(Case("plan", "fail", f"{tap.planned} planned, {len(tap.cases)} ran"))
    elif status not in (0, SKIPPED) and tap.count("fail") == 0:
        cases.append(Case("exit status", "fail", f"{status}, though no case failed"))
    seen = Counter()
    for case in cases:
        if counts:
            case.name = re.sub(r"\d+", "N", case.name)
        seen[case.name] += 1
        if seen[case.name] > 1:
            case.name += f" #{seen[case.name]}"
    return cases
