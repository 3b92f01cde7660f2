# SPDX-License-Identifier: GPL-2.0
"""The hooks: they apply, make good mails, and vanish with the options off."""

import difflib
import itertools
import os
import re
import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import mails, paths, sandbox, tree
from ..errors import HarnessError
from . import style

OPTIONS = ("CONFIG_NET_DEVMEM_RUST", "CONFIG_GVE_RUST")
VARIANT = "rust-debug"
_UNIQUE = re.compile(r"(__UNIQUE_ID_\w*?)\d+")
# Who sends the mails here: they are checked where git knows nobody, too.
SENDER = mails.Person("Ann Sender", "sender@example.org")
_TEST = re.compile(r"^Test: (.*?)(?=\n\n|\n---$|\n[A-Z][\w-]+: )", re.M | re.S)
_NO_TEST = re.compile(r"^No test: \w+", re.M)
_CASES = re.compile(r"([\w-]+/[\w./-]+\.(?:py|sh|c|rs))(?:, ([^.;]*)[.;])?")
_SUITE = re.compile(r"KUnit suite (\w+)")


def series(report, kernel):
    """git am takes the mails on the base, and makes the tree that we build."""
    with report.stage("series") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        written = mails.write(kernel.base, paths.BUILD / "series-check", who=SENDER)
        patches = [mail for mail in written if not mail.name.startswith("0000-")]
        with tempfile.TemporaryDirectory(prefix="devmem-") as scratch:
            for mail, said in style.mails(stage, kernel, patches, Path(scratch)).items():
                text = mail.read_text()
                if mails.NOBODY in text:
                    said.append(f"{mails.NOBODY} cannot send it")
                if mail.parent.name == mails.FIXES:
                    said += untested(text, kernel.tree.where)
                report.add("series", f"{mail.parent.name}/{mail.name}",
                           "fail" if said else "pass", "\n".join(said))


def untested(message, folder):
    """What is wrong with the tests that the message of a fix names, below `folder`.

    The form is "Test: PATH, CASE and CASE; more words", or that of a KUnit suite, or "No test:"
    and the reason.
    """
    named = "\n".join(" ".join(text.split()) for text in _TEST.findall(message))
    tests = _CASES.findall(named)
    wrong = []
    if not tests and not _SUITE.search(named) and not _NO_TEST.search(message):
        wrong.append("it has no line \"Test: PATH, CASE.\"")
    for path, cases in tests:
        if not (folder / path).is_file():
            wrong.append(f"no {path}")
            continue
        text = (folder / path).read_text()
        begin = "^def " if path.endswith(".py") else r"\b"
        wrong += [f"no case {case} in {path}" for case in re.split(", | and ", cases)
                  if case and not re.search(rf"{begin}{re.escape(case)}\(", text, re.M)]
    for suite in _SUITE.findall(named):
        if not any(f"kunit_tests({suite})" in path.read_text() for top in ("net", "rust/kernel")
                   for path in (folder / top).rglob("*.rs")):
            wrong.append(f"no KUnit suite {suite}")
    return wrong


def untouched(report, kernel):
    """With the options off, each hooked C file compiles to what the base's does.

    Compared is the assembly, line numbers aside. The reference has
    patches/fixes/ applied: those are meant to change C.
    """
    with report.stage("option off") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        patches = tree.series(kernel.tree.repo)
        fixes = [patch for patch in patches if patch.parent.name == "fixes"]
        with tempfile.TemporaryDirectory(prefix="devmem-") as scratch:
            scratch = Path(scratch)
            after = tree.patched(kernel.base, patches, _made(scratch / "after"))
            before = {name: kernel.base / name for name in after}
            before.update(tree.patched(kernel.base, fixes, _made(scratch / "before")))
            autoconf = _options_off(kernel, scratch)
            # C in rust/ is the helpers, which are nothing to the C code. What only fixes change may
            # be of a part that our kernels are without (RDS), and is the same on both sides.
            objects = kernel.objects(VARIANT)
            names = [name for name in after if name.endswith(".c")
                     and not name.startswith("rust/") and before[name].is_file()
                     and (_sibling(objects, name)
                          or before[name].read_bytes() != after[name].read_bytes())]

            def compiled(name):
                flat = name.replace("/", "-")
                return [_compile(stage, kernel, name, view, autoconf, scratch / f"{flat}-{which}.s")
                        for which, view in (("base", before), ("ours", after))]

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for name, (base, ours) in zip(names, pool.map(compiled, names)):
                    report.add("option off", name, "pass" if ours == base else "fail",
                               _difference(base, ours))
        if not names:
            report.add("option off", "hooked C files", "skip", "no patch touches C yet")


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def _options_off(kernel, folder):
    """A copy of the build's autoconf.h with the options off."""
    text = (kernel.objects(VARIANT) / "include/generated/autoconf.h").read_text()
    for option in OPTIONS:
        if f"#define {option} 1" not in text:
            raise HarnessError(f"{VARIANT} was not built with {option}")
        text = text.replace(f"#define {option} 1", "")
    copy = folder / "autoconf.h"
    copy.write_text(text)
    return copy


def _compile(stage, kernel, name, view, autoconf, out):
    """`name` as assembly in `out`, with the files of `view` bound into the tree."""
    objects = kernel.objects(VARIANT)
    binds = ["--ro-bind", autoconf, objects / "include/generated/autoconf.h"]
    for inside, content in view.items():
        if content is not None and content.is_file() and (kernel.tree.where / inside).is_file():
            binds += ["--ro-bind", content, kernel.tree.where / inside]
    line = sandbox.command(
        [*_flags(objects, name), "-S", "-w", "-D__LINE__=0", "-o", out,
         kernel.tree.where / name],
        cwd=objects, writable=(kernel.home, out.parent), binds=binds)
    stage.run(line, log=f"option-off-{out.stem}", env=sandbox.environment())
    # Counted by __COUNTER__, which further declarations may use too.
    return _UNIQUE.sub(r"\1", out.read_text())


def _sibling(objects, name):
    """What kbuild recorded of a C file in the folder of `name`; None if it built none there."""
    siblings = (path for path in sorted((objects / name).parent.glob(".*.o.cmd"))
                if f"{path.name[1:-6]}.c" in path.read_text())
    return next(siblings, None)


def _flags(objects, name):
    """The compiler and its flags for `name`, from what kbuild recorded."""
    folder = objects / Path(name).parent
    command = folder / f".{Path(name).stem}.o.cmd"
    if not command.is_file():
        # Compiled out in favour of ours: a C sibling's flags will do.
        command = _sibling(objects, name)
        if command is None:
            raise HarnessError(f"nothing beside {name} was built")
    words = shlex.split(command.read_text().split(":= ", 1)[1].split("\n", 1)[0].split(" ; ")[0])
    kept = []
    follows = False
    for word in words:
        if follows:
            follows = False
        elif word == "-o":
            follows = True
        elif word != "-c" and not word.startswith("-Wp,-MMD") and not word.endswith(".c"):
            kept.append(word)
    return kept


def _difference(base, ours):
    """The first lines that differ, or nothing."""
    changes = difflib.unified_diff(base.splitlines(), ours.splitlines(), "base", "ours",
                                   lineterm="", n=1)
    return "\n".join(line[:200] for line in itertools.islice(changes, 12))
