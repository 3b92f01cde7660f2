# SPDX-License-Identifier: GPL-2.0
"""rustfmt of our kernel Rust, and checkpatch of patches and files."""

from .. import sandbox, tree
from ..errors import HarnessError

# Not ours to decide: no MAINTAINERS entry, and the series is not sent yet.
IGNORED = "FILE_PATH_CHANGES,MISSING_SIGN_OFF,EMAIL_SUBJECT"
CHECKED = (".c", ".h", ".rs", ".sh", ".py", ".rst")


def rustfmt(report, kernel):
    """rustfmt --check of each Rust file of ours, as the kernel's config says."""
    with report.stage("rustfmt") as stage:
        names = [name for name in kernel.tree.expected() if name.endswith(".rs")
                 and (kernel.tree.where / name).is_file()
                 and not name.startswith("tools/")]
        for name in names:
            try:
                # A file's modules are checked with it, and on their own too.
                stage.run(sandbox.command(
                    ["rustfmt", "--check", "--color", "never", "--edition", "2021",
                     kernel.tree.where / name], cwd=kernel.tree.where,
                    writable=(kernel.home,)), log="rustfmt", env=sandbox.environment())
                report.add("rustfmt", name, "pass")
            except HarnessError as error:
                report.add("rustfmt", name, "fail", str(error))
        if not names:
            report.add("rustfmt", "kernel Rust", "skip", "the repo has no kernel Rust yet")


def checkpatch(report, kernel):
    """checkpatch --strict of each patch of the series, and of each file of ours."""
    with report.stage("checkpatch") as stage:
        for patch in tree.series(kernel.tree.repo):
            _one(report, stage, kernel, patch.name, [patch])
        for name in sorted(tree.overlay(kernel.tree.repo)):
            if name.endswith(CHECKED) and (kernel.tree.where / name).is_file():
                _one(report, stage, kernel, name, ["-f", name])


def _one(report, stage, kernel, name, arguments):
    try:
        stage.run(sandbox.command(
            ["scripts/checkpatch.pl", "--strict", "--codespell", "--show-types", "--terse",
             "--no-tree", "--no-signoff", f"--ignore={IGNORED}", *arguments],
            cwd=kernel.tree.where, writable=(kernel.home,)),
            log=f"checkpatch-{name.replace('/', '_')}", env=sandbox.environment())
        report.add("checkpatch", name, "pass")
    except HarnessError as error:
        report.add("checkpatch", name, "fail", str(error))
