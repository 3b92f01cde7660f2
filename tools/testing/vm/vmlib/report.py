# SPDX-License-Identifier: GPL-2.0
"""The record of `make test` and its like: named cases, a table, JSON, and one last line."""

import contextlib
import json
import time
from dataclasses import asdict, dataclass

from rich.markup import escape
from rich.table import Table

from . import paths, ui
from .errors import HarnessError

_BEGAN = time.monotonic()  # of the program, as near as need be
COLOURS = {"pass": "green", "fail": "red", "skip": "yellow"}


@dataclass(frozen=True)
class Entry:
    """One case of one stage, and how it went."""

    stage: str
    name: str
    outcome: str  # pass, fail, skip
    reason: str = ""


def _gist(reason, lines=6):
    """The first and the last lines of a long reason."""
    said = reason.splitlines() or ["no reason given"]
    if len(said) > 2 * lines:
        said[lines:-lines] = ["  ..."]
    return "\n".join(said)


class Report:
    """Collects cases, stage by stage."""

    def __init__(self, minutes=None, target="test"):
        """`minutes`: how long `make TARGET` may run, if there is a limit."""
        self._target = target
        self._limit = None if minutes is None else minutes * 60
        self.entries = []
        self.seconds = {}
        self._started = time.monotonic()

    def add(self, stage, name, outcome, reason=""):
        self.entries.append(Entry(stage, name, outcome, reason))

    def add_all(self, stage, cases):
        """Add cases that have name, outcome and reason."""
        for case in cases:
            self.add(stage, case.name, case.outcome, case.reason)

    def count(self, outcome, stage=None):
        return sum(entry.outcome == outcome for entry in self.entries
                   if stage in (None, entry.stage))

    def left(self):
        """Seconds until the program should end; None if it may take all day."""
        return None if self._limit is None else self._limit - (time.monotonic() - _BEGAN)

    def has_time(self, name, seconds):
        """Whether a stage of about so many seconds would end in time.

        If not, it is recorded as skipped, with that as the reason.
        """
        left = self.left()
        if left is None or left >= seconds:
            return True
        with self.stage(name):
            self.add(name, name, "skip",
                     f"takes about {seconds / 60:.0f} minutes, and of the {self._limit / 60:.0f} "
                     f"that this run may take {max(left, 0) / 60:.0f} are left")
        return False

    @contextlib.contextmanager
    def stage(self, name):
        """A stage whose body adds cases; an error in it is a failed case.

        A stage that ends without having added any failed as well: a check
        that checks nothing is broken.
        """
        before = len(self.entries)
        try:
            with ui.stage(name) as shown:
                yield shown
                if len(self.entries) == before:
                    raise HarnessError(f"{name}: nothing was checked")
                failed = self.count("fail", name)
                shown.result(f"{self.count('pass', name)} passed, {failed} failed"
                             + self._skips(name))
        except HarnessError as error:
            self.add(name, name, "fail", str(error))
        self.seconds[name] = shown.seconds
        for entry in self.entries[before:]:
            if entry.outcome != "pass":
                colour = COLOURS[entry.outcome]
                ui.console.print(f"  [{colour}]{entry.outcome}[/] {escape(entry.name)}: "
                                 f"{escape(entry.reason or 'no reason given')}")

    def _skips(self, name):
        skipped = self.count("skip", name)
        return f", {skipped} skipped" if skipped else ""

    def finish(self):
        """Print the table and the last line, write the JSON; True if all is well."""
        table = Table(title=f"make {self._target}")
        for column in ("stage", "passed", "failed", "skipped", "time"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for name, seconds in self.seconds.items():
            failed = self.count("fail", name)
            table.add_row(name, str(self.count("pass", name)),
                          f"[red]{failed}[/]" if failed else "0",
                          str(self.count("skip", name)), f"{seconds:.0f} s")
        ui.console.print(table)
        # Again, for whoever sees only the end of a long log.
        for entry in self.entries:
            if entry.outcome == "fail":
                ui.console.print(f"[red]failed[/] {escape(entry.stage)}: {escape(entry.name)}: "
                                 f"{escape(_gist(entry.reason))}")
        # The figures of `make gve` and the verdicts of `make peer` have files of their own.
        name = "test" if self._target == "test" else f"{self._target}-test"
        target = paths.RESULTS / f"{name}.json"
        passed, failed = self.count("pass"), self.count("fail")
        target.write_text(json.dumps({
            "passed": passed, "failed": failed, "skipped": self.count("skip"),
            "seconds": round(time.monotonic() - self._started, 1),
            "stages": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
            "cases": [asdict(entry) for entry in self.entries],
        }, indent=2) + "\n")
        print(f"record: {target.relative_to(paths.REPO)}")
        print(f"{passed} passed, {failed} failed", flush=True)
        return not failed and bool(passed)
