# SPDX-License-Identifier: GPL-2.0
"""`make series`: our work as mails for `git am` on the vanilla base.

New files come first, one mail a folder, then the hooks that switch them on:
so a tree builds after each mail, with the new code unused until its hook.
"""

import email.utils
import shutil
import subprocess
from pathlib import Path

from . import paths, tree
from .errors import HarnessError

# Folder in the tree: subject of the mail that adds it. First match counts.
MAILS = (
    ("Documentation/", "Documentation: devmem: describe device memory TCP in Rust"),
    ("rust/", "rust: net: add the abstractions that device memory TCP needs"),
    ("include/", "net: devmem: declare what the Rust implementation exports"),
    ("drivers/net/gve/", "gve: add queue management in Rust"),
    ("net/core/devmem/", "net: devmem: add an implementation in Rust"),
    ("Kconfig.devmem", "net: devmem: add the options"),
    ("tools/net/", "tools: net: add devmem tools in Rust"),
    ("tools/testing/devmem_exporter/", "testing: devmem_exporter: add an exporter for tests"),
    ("tools/testing/", "selftests: net: test device memory TCP"),
    ("", "net: devmem: add further files"),
)


def write(base, out, repo=paths.REPO):
    """Write the mails to `out` and check that they apply; returns their paths."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    bodies = [*_additions(repo), *((patch.read_text()) for patch in tree.series(repo))]
    author = _author(repo)
    mails = []
    for number, text in enumerate(bodies, 1):
        mails.append(out / f"{number:04}-{_slug(_subject(text))}.patch")
        mails[-1].write_text(_mail(text, number, len(bodies), author))
    _check(base, mails, repo)
    return mails


def _additions(repo):
    groups = {prefix: {} for prefix, _subject in MAILS}
    for name, path in tree.overlay(repo).items():
        prefix = next(prefix for prefix, _subject in MAILS if name.startswith(prefix))
        groups[prefix][name] = path
    for prefix, subject in MAILS:
        if groups[prefix]:
            diff = "".join(_new_file(name, path) for name, path in sorted(groups[prefix].items()))
            yield f"Subject: {subject}\n\n---\n\n{diff}"


def _new_file(name, path):
    text = path.read_text()
    lines = text.split("\n")
    ends = lines[-1] == ""
    if ends:
        lines.pop()
    mode = "100755" if path.stat().st_mode & 0o111 else "100644"
    head = f"diff --git a/{name} b/{name}\nnew file mode {mode}\n"
    if not lines:
        return head + "index 0000000..e69de29\n"
    body = "".join(f"+{line}\n" for line in lines)
    if not ends:
        body += "\\ No newline at end of file\n"
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}"


def _subject(text):
    for line in text.splitlines():
        if line.startswith("Subject: "):
            return line[9:].split("] ")[-1]
    raise HarnessError("a patch of the series has no Subject: line")


def _slug(subject):
    return "-".join("".join(c if c.isalnum() else " " for c in subject).split())[:52]


def _author(repo):
    name = subprocess.run(["git", "-C", repo, "log", "-1", "--format=%an <%ae>"],
                          capture_output=True, text=True, check=False).stdout.strip()
    return name or "devmem <devmem@localhost>"


def _mail(text, number, count, author):
    """`text` with the headers that git am wants, keeping those it has."""
    head, _, rest = text.partition("\n\n")
    headers = [line for line in head.splitlines()
               if not line.startswith(("Subject: ", "From ", "From: ", "Date: "))]
    given = next((line for line in head.splitlines() if line.startswith("From: ")), None)
    top = ["From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001",
           given or f"From: {author}", f"Date: {email.utils.formatdate()}",
           f"Subject: [PATCH {number}/{count}] {_subject(text)}", *headers]
    return "\n".join(top) + f"\n\n{rest.rstrip(chr(10))}\n-- \ndevmem-rust\n\n"


def _check(base, mails, repo):
    """Apply the mails with git am to a repository of just what they touch."""
    scratch = Path(paths.BUILD / "series-check")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for mail in mails:
        for name in tree.touched(mail.read_text()):
            if (base / name).is_file():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base / name, scratch / name)

    def git(*arguments):
        done = subprocess.run(
            ["git", "-C", scratch, "-c", "user.name=check", "-c", "user.email=check@localhost",
             *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise HarnessError(f"git {arguments[0]}: {done.stdout}{done.stderr}")

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", "base")
    git("am", "-q", *mails)
    applied = tree.Tree(base, scratch.with_name("series-none"), repo).expected()
    for name, text in applied.items():
        path = scratch / name
        if (path.read_bytes() if path.is_file() else None) != text:
            raise HarnessError(f"after git am {name} differs from the tree's")
    shutil.rmtree(scratch)
