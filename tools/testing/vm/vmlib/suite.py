# SPDX-License-Identifier: GPL-2.0
"""`make test`: every check and test, quick ones first."""

from . import model, paths, report, stages, userspace
from .checks import (cargo, compile_fail, docs, guest, harness, hooks, kernelbuild, peer, red,
                     restarts, style)
from .defects import COLUMNS

# Driver and net core in different languages.
MIXED = ("rust-gve-c", "c-gve-rust")
# What watches the use of memory.
KASAN = "rust-kasan"


def run(impl=None, minutes=None):
    """Run everything, report; True if nothing failed.

    With `impl` only our kselftests, on that implementation's release kernel.
    With `minutes` the last stage is left out if it would take longer than that.
    """
    built = stages.tree()
    record = report.Report(minutes)
    if impl:
        _kselftests(record, built, impl)
        return record.finish()
    harness.check(record)
    style.rustfmt(record, built)
    style.checkpatch(record, built)
    docs.check(record, built)
    hooks.series(record, built)
    cargo.check(record)
    kernelbuild.config(record, built)
    image = paths.BUILD / f"bzImage-{kernelbuild.VARIANT}"
    if kernelbuild.check(record, built, image):
        compile_fail.check(record, built)
        hooks.untouched(record, built)
        kernelbuild.rustdoc(record, built)
        selftests = _programs(record, built)
        guest.check(record, image, built, selftests)
        # Where no kernel is in the cache yet, this alone takes more than half an hour.
        if record.has_time(peer.LABEL, peer.SECONDS + kernelbuild.release_seconds(built)):
            _peer(record, built, kernelbuild.release(record, built), selftests)
    return record.finish()


def run_peer():
    """Only the base's tests, on both implementations; True if they agree."""
    built = stages.tree()
    record = report.Report(target="peer")
    images = kernelbuild.release(record, built)
    _peer(record, built, images, _programs(record, built, "c"))
    return record.finish()


def run_gve():
    """Queue management of gve, in C as well; True if nothing failed.

    Its tests with one of driver and net core in C and the other in Rust, and
    what a restart costs with both in C and both in Rust.
    """
    built = stages.tree()
    record = report.Report(target="gve")
    images = kernelbuild.release(record, built, (*restarts.IMPLEMENTATIONS, *MIXED))
    selftests = _programs(record, built, "c")
    if selftests:
        mixed = {variant: images[variant] for variant in MIXED if variant in images}
        guest.check_queue_management(record, mixed, built, selftests)
        restarts.check(record, images, built, selftests)
    return record.finish()


def run_kasan():
    """Our kselftests on a kernel that watches its memory; True if nothing failed."""
    built = stages.tree()
    record = report.Report(target="kasan")
    _kselftests(record, built, KASAN)
    return record.finish()


def run_red(only=None, rows=()):
    """The known defects on all kernels, or on one; True if each is what the list expects."""
    built = stages.tree()
    record = report.Report(target="red")
    images = kernelbuild.release(record, built, (only,) if only else COLUMNS)
    with record.stage("device model") as stage:
        model.build(stage)
        record.add("device model", "emulated gVNIC", "pass")
    if images and model.BINARY.is_file():
        red.check(record, images, built, rows)
    return record.finish()


def _peer(record, built, images, selftests):
    if selftests and len(images) == len(peer.IMPLEMENTATIONS):
        peer.check(record, images, built, selftests)


def _kselftests(record, built, variant):
    images = kernelbuild.release(record, built, (variant,))
    if images:
        selftests = _programs(record, built, variant)
        guest.check(record, images[variant], built, selftests, variant)


def _programs(record, built, variant=kernelbuild.VARIANT):
    """Build what runs beside and in the guest; returns the base's selftests."""
    selftests = None
    with record.stage("guest programs") as stage:
        model.build(stage)
        record.add("guest programs", "emulated gVNIC", "pass")
        userspace.build_tools(stage)
        record.add("guest programs", "tools/net/devmem", "pass")
        with built.locked(stage):
            selftests = userspace.base_selftests(stage, built, variant)
        record.add("guest programs", "the base's selftests", "pass")
    return selftests
