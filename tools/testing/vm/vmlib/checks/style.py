# SPDX-License-Identifier: GPL-2.0
"""rustfmt of our kernel Rust, and checkpatch of patches and files."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from .. import paths, sandbox, tree
from ..kernel import EXPORTER
from ..errors import HarnessError
from . import compile_fail

# Not ours to decide: no MAINTAINERS entry; the tree has no history in which a Fixes tag could
# be looked up.
IGNORED = "FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID"
# How every TRACE_EVENT() of the kernel is laid out.
IGNORED_IN_TRACE_EVENTS = f"{IGNORED},OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT"
TRACE_EVENTS = "include/trace/events/"
_COMPLAINT = re.compile(r"^(?P<name>.+?):\d*:? (?:ERROR|WARNING|CHECK):", re.M)


def rustfmt(report, kernel):
    """rustfmt --check of each kernel Rust file of ours, as the kernel's config says."""
    with report.stage("rustfmt") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        files = {name: path for name in kernel.tree.expected()
                 if name.endswith(".rs") and _in_kernel(name)
                 and (path := kernel.tree.where / name).is_file()}
        files |= {str(path.relative_to(paths.REPO)): path for path in compile_fail.sources()}
        for name, path in files.items():
            try:
                # A file's modules are checked with it, and on their own too.
                stage.run(sandbox.command(
                    ["rustfmt", "--check", "--color", "never", "--edition", "2021",
                     "--config-path", kernel.tree.where, path], cwd=kernel.tree.where,
                    writable=(kernel.home,)), log="rustfmt", env=sandbox.environment())
                report.add("rustfmt", name, "pass")
            except HarnessError as error:
                report.add("rustfmt", name, "fail", str(error))


def checkpatch(report, kernel):
    """checkpatch --strict of our C, kernel Rust and docs; hooks.series() has that of patches."""
    with report.stage("checkpatch") as stage, kernel.locked(stage):
        kernel.tree.sync(stage)
        files = [name for name in sorted(tree.overlay(kernel.tree.repo)) if _checked(name)]
        events = [name for name in files if name.startswith(TRACE_EVENTS)]
        files = [name for name in files if name not in events]
        jobs = [("checkpatch-events", IGNORED_IN_TRACE_EVENTS, ("-f",), events)]
        # It is one process for all files, and takes minutes for ours.
        parts = os.cpu_count() or 1
        jobs += [(f"checkpatch-files-{part}", IGNORED, ("-f",), files[part::parts])
                 for part in range(parts)]

        def work(job):
            log, ignored, flags, names = job
            return names, _checkpatch(stage, kernel, log, ignored, [*flags, *names])

        with ThreadPoolExecutor(parts) as pool:
            for names, said in pool.map(work, (job for job in jobs if job[-1])):
                found = complaints(said, names)
                for name in names:
                    report.add("checkpatch", name, "fail" if name in found else "pass",
                               "\n".join(found.get(name, ())))


def mails(stage, kernel, written, scratch):
    """{mail: complaints} of checkpatch --strict; copies of the mails go to `scratch`."""
    copies = {}
    for mail in written:
        copy = scratch / f"{len(copies):04}-{mail.name}"
        copy.write_text(without_files(mail.read_text()))
        copies[str(copy)] = mail
    found = complaints(_checkpatch(stage, kernel, "checkpatch-mails", IGNORED, copies,
                                   binds=("--ro-bind", scratch, scratch)), list(copies))
    return {mail: found.get(copy, []) for copy, mail in copies.items()}


def without_files(mail):
    """A mail that adds files with one of them only: they are checked as files, in less time."""
    head, *diffs = re.split(r"^(?=diff --git )", mail, flags=re.M)
    added = [diff for diff in diffs if "\nnew file mode " in diff]
    if len(added) < len(diffs):
        return mail
    small = [diff for diff in added if f" b/{TRACE_EVENTS}" not in diff]
    return head + min(small or added, key=len)


def _in_kernel(name):
    """Of the kernel proper or a module, not of user space."""
    return not name.startswith("tools/") or name.startswith(f"{EXPORTER}/")


def _checked(name):
    """C anywhere; Rust and docs of the kernel (cargo has its own lints)."""
    if not _in_kernel(name):
        return name.endswith((".c", ".h", ".sh"))
    return name.endswith((".c", ".h", ".rs", ".rst")) or "Kconfig" in name


def _checkpatch(stage, kernel, log, ignored, arguments, binds=()):
    """Its output, in which each complaint is a line."""
    line = sandbox.command(
        ["scripts/checkpatch.pl", "--strict", "--codespell", "--show-types", "--terse",
         "--no-summary", f"--ignore={ignored}", *arguments],
        cwd=kernel.tree.where, writable=(kernel.home,), binds=binds)
    try:
        path = stage.run(line, log=log, env=sandbox.environment())
    except HarnessError:
        path = stage.log_path(log)
    text = path.read_text(errors="replace")
    if "total:" not in text and text.strip() and not _COMPLAINT.search(text):
        raise HarnessError(f"checkpatch did not run\n{text[-2000:]}")
    return text


def complaints(text, names):
    """{name: complaints} in checkpatch's terse output.

    Output that is neither belongs to no file; the last name gets it, so
    that it is seen.
    """
    found = {}
    for line in text.splitlines():
        if match := _COMPLAINT.match(line):
            name = match["name"] if match["name"] in names else names[-1]
            found.setdefault(name, []).append(line)
        elif line.strip() and not line.startswith("total: "):
            found.setdefault(names[-1], []).append(line)
    return found
