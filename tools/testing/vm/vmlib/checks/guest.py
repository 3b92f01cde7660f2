# SPDX-License-Identifier: GPL-2.0
"""What runs in the guest: KUnit at boot, the kselftests, a small transfer."""

from .. import boot, klog, model, paths, tap, transfer
from ..errors import HarnessError

PROGRAM = paths.VM / "guest/test.py"
SMALL = transfer.Knobs(bytes=16 << 20)
TIMEOUT = 1500  # seconds


def check(report, image, base_selftests):
    """Boot twice: KUnit and kselftests, then the transfer."""
    outcome = _selftests(report, image, base_selftests)
    if outcome:
        _kunit(report, outcome)
    _transfer(report, image)


def _selftests(report, image, base_selftests):
    out = paths.BUILD / "guest-test"
    tests = boot.Guest(
        image=image, results=out, nics=model.Options(), timeout=TIMEOUT,
        commands=[("test", ["env", f"BASE_SELFTESTS={base_selftests}", "python3", PROGRAM,
                            "--out", out])])
    outcome = None
    with report.stage("kselftests") as stage:
        stage.note(boot.accelerator())
        outcome = boot.run(tests, stage.tick)
        for record in sorted(out.glob("*.tap")):
            cases = tap.parse(record.read_text(errors="replace"), record.stem)
            report.add_all("kselftests", cases)
            if not cases:
                report.add("kselftests", record.stem, "fail", "it printed no result")
        if outcome.status["test"] is None:
            boot.require(outcome, tests)
        if not list(out.glob("*.tap")):
            raise HarnessError(f"no *.tap in {out}")
        _status(report, outcome)
        reports = klog.reports(outcome.log)
        report.add("kselftests", "kernel log", "fail" if reports else "pass", "\n".join(reports))
    return outcome


def _status(report, outcome):
    """The program's exit status has to agree with what its tests said."""
    status = outcome.status["test"]
    failed = report.count("fail", "kselftests")
    if bool(status) != bool(failed):
        report.add("kselftests", "test.py", "fail",
                   f"exit status {status}, but {failed} tests failed")


def _kunit(report, outcome):
    with report.stage("kunit"):
        lines = outcome.console.splitlines()
        start = next((number for number, line in enumerate(lines) if "KTAP version" in line), None)
        if start is None:
            raise HarnessError("no KTAP on the console: KUnit did not run")
        # Only what the kernel printed while it booted; programs print TAP too.
        report.add_all("kunit", tap.parse("\n".join(lines[start:]), "kunit"))


def _transfer(report, image):
    with report.stage("transfer") as stage:
        guest = transfer.machine(image, SMALL, "guest-transfer")
        outcome = boot.run(guest, stage.tick)
        boot.require(outcome, guest)
        _record, problems = transfer.judge(outcome, guest, SMALL)
        report.add("transfer", "make run, in small", "fail" if problems else "pass",
                   "\n".join(problems))
