# SPDX-License-Identifier: GPL-2.0
"""What the restart of an RX queue costs, C against Rust.

One kernel after the other: beside another guest, times would say little. The C
side is the base as it is, its gve included.
"""

import json

from rich.table import Table

from .. import paths, ui
from . import guest

PROFILE = "restarts"  # and what the stage is called
IMPLEMENTATIONS = ("c", "rust")
ROWS = (
    ("bind, median", "ms", lambda side: side["bind"]["median_ms"]),
    ("bind, 95 %", "ms", lambda side: side["bind"]["p95_ms"]),
    ("bind, longest", "ms", lambda side: side["bind"]["max_ms"]),
    ("unbind, median", "ms", lambda side: side["unbind"]["median_ms"]),
    ("unbind, 95 %", "ms", lambda side: side["unbind"]["p95_ms"]),
    ("unbind, longest", "ms", lambda side: side["unbind"]["max_ms"]),
    *((f"{name} other queues, {label}", "ms",
       lambda side, way=way, key=key: side["packets_of_others"][way]["delay"][key])
      for way, name in (("rx", "to"), ("tx", "from"))
      for key, label in (("median_ms", "median delay"), ("p95_ms", "95 %"), ("max_ms", "longest"))),
    ("packets to other queues", "", lambda side: side["packets_of_others"]["rx"]["sent"]),
    ("of them lost", "", lambda side: side["packets_of_others"]["rx"]["lost"]),
    ("packets from them", "", lambda side: side["packets_of_others"]["tx"]["sent"]),
    ("of them lost", "", lambda side: side["packets_of_others"]["tx"]["lost"]),
    ("carrier lost", "", lambda side: side["carrier_losses"]),
)


def check(report, images, kernel, base_selftests):
    """Boot {implementation: image}, compare, record in gve.json."""
    figures = {}
    for impl in (impl for impl in IMPLEMENTATIONS if impl in images):
        job = guest.Job(PROFILE, images[impl], impl, f" on {impl}")
        guest.side_by_side(report, [[job]], kernel, base_selftests)
        record = job.guest.results / "restart_cost.json"
        if record.is_file():
            figures[impl] = json.loads(record.read_text())
    with report.stage(PROFILE) as stage:
        if len(figures) < len(IMPLEMENTATIONS):
            report.add(PROFILE, "figures of both", "fail", f"only of {', '.join(figures) or 'none'}")
            return
        ui.console.print(table(figures))
        target = paths.RESULTS / "gve.json"
        target.write_text(json.dumps(figures, indent=2) + "\n")
        stage.note(f"side by side: {target.relative_to(paths.REPO)}")
        for name, why in problems(figures):
            report.add(PROFILE, name, "fail" if why else "pass", why)


def lost(side):
    """Packets of queues that nobody restarted just then, lost either way."""
    return sum(way["lost"] for way in side["packets_of_others"].values())


def problems(figures):
    """(case, what is wrong with it or nothing): what Rust has to be better at."""
    c, rust = figures["c"], figures["rust"]
    yield "Rust keeps the link", ("" if not rust["carrier_losses"] else
                                  f"the carrier was lost {rust['carrier_losses']} times")
    yield "Rust loses no more packets of other queues", (
        "" if lost(rust) <= lost(c) else f"{lost(rust)}, C: {lost(c)}")


def table(figures):
    """For people: a line a figure."""
    c, rust = figures["c"], figures["rust"]
    shown = Table(title=f"{rust['turns']} bindings and their ends, on queues 1 to n in turn")
    for column, side in (("", "left"), ("C", "right"), ("Rust", "right"), ("Rust / C", "right")):
        shown.add_column(column, justify=side)
    for name, unit, of in ROWS:
        here, there = of(c), of(rust)
        shown.add_row(name, f"{here} {unit}".strip(), f"{there} {unit}".strip(),
                      f"{there / here:.2f}" if here else "")
    return shown
