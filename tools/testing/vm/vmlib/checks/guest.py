# SPDX-License-Identifier: GPL-2.0
"""What runs in guests: KUnit at boot, the kselftests, a small transfer."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import boot, klog, model, paths, tap, transfer, ui
from ..errors import HarnessError
from ..kernel import has_fixes, implementation

PROGRAM = paths.VM / "guest/test.py"
SMALL = transfer.Knobs(bytes=16 << 20)
TIMEOUT = 3600  # seconds
SPLIT_LATE = 64  # bytes of payload that the model leaves with the headers
# Profile of test.py: what the device model is asked for, and told to the tests.
PROFILES = {
    "receive": (model.Options(), ()),
    "lifecycle": (model.Options(), ()),
    "late-split": (model.Options(split_late=SPLIT_LATE), ("--split-late", SPLIT_LATE)),
    "jumbo": (model.Options(), ("--mtu", 9000)),
    "queue-mgmt": (model.Options(), ()),
    "restarts": (model.Options(), ()),
    "defects": (model.Options(), ()),
}
# Those for any kernel, in lanes; the others are for comparing kernels. Lanes run beside each
# other, for tests wait as much as they compute; what is in a lane runs one after the other.
LANES = (("receive", "late-split", "jumbo"), ("lifecycle",))
# Those that tell drivers, and what net core they are under, apart.
OF_THE_DRIVER = ("queue-mgmt", "late-split")
# Profiles that take so long that their last tests may have to be left out, and how many seconds
# all other guests take after them on slow processors.
LONG = ("receive", "lifecycle")
AFTER = 600
# What a test file may take beyond the end of its guest's time, in seconds.
GRACE = 900


@dataclasses.dataclass
class Job:
    """A profile on a kernel: a boot, and a stage of the report."""

    profile: str
    image: Path
    impl: str
    on: str = ""
    fixed: bool = False  # the kernel has patches/fixes, though `impl` is C
    seconds: int | None = None  # after which no test file begins
    only: tuple = ()  # what of the profile, as for test.py
    env: tuple = ()   # NAME=VALUE words for the tests
    guest: boot.Guest | None = None
    outcome: boot.Outcome | None = None
    error: HarnessError | None = None  # why there is no outcome

    @property
    def label(self):
        return f"kselftests {self.profile}{self.on}"


def check(report, image, kernel, base_selftests, variant=None):
    """One boot a profile of kselftests, KUnit in the first, then the transfer.

    With `variant` the image is a build of that, which the stages then name, and
    has no KUnit.
    """
    on = f" on {variant}" if variant else ""
    wanted = implementation(variant) if variant else "rust"
    left = report.left()
    long = None if left is None else max(round(left) - AFTER, 0)
    lanes = [[Job(profile, image, wanted, on,
                  seconds=long if profile in LONG else None)
              for profile in lane] for lane in LANES]
    jobs = side_by_side(report, lanes, kernel, base_selftests)
    if not variant:
        _kunit(report, jobs[0].outcome)
    _transfer(report, image, wanted, f"transfer{on}")


def check_queue_management(report, images, kernel, base_selftests):
    """The tests of the driver's queue management, where net core and driver differ.

    `images` is {variant: image}.
    """
    lanes = [[Job(profile, image, implementation(variant), f" on {variant}",
                  fixed=has_fixes(variant)) for profile in OF_THE_DRIVER]
             for variant, image in images.items()]
    side_by_side(report, lanes, kernel, base_selftests)


def side_by_side(report, lanes, kernel, base_selftests):
    """Boot the Jobs of all lanes and report on each; returns them, first lane first."""
    jobs = [job for lane in lanes for job in lane]
    with ui.stage("guests") as stage, ThreadPoolExecutor() as pool:
        stage.note(f"{boot.accelerator()}: {'; '.join(job.label for job in jobs)}")

        def walk(lane):
            for job in lane:
                job.guest = machine(job, kernel, base_selftests)
                try:
                    job.outcome = boot.run(
                        job.guest, lambda line, job=job: stage.tick(f"{job.profile}: {line}"))
                    stage.note(f"{job.label}: {job.outcome.seconds:.0f} s")
                except HarnessError as error:
                    job.error = error

        list(pool.map(walk, lanes))
    for job in jobs:
        _judge(report, job)
    return jobs


def machine(job, kernel, base_selftests):
    """What to boot for a Job."""
    options, arguments = PROFILES[job.profile]
    out = folder(job.label)
    command = ["env", f"DEVMEM_TREE={kernel.tree.where}", f"BASE_SELFTESTS={base_selftests}",
               *job.env, "python3", PROGRAM, "--profile", job.profile, "--impl", job.impl, *arguments,
               "--out", out]
    command += [word for only in job.only for word in ("--only", only)]
    if job.fixed:
        command.append("--fixed")
    timeout = TIMEOUT
    if job.seconds is not None:
        command += ["--seconds", job.seconds]
        timeout = min(TIMEOUT, job.seconds + GRACE)
    return boot.Guest(image=job.image, results=out, nics=options, timeout=timeout,
                      commands=[("test", command)])


def _judge(report, job):
    """Report what came of a Job that has run."""
    with report.stage(job.label) as stage:
        if job.error:
            raise job.error
        stage.took(job.outcome.seconds)
        out = job.guest.results
        records = sorted(out.glob("*.tap"))
        for record in records:
            cases = tap.parse(record.read_text(errors="replace"), record.stem)
            report.add_all(job.label, cases)
            if not cases:
                report.add(job.label, record.stem, "fail", "it printed no result")
        boot.require(job.outcome, job.guest)
        if not records:
            log = out / "test.log"
            raise HarnessError(f"no *.tap in {out}\n{ui.tail(log)}")
        _status(report, job.label, job.outcome)
        reports = klog.reports(job.outcome.log)
        report.add(job.label, "kernel log", "fail" if reports else "pass", "\n".join(reports))


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
