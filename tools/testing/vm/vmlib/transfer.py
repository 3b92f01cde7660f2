# SPDX-License-Identifier: GPL-2.0
"""`make run`: a TCP stream into a dma-buf, through two emulated gVNICs."""

import json
from dataclasses import dataclass

from . import boot, klog, model, paths, results, stages
from .errors import HarnessError

PROGRAM = paths.VM / "guest/run.py"


@dataclass(frozen=True)
class Knobs:
    """What the command line may change."""

    bytes: int = 256 << 20
    flows: int = 4
    queues: int = 2
    mtu: int = 1500
    impl: str = "rust"
    families: str = "4,6"

    def arguments(self, out):
        return ["--out", out, "--bytes", self.bytes, "--flows", self.flows,
                "--queues", self.queues, "--mtu", self.mtu, "--impl", self.impl,
                "--families", self.families]

    @property
    def timeout(self):
        """Seconds: the boot, and a rate far below what TCG does."""
        return 300 + self.bytes * len(self.families.split(",")) // (1 << 20)


def machine(image, knobs, name):
    """The guest of one run; its results go to build/NAME."""
    out = paths.BUILD / name
    return boot.Guest(
        image=image, results=out, nics=model.Options(), timeout=knobs.timeout,
        commands=[("run", ["python3", PROGRAM, *knobs.arguments(out)])])


def judge(outcome, guest, knobs):
    """The run's record with dmesg_clean, and why it is not good, if so."""
    record = guest.results / "run.json"
    if outcome.status["run"] != 0 and not record.is_file():
        log = (guest.results / "run.log").read_text(errors="replace").splitlines()
        raise HarnessError("the guest's program failed:\n" +
                           "\n".join("  | " + line for line in log[-20:]))
    run = results.read(record)
    reports = klog.reports(outcome.log)
    run["dmesg_clean"] = not reports
    problems = results.faults(run, knobs.bytes)
    problems += [f"kernel: {line}" for line in reports[:10]]
    if outcome.status["run"] != 0:
        problems.append(f"the guest's program ended with status {outcome.status['run']}")
    return run, problems


def run(knobs):
    """Set everything up, run, report; True if the run is good."""
    built = stages.tree()
    image = stages.image(built, knobs.impl)
    stages.programs()
    guest = machine(image, knobs, "guest-run")
    record, problems = judge(stages.guest(guest), guest, knobs)
    target = paths.RESULTS / "run.json"
    target.write_text(json.dumps(record, indent=2) + "\n")
    results.show(record, problems)
    print(f"record: {target.relative_to(paths.REPO)}")
    return not problems
