# SPDX-License-Identifier: GPL-2.0
"""Mistakes that must not compile: each file of compile_fail/ is a crate with one.

A file names its error in a line "//@ CODE text": errors of that code ("error" if the compiler
gives it none) whose messages begin with the text, and no other. A file without such a line has to
compile, so that it is seen what the others are kept from.
"""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

from .. import paths
from ..errors import HarnessError
from . import kernelbuild

LABEL = "compile-fail"
FOLDER = paths.VM / "compile_fail"
# Modules of the crates beside them.
SHARED = {"nic.rs", "binding.rs"}
_EXPECTED = re.compile(r"^//@ (?P<code>\w+) (?P<message>.+)$", re.M)


def sources():
    """The crates, by subject."""
    return sorted(path for path in FOLDER.glob("*/*.rs") if path.name not in SHARED)


def check(report, kernel):
    """Compile each as a crate of the debug kernel, which has to be built."""
    with report.stage(LABEL) as stage, kernel.locked(stage):
        flags = kernelbuild.crate_flags(kernel)

        def work(path):
            name = str(path.relative_to(FOLDER))
            log = _compile(stage, kernel, flags, path)
            return name, verdict(expected(path.read_text()), log)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for name, problem in pool.map(work, sources()):
                report.add(LABEL, name, "fail" if problem else "pass", problem)


def _compile(stage, kernel, flags, path):
    """What rustc says, in JSON; and what else there is to say if it did not get so far."""
    name = f"{LABEL}-{path.parent.name}-{path.stem}"
    line = ["rustc", *flags, "--crate-name", path.stem, "--emit=metadata",
            "-o", f"/tmp/{path.stem}.rmeta", "--error-format=json", path]
    try:
        kernelbuild.run_on_objects(stage, kernel, line, name)
    except HarnessError as error:
        # Not "", which is what compiles, even if it was killed before it said anything.
        return stage.log_path(name).read_text(errors="replace") or str(error)
    return ""


def expected(text):
    """(code, beginning of the message) of the error that a file names; None if it names none."""
    match = _EXPECTED.search(text)
    return (match["code"], match["message"]) if match else None


def errors(log):
    """[(code, message)] of the errors among rustc's messages."""
    found = []
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        if said.get("level") == "error" and not said["message"].startswith("aborting due to"):
            found.append(((said.get("code") or {}).get("code", "error"), said["message"]))
    return found


def verdict(wanted, log):
    """What is wrong with what rustc said; empty if nothing. It says nothing of what compiles."""
    found = errors(log)
    told = "\n".join(f"{code} {message}" for code, message in found) or log[-2000:]
    if wanted is None:
        return f"it should compile:\n{told}" if log else ""
    if not log:
        return "it compiles"
    code, message = wanted
    if found and all(said[0] == code and said[1].startswith(message) for said in found):
        return ""
    return f"wanted {code} {message}, got:\n{told}"
