# SPDX-License-Identifier: GPL-2.0
"""`make red`: the known defects on C, on C with fixes and on Rust, side by side.

What may run together shares a guest. What is expected to crash, or to leave
something behind, has one of its own. If a guest ends early, the case that ran
has crashed it, and the next guest goes on with the rest. Verdicts are kept by
column, so that one column, or some rows, can be run again.
"""

import dataclasses
import json
import re
import textwrap
from concurrent.futures import ThreadPoolExecutor

from rich.markup import escape
from rich.table import Table

from .. import boot, klog, paths, tap, ui
from ..defects import COLUMNS, DEFECTS, Crashes, Fails, Immune, NotRun, key
from ..errors import HarnessError
from ..kernel import has_fixes, implementation
from . import guest

SELFTESTS = "tools/testing/selftests/net/devmem"
FIXES = "patches/fixes"
PAGE = paths.REPO / "Documentation/networking/devmem-rust-defects.rst"
ALONE = 900  # seconds for a guest that may never end
_BEGUN = re.compile(r"^## (.+)$", re.M)
_KERNEL = re.compile(r"^# kernel: (.*)$", re.M)
_FATAL = re.compile(r"BUG|Oops|panic|general protection|unable to handle|double fault")
_WHERE = re.compile(r"RIP: 0010:(\w+)")
_CLASS = re.compile(r"^(?:\w+\.)*(?:Ksft\w+Ex|\w+Error|\w+Exception): ")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a row on a kernel."""

    kind: str  # immune, fails, crashes, not run
    told: str = ""

    def __str__(self):
        return f"{self.kind}: {self.told}" if self.told else self.kind

    def unexpected(self, expected):
        """What was expected instead, or nothing."""
        if self.kind == str(expected) and re.search(getattr(expected, "says", ""), self.told):
            return ""
        says = getattr(expected, "says", "")
        return f"expected that it {expected} with {says!r}" if says else f"expected: {expected}"


def check(report, images, kernel, rows=()):
    """Run the columns of {variant: image}, or some rows of them; report, print, record."""
    unknown = set(rows) - {row.id for row in DEFECTS}
    if unknown:
        raise HarnessError(f"no defect is called {', '.join(sorted(unknown))}")
    chosen = [row for row in DEFECTS if not rows or row.id in rows]
    with ui.stage("guests") as stage, ThreadPoolExecutor(2) as pool:
        def column(variant):
            job = guest.Job("", images[variant], implementation(variant),
                            fixed=implementation(variant) == "c" and has_fixes(variant),
                            env=("DEVMEM_TRY_DEFECTS=1",))
            return _column(stage, variant, job, chosen, kernel)

        errors = dict(zip(images, pool.map(column, images)))
    found = {variant: kept(variant) for variant in COLUMNS}
    for variant, error in errors.items():
        label = f"defects on {variant}"
        with report.stage(label):
            for row in chosen:
                expected, verdict = row.expected(variant), found[variant].get(row.id)
                if isinstance(expected, NotRun):
                    report.add(label, row.id, "skip", expected.why)
                elif verdict is None:
                    report.add(label, row.id, "fail", error or "it did not run")
                else:
                    why = verdict.unexpected(expected)
                    report.add(label, row.id, "fail" if why else "pass",
                               f"{verdict}; {why}" if why else str(verdict))
    target = paths.RESULTS / "defects.json"
    target.write_text(json.dumps(as_json(found), indent=2) + "\n")
    ui.console.print(table(found))
    ui.console.print(f"side by side: {target.relative_to(paths.REPO)}")


def _column(stage, variant, job, chosen, kernel):
    """Run all guests of a column, keep its verdicts; returns what kept it from its end, if so."""
    keep(variant, {row.id: None for row in chosen})
    todo = batches(chosen, variant)
    number = 0
    while todo:
        rows = todo.pop(0)
        number += 1
        here = dataclasses.replace(job, profile=rows[0].profile, on=f" on {variant} {number}",
                                   only=tuple(f"{row.id}={row.test}" for row in rows))
        machine = guest.machine(here, kernel, "")  # no test of the base's is run
        if alone(rows[0], variant):
            machine.timeout = ALONE
        stage.note(f"{variant}, guest {number}: {' '.join(row.id for row in rows)}")
        try:
            outcome = boot.run(machine, lambda line: stage.tick(f"{variant}: {line}"))
        except HarnessError as error:
            return str(error)
        said = (machine.results / "stdout.log").read_text(errors="replace")
        found = verdicts(said, outcome)
        keep(variant, found)
        rest = [row for row in rows if row.id not in found]
        if len(rest) == len(rows):
            return f"the guest ran nothing; see {machine.results}"
        if rest:
            todo.insert(0, rest)
    return ""


def alone(row, variant):
    """Whether a row has a guest to itself."""
    return getattr(row.expected(variant), "alone", False)


def batches(chosen, variant):
    """The rows of each guest of a column, those that share one first."""
    run = [row for row in chosen if not isinstance(row.expected(variant), NotRun)]
    shared = {}
    for row in run:
        if not alone(row, variant):
            shared.setdefault(row.profile, []).append(row)
    return [*shared.values(), *([row] for row in run if alone(row, variant))]


def verdicts(said, outcome):
    """{row: Verdict} of what a guest said; the last to begin crashed it, if it did not end."""
    _, *parts = _BEGUN.split(said)
    sections = dict(zip(parts[::2], parts[1::2]))
    found = {number: judge(text) for number, text in sections.items()}
    if sections and not outcome.finished:
        found[list(sections)[-1]] = crash(outcome)
    return found


def judge(text):
    """What the output of a row's cases means."""
    cases = tap.parse(text, "case")
    failed = [case for case in cases if case.outcome == "fail"]
    skipped = [case for case in cases if case.outcome == "skip"]
    if failed or not cases:
        kernel = _KERNEL.search(text)
        reasons = (_CLASS.sub("", case.reason) for case in failed if case.reason)
        return Verdict("fails", kernel[1] if kernel else next(reasons, "it printed no reason"))
    if skipped:
        return Verdict("not run", skipped[0].reason or "skipped")
    return Verdict("immune")


def crash(outcome):
    """How a guest ended that should not have."""
    fatal = [line for line in klog.reports(outcome.log) if _FATAL.search(line)]
    if fatal:
        # The first one after that: what was interrupted has one, too.
        where = _WHERE.search(outcome.log, outcome.log.index(fatal[0]))
        return Verdict("crashes", fatal[0] + (f" in {where[1]}()" if where else ""))
    return Verdict("crashes", f"no end after {outcome.seconds:.0f} s" if outcome.timed_out
                   else "the guest ended, and its log does not say why")


def _file(variant):
    return paths.RESULTS / f"defects-{variant}.json"


def kept(variant):
    """{row: Verdict} of a column's last runs."""
    path = _file(variant)
    if not path.is_file():
        return {}
    return {number: Verdict(*pair) for number, pair in json.loads(path.read_text()).items()}


def keep(variant, found):
    """Add to what is kept of a column; None forgets a row."""
    known = {**kept(variant), **found}
    _file(variant).write_text(json.dumps(
        {number: [verdict.kind, verdict.told] for number, verdict in known.items() if verdict},
        indent=2) + "\n")


def shown(row, variant, found):
    """A row's Verdict in a column, run or not."""
    expected = row.expected(variant)
    if isinstance(expected, NotRun):
        return Verdict("not run", expected.why)
    return found[variant].get(row.id) or Verdict("not run", f"not yet: make red ONLY={variant}")


def as_json(found):
    """The record for machines, a row a defect."""
    return [{"id": row.id, "what": row.what,
             **{key(variant): str(shown(row, variant, found)) for variant in COLUMNS},
             "test": f"{SELFTESTS}/{row.test.replace(':', '.py: ', 1)}" if row.test else "",
             "fix": ", ".join(f"{FIXES}/{name}" for name in row.fix)} for row in DEFECTS]


def document(page=PAGE):
    """Put the list into the documentation."""
    before, start, rest = page.read_text().partition(".. list-table::\n")
    after = re.search(r"^\S", rest, re.M)
    if not start:
        raise HarnessError(f"{page} has no list-table")
    page.write_text(before + rst() + (f"\n{rest[after.start():]}" if after else ""))


def rst():
    """The list as a table of reStructuredText."""
    rows = [("id", "what", "C", "C with fixes", "Rust"),
            *((row.id, row.what, *(str(row.expected(variant)) for variant in COLUMNS))
              for row in DEFECTS)]
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 6 54 14 14 12", ""]
    for number, *cells in rows:
        lines.append(f"   * - {number}")
        for cell in cells:
            lines += textwrap.wrap(cell, 80, initial_indent="     - ", subsequent_indent=7 * " ")
    return "\n".join(lines) + "\n"


def table(found):
    """For people: a line a defect."""
    made = Table(title="the known defects")
    for column in ("id", "what", *COLUMNS):
        made.add_column(column)
    colours = {"immune": "green", "not run": "yellow"}
    for row in DEFECTS:
        cells = []
        for variant in COLUMNS:
            verdict = shown(row, variant, found)
            expected = row.expected(variant)
            strange = not isinstance(expected, NotRun) and verdict.unexpected(expected)
            colour = "bold red" if strange else colours.get(verdict.kind, "red")
            mark = "!" if strange else ""
            cells.append(f"[{colour}]{mark}{escape(verdict.kind)}[/]")
        made.add_row(row.id, row.what, *cells)
    return made
