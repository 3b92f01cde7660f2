# SPDX-License-Identifier: GPL-2.0
"""What runs in the guest: KUnit at boot, the kselftests, a small transfer."""

import dataclasses

from .. import boot, klog, model, paths, tap, transfer
from ..errors import HarnessError

PROGRAM = paths.VM / "guest/test.py"
SMALL = transfer.Knobs(bytes=16 << 20)
TIMEOUT = 2700  # seconds
SPLIT_LATE = 64  # bytes of payload that the model leaves with the headers
# Profile of test.py: what the device model is asked for, and told to the tests.
PROFILES = {
    "default": (model.Options(), ()),
    "late-split": (model.Options(split_late=SPLIT_LATE), ("--split-late", SPLIT_LATE)),
    "jumbo": (model.Options(), ("--mtu", 9000)),
    "queue-mgmt": (model.Options(), ()),
    "restarts": (model.Options(), ()),
}
# Those for any kernel; the others are for comparing kernels.
GENERAL = ("default", "late-split", "jumbo")


def check(report, image, kernel, base_selftests, impl=None):
    """One boot a profile of kselftests, KUnit in the first, then the transfer.

    With `impl` the image is a release build of that implementation, which the
    stages then name, and has no KUnit.
    """
    on = f" on {impl}" if impl else ""
    wanted = impl or "rust"
    for profile in GENERAL:
        outcome = selftests(report, image, kernel, base_selftests, profile, wanted, on)
        if profile == "default" and not impl:
            _kunit(report, outcome)
    _transfer(report, image, wanted, f"transfer{on}")


def check_queue_management(report, images, kernel, base_selftests):
    """The tests of the driver's queue management, where net core and driver differ.

    `images` is {variant: image}; a variant's name begins with the net core's
    implementation.
    """
    for variant, image in images.items():
        selftests(report, image, kernel, base_selftests, "queue-mgmt",
                  variant.partition("-")[0], f" on {variant}")


def selftests(report, image, kernel, base_selftests, profile, impl, on=""):
    """Boot and run the kselftests of a profile; returns the Outcome, or None."""
    options, arguments = PROFILES[profile]
    label = f"kselftests {profile}{on}"
    command = ["env", f"DEVMEM_TREE={kernel.tree.where}", f"BASE_SELFTESTS={base_selftests}",
               "python3", PROGRAM, "--profile", profile, "--impl", impl, *arguments]
    out = folder(label)
    tests = boot.Guest(image=image, results=out, nics=options, timeout=TIMEOUT,
                       commands=[("test", [*command, "--out", out])])
    outcome = None
    with report.stage(label) as stage:
        stage.note(boot.accelerator())
        outcome = boot.run(tests, stage.tick)
        records = sorted(out.glob("*.tap"))
        for record in records:
            cases = tap.parse(record.read_text(errors="replace"), record.stem)
            report.add_all(label, cases)
            if not cases:
                report.add(label, record.stem, "fail", "it printed no result")
        boot.require(outcome, tests)
        if not records:
            log = (out / "test.log").read_text(errors="replace")
            raise HarnessError(f"no *.tap in {out}\n{log[-2000:]}")
        _status(report, label, outcome)
        reports = klog.reports(outcome.log)
        report.add(label, "kernel log", "fail" if reports else "pass", "\n".join(reports))
    return outcome


def folder(label):
    """Where the results of a stage of kselftests are."""
    return paths.BUILD / f"guest-{label.removeprefix('kselftests ').replace(' ', '-')}"


def _status(report, label, outcome):
    """The program's exit status has to agree with what its tests said."""
    status = outcome.status["test"]
    failed = report.count("fail", label)
    if bool(status) != bool(failed):
        report.add(label, "test.py", "fail", f"exit status {status}, but {failed} tests failed")


def _kunit(report, outcome):
    with report.stage("kunit"):
        lines = outcome.console.splitlines() if outcome else []
        start = next((number for number, line in enumerate(lines) if "KTAP version" in line), None)
        if start is None:
            raise HarnessError("no KTAP on the console: KUnit did not run")
        report.add_all("kunit", tap.parse("\n".join(lines[start:]), "kunit"))


def _transfer(report, image, impl, label):
    with report.stage(label) as stage:
        knobs = dataclasses.replace(SMALL, impl=impl)
        guest = transfer.machine(image, knobs, f"guest-{label.replace(' ', '-')}")
        outcome = boot.run(guest, stage.tick)
        boot.require(outcome, guest)
        _record, problems = transfer.judge(outcome, guest, knobs)
        report.add(label, "make run, in small", "fail" if problems else "pass",
                   "\n".join(problems))
