# SPDX-License-Identifier: GPL-2.0
"""Format, clippy, docs and tests of the cargo workspaces."""

import re

from .. import model, sandbox, ui, userspace
from ..errors import HarnessError

WORKSPACES = (
    ("gve", model.SOURCE, model.TARGET),
    ("devmem", userspace.TOOLS, userspace.TARGET),
)
_TEST = re.compile(r"test (?P<name>\S.*?) \.\.\. (?P<result>ok|FAILED|ignored)(?:, (?P<why>.*))?$")
_BINARY = re.compile(r"\s*(?:Running (?:unittests )?(?P<path>\S+)|Doc-tests (?P<doc>\S+))")


def check(report):
    """Check both workspaces."""
    lints = (
        ("rustfmt", ["fmt", "--all", "--check"], {}),
        ("clippy", ["clippy", "--all-targets", "--locked", "--", "-D", "warnings"], {}),
        ("rustdoc", ["doc", "--no-deps", "--locked", "--document-private-items"],
         {"RUSTDOCFLAGS": "-Dwarnings"}),
    )
    for name, source, target in WORKSPACES:
        with report.stage(f"cargo {name}") as stage:
            for lint, arguments, env in lints:
                try:
                    _cargo(stage, source, target, arguments, f"cargo-{name}-{lint}", env)
                    report.add(f"cargo {name}", lint, "pass")
                except HarnessError as error:
                    report.add(f"cargo {name}", lint, "fail", str(error))
            _tests(report, stage, name, source, target)


def _tests(report, stage, name, source, target):
    label, failed = f"cargo {name}", None
    try:
        log = _cargo(stage, source, target, ["test", "--locked", "--no-fail-fast"],
                     f"cargo-{name}-test", {})
    except HarnessError as error:
        failed = error
        log = stage.log_path(f"cargo-{name}-test")
    cases = parse(log.read_text(errors="replace"))
    for case, outcome, reason in cases:
        report.add(label, case, outcome, reason)
    if failed and not any(outcome == "fail" for _case, outcome, _reason in cases):
        report.add(label, "cargo test", "fail", str(failed))
    if not cases:
        report.add(label, "cargo test", "fail", f"no test ran\n{ui.tail(log)}")


def parse(text):
    """(name, outcome, reason) for each test in cargo's output.

    libtest prints the outcome on a line of its own if the test printed
    something in between; cargo captures that, so it does not happen.
    """
    found = []
    binary = ""
    for line in text.splitlines():
        if match := _BINARY.match(line):
            binary = match["path"] or f"doc {match['doc']}"
        elif match := _TEST.match(line):
            outcome = {"ok": "pass", "FAILED": "fail", "ignored": "skip"}[match["result"]]
            found.append((f"{binary}: {match['name']}", outcome,
                          match["why"] or ("see the log" if outcome == "fail" else "")))
    return found


def _cargo(stage, source, target, arguments, log, env):
    if not (source / "Cargo.toml").is_file():
        raise HarnessError(f"{source} has no Cargo.toml")
    target.mkdir(parents=True, exist_ok=True)
    return stage.run(sandbox.command(["cargo", *arguments], cwd=source), log=log,
                     env=sandbox.environment(CARGO_TARGET_DIR=target, CARGO_TERM_COLOR="never",
                                             **env))
