# SPDX-License-Identifier: GPL-2.0
"""The debug kernel, built with clippy as its rustc, and rustdoc.

One build serves both: clippy-driver makes the same objects. Since make
shows a warning only when it compiles, a build that warned is not recorded
as clean, and its files are touched so that they compile (and warn) again.
"""

import os
import re
import shlex
from pathlib import Path

from .. import kconfig, paths, sandbox
from ..errors import HarnessError

VARIANT = "rust-debug"
_OURS = re.compile("DEVMEM|GVE_RUST|RUST_NETDEV")  # options
_RUST = re.compile(r"^(?P<level>warning|error)(?:\[\w+\])?: (?P<text>.*)\n +--> (?P<path>[^:\n]+):"
                   r"(?P<line>\d+)", re.M)
_C = re.compile(r"^(?P<path>[^:\s]+):(?P<line>\d+):\d+: (?P<level>warning|error): (?P<text>.*)$",
                re.M)


def check(report, kernel, keep):
    """Build VARIANT with clippy into `keep`; True if there is a kernel."""
    with report.stage("kernel") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        ours = _ours(kernel)
        stamp = kernel.objects(VARIANT) / ".clippy-clean"
        if not stamp.is_file():
            _touch(kernel, ours)
        stamp.unlink(missing_ok=True)
        keep.unlink(missing_ok=True)
        kernel.build(stage, VARIANT, keep, extra=["CLIPPY=1"])
        report.add("kernel", f"{VARIANT} builds", "pass")
        logs = (stage.log_path(f"{part}-{VARIANT}") for part in ("kernel", "exporter"))
        found = _warnings(kernel, "".join(log.read_text(errors="replace") for log in logs
                                          if log.is_file()), ours)
        for name, texts in found.items():
            report.add("kernel", f"warnings: {name}", "fail", "\n".join(texts))
        if not found:
            report.add("kernel", "clippy and the compilers find nothing in our files", "pass")
            stamp.touch()
    return keep.is_file()


def release(report, kernel, variants=("c", "rust")):
    """Build implementations without debugging: {implementation: image}."""
    images = {}
    for variant in variants:
        keep = paths.BUILD / f"bzImage-{variant}"
        with report.stage(f"kernel {variant}") as stage, kernel.locked(stage):
            keep.unlink(missing_ok=True)
            kernel.build(stage, variant, keep)
            report.add(f"kernel {variant}", f"{variant} builds", "pass")
            images[variant] = keep
    return images


def release_seconds(kernel, variants=("c", "rust")):
    """About how long release() takes, on two slow processors."""
    new = [variant for variant in variants if not kernel.is_built(variant)]
    from_nothing = 1200 if len(new) == len(variants) else 0
    return 150 * (len(variants) - len(new)) + 700 * len(new) + from_nothing


def rustdoc(report, kernel):
    """make rustdoc, and rustdoc of the crates that it does not cover."""
    with report.stage("rustdoc") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        ours = _ours(kernel)
        _touch(kernel, [name for name in ours if name.startswith("rust/")])
        log = kernel.make(stage, VARIANT, "rustdoc", log="rustdoc")
        found = _warnings(kernel, log.read_text(errors="replace"), ours)
        report.add("rustdoc", "rust/", "fail" if found else "pass", _joined(found))
        crates = sorted(_crates(kernel, ours))
        if not crates:
            report.add("rustdoc", "crates outside rust/", "fail", "none was found")
        for command in crates:
            crate = _rustdoc_command(command)
            name = str(command.parent.relative_to(kernel.objects(VARIANT)))
            try:
                log = run_on_objects(stage, kernel, crate, f"rustdoc-{name.replace('/', '-')}",
                                     RUST_MODFILE=_module(command))
                found = _warnings(kernel, log.read_text(errors="replace"), ours)
                report.add("rustdoc", name, "fail" if found else "pass", _joined(found))
            except HarnessError as error:
                report.add("rustdoc", name, "fail", str(error))


def config(report, kernel):
    """The config of variant c: options take, and ours is all that differs."""
    with report.stage("config") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        values = {}
        for variant in ("c", "rust"):
            kernel.configure(stage, variant)
            report.add("config", f"{variant}: every option took", "pass")
            values[variant] = kconfig.parse((kernel.objects(variant) / ".config").read_text())
        options = set(values["c"]) | set(values["rust"])
        differ = sorted(name for name in options if name != "CONFIG_LOCALVERSION"
                        and values["c"].get(name, "n") != values["rust"].get(name, "n"))
        strange = [name for name in differ if not _OURS.search(name)]
        report.add("config", "c and rust differ in our options only",
                   "fail" if strange or not differ else "pass",
                   f"differ: {', '.join(strange) or 'nothing'}")


def _ours(kernel):
    """Names in the tree of what the repo adds or changes."""
    return [name for name, content in kernel.tree.expected().items() if content is not None]


def _touch(kernel, names):
    for name in names:
        if name.endswith(".rs"):
            (kernel.tree.where / name).touch()


def _warnings(kernel, text, ours):
    """{file of ours: messages} among the compiler's output."""
    found = {}
    for match in (*_RUST.finditer(text), *_C.finditer(text)):
        # An object of a sibling folder is named by way of its module's.
        path = os.path.normpath(match["path"]).removeprefix(f"{kernel.tree.where}/")
        if path in ours:
            found.setdefault(path, []).append(f"{match['line']}: {match['text']}")
    return found


def _joined(found):
    return "\n".join(f"{name}:{text}" for name, texts in found.items() for text in texts)


def _crates(kernel, ours):
    """The .cmd files of Rust objects outside rust/ that are ours."""
    folders = {Path(name).parent for name in ours
               if name.endswith(".rs") and not name.startswith(("rust/", "tools/"))}
    for folder in folders:
        for command in (kernel.objects(VARIANT) / folder).glob(".*.o.cmd"):
            if _module(command):
                yield command


def _module(command):
    """What kbuild called the module of a .cmd file's object, for module!; "" if it is not Rust."""
    found = re.search(r"RUST_MODFILE=(\S+)", command.read_text())
    return found[1] if found else ""


def run_on_objects(stage, kernel, line, log, **env):
    """Run a tool of Rust's as kbuild would, in VARIANT's objects; returns the log's path."""
    objects = kernel.objects(VARIANT)
    return stage.run(sandbox.command(line, cwd=objects, writable=(kernel.home,)), log=log,
                     env=sandbox.environment(OBJTREE=objects, RUSTC_BOOTSTRAP=1, **env))


def crate_flags(kernel):
    """What rustc is told for a crate of ours outside rust/, but for what to make of which file."""
    crates = sorted(_crates(kernel, _ours(kernel)))
    if not crates:
        raise HarnessError(f"no crate outside rust/ was built for {VARIANT}")
    return [word for word in _arguments(crates[0]) if not word.endswith(".rs")]


def _arguments(command):
    """Of the rustc call in a .cmd file, but for lints and what it is to make."""
    line = command.read_text().split(":= ", 1)[1].split("\n", 1)[0]
    words = shlex.split(line.split(";")[0])
    start = next(index for index, word in enumerate(words)
                 if Path(word).name in ("rustc", "clippy-driver"))
    kept = []
    skip = False
    for word in words[start + 1:]:
        if skip:
            skip = False
        elif word in ("-o", "--out-dir"):
            skip = True
        elif not word.startswith(("--emit", "-Copt-level", "-Cdebuginfo", "-Clinker", "-Wclippy")):
            kept.append(word)
    return kept


def _rustdoc_command(command):
    """The rustdoc call for the crate that a .cmd file's rustc call builds."""
    out = paths.BUILD / "rustdoc"
    # All of such a crate is private, and so is what its documentation links to.
    return ["rustdoc", "--document-private-items", "-Arustdoc::private_intra_doc_links",
            "--output", out, "-Zunstable-options", *_arguments(command)]
