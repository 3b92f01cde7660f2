# SPDX-License-Identifier: GPL-2.0
"""The stages that every command is made of, each one line of progress."""

from . import boot, buildroot, kernel, model, paths, source, ui, userspace


def root():
    """The build root."""
    with ui.stage("build root") as stage:
        return buildroot.ensure(stage)


def base():
    """The base kernel's source, after the build root."""
    root()
    with ui.stage("base source") as stage:
        return source.ensure(stage)


def tree():
    """The kernel tree, synced; returns the Kernel that builds it."""
    built = kernel.Kernel(base())
    with ui.stage("kernel tree") as stage, built.locked(stage):
        changed = built.tree.sync(stage)
        stage.result(f"{len(changed)} changed in {built.tree.where}")
    return built


def image(built, variant):
    """A kernel image that no other run rebuilds; returns its path."""
    keep = paths.BUILD / f"bzImage-{variant}"
    with ui.stage(f"kernel {variant}") as stage, built.locked(stage):
        built.build(stage, variant, keep)
    return keep


def programs():
    """The device model and the tools on device memory."""
    with ui.stage("device model") as stage:
        model.build(stage)
        stage.result("cargo build: gvnic")
    with ui.stage("tools") as stage:
        userspace.build_tools(stage)
        stage.result("cargo build: tools/net/devmem")


def guest(machine, name="guest"):
    """Boot `machine` and run its commands; returns the Outcome."""
    with ui.stage(name) as stage:
        stage.note(f"{boot.accelerator()}; console: {machine.results / 'console.log'}")
        outcome = boot.run(machine, lambda line: _progress(stage, line))
        boot.require(outcome, machine)
        stage.result(f"{', '.join(f'{key}: {value}' for key, value in outcome.status.items())}")
    return outcome


def _progress(stage, line):
    stage.tick(line)
    if not ui.console.is_terminal and line:
        stage.note(line)
