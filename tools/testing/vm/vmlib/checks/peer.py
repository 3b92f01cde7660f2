# SPDX-License-Identifier: GPL-2.0
"""The base's own tests on the C and the Rust implementation: same verdicts?

Both kernels have the release configuration, same but for the choice, and run
beside each other. A test whose verdicts differ runs once more on both, one
kernel after the other, and the better run counts: on an emulated machine a
time-out now and then proves nothing. What the first run said is recorded.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from rich.table import Table

from .. import boot, model, paths, peer, ui
from ..errors import HarnessError

PROGRAM = paths.VM / "guest/peer.py"
IMPLEMENTATIONS = ("c", "rust")
TIMEOUT = 1800  # seconds, a boot
SECONDS = 900  # that it takes as a rule
# nk_devmem.py and userns_devmem.py want rings of 64.
NIC = model.Options(extra=("--rx-ring-min", "64"))
LABEL = "peer's suite"


def check(report, images, kernel, base_selftests):
    """Boot {implementation: image}, compare, record in peer.json."""
    with report.stage(LABEL) as stage:
        def boot_one(impl, only=()):
            records, end = _boot(stage, impl, images[impl], kernel, base_selftests, only)
            if end:
                report.add(LABEL, f"{impl}: all tests", "fail", end)
            return records

        # Side by side: many of these tests wait, and the rest share the processors.
        with ThreadPoolExecutor() as guests:
            runs = dict(zip(IMPLEMENTATIONS, guests.map(boot_one, IMPLEMENTATIONS)))
        first = found = peer.pairs(*(runs[impl] for impl in IMPLEMENTATIONS))
        again = peer.differing(found)
        if again:
            stage.note(f"once more, for their verdicts differ: {', '.join(again)}")
            for impl in IMPLEMENTATIONS:
                for test, record in boot_one(impl, again).items():
                    runs[impl][test] = peer.better(runs[impl].get(test, record), record)
            found = peer.pairs(*(runs[impl] for impl in IMPLEMENTATIONS))
        left_out = _left_out()
        ui.console.print(table(found))
        for name, outcome, reason in peer.report(found):
            report.add(LABEL, name, outcome, reason)
        for name, reason in left_out:
            report.add(LABEL, name, "skip", reason)
        target = paths.RESULTS / "peer.json"
        target.write_text(json.dumps(
            {"cases": peer.as_json(found, first if again else ()),
             "left_out": [{"test": name, "why": reason} for name, reason in left_out]},
            indent=2) + "\n")
        stage.note(f"side by side: {target.relative_to(paths.REPO)}")


def _boot(stage, impl, image, kernel, base_selftests, only=()):
    """Run the list (or the tests named in `only`) on one kernel.

    Returns its records, and what kept the guest from its end, if anything.
    """
    out = paths.BUILD / f"guest-peer-{impl}{'-again' if only else ''}"
    flags = [word for name in only for word in ("--only", name)]
    guest = boot.Guest(
        image=image, results=out, nics=NIC, timeout=TIMEOUT,
        commands=[("peer", ["env", f"DEVMEM_TREE={kernel.tree.where}",
                            f"BASE_SELFTESTS={base_selftests}", "python3", PROGRAM,
                            "--out", out, *flags])])
    stage.note(f"{impl}: {image.name}, {boot.accelerator()}")
    outcome = boot.run(guest, lambda line: stage.tick(f"{impl}: {line}"))
    records = peer.read(out / "peer.jsonl")
    if not records:
        log = out / "peer.log"
        boot.require(outcome, guest)
        raise HarnessError(f"the guest ran no test\n{ui.tail(log)}")
    if outcome.finished:
        return records, ""
    return records, (f"the guest did not get beyond {list(records)[-1]}; "
                     f"see {out / 'console.log'}")


def _left_out():
    """(name, reason) of what is not run, tests and cases, from the guest's list."""
    sys.path.insert(0, str(paths.VM / "guest"))
    from guestlib import peerlist
    found = [(f"{test.name}: {case}", test.why) for test in peerlist.HOST + peerlist.NIC
             for case in test.omit]
    return found + [(test.path, test.why) for test in peerlist.LEFT_OUT]


def table(found):
    """For people: a line a test."""
    shown = Table(title="the base's tests, C | Rust")
    for column, side in (("test", "left"), ("cases", "right"), ("passed", "right"),
                         ("failed", "right"), ("skipped", "right"), ("differ", "right"),
                         ("time", "right")):
        shown.add_column(column, justify=side)
    for test, cases, c, rust, differ, seconds in peer.summary(found):
        counts = [f"{c[outcome]} | {rust[outcome]}" for outcome in ("pass", "fail", "skip")]
        shown.add_row(test, str(cases), *counts, f"[red]{differ}[/]" if differ else "0",
                      f"{seconds[0]:.0f} | {seconds[1]:.0f} s")
    return shown
