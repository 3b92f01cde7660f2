# SPDX-License-Identifier: GPL-2.0
"""`make test`: every check and test, quick ones first."""

from . import model, paths, report, stages, userspace
from .checks import cargo, guest, harness, hooks, kernelbuild, style


def run():
    """Run everything, report; True if nothing failed."""
    built = stages.tree()
    record = report.Report()
    harness.check(record)
    style.rustfmt(record, built)
    style.checkpatch(record, built)
    hooks.series(record, built)
    cargo.check(record)
    kernelbuild.config(record, built)
    image = paths.BUILD / f"bzImage-{kernelbuild.VARIANT}"
    if kernelbuild.check(record, built, image):
        hooks.untouched(record, built)
        kernelbuild.rustdoc(record, built)
        _in_guest(record, built, image)
    return record.finish()


def _in_guest(record, built, image):
    selftests = None
    with record.stage("guest programs") as stage:
        model.build(stage)
        record.add("guest programs", "emulated gVNIC", "pass")
        userspace.build_tools(stage)
        record.add("guest programs", "tools/net/devmem", "pass")
        with built.locked(stage):
            selftests = userspace.base_selftests(stage, built, kernelbuild.VARIANT)
        record.add("guest programs", "the base's selftests", "pass")
    guest.check(record, image, built, selftests)
