# SPDX-License-Identifier: GPL-2.0
"""`make series`: our work as mails, in two series that go to different trees.

patches/fixes mends the base, and is a series of its own in the folder
`fixes`. The other is ours: new files first, one mail a folder, then the hooks
that switch them on. So a tree builds after each mail, with new code unused
until its hook. Either applies without the other. Messages of what is new, and
of the cover letters, are in patches/mails; git makes the mails.
"""

import email.utils
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import paths, tree
from .errors import HarnessError

# Folder in the tree: message of the mail that adds it. First match counts.
ADDITIONS = (
    ("Documentation/", "documentation"),
    ("rust/", "abstractions"),
    ("include/", "contract"),
    ("drivers/net/gve/", "gve"),
    ("net/core/devmem/", "devmem"),
    ("Kconfig.devmem", "options"),
    ("tools/net/", "tools"),
    ("tools/testing/devmem_exporter/", "exporter"),
    ("tools/testing/", "selftests"),
)
# Who a patch is from as long as nobody sends it.
NOBODY = "devmem-rust@localhost"
FIXES = "fixes"


@dataclass(frozen=True)
class Person:
    """Who sends mails: their author, and who signs them off."""

    name: str
    mail: str


@dataclass(frozen=True)
class Series:
    """Mails that are sent together, as patches with a message each."""

    folder: str  # below that of all mails
    prefix: str
    cover: str   # its message in patches/mails
    patches: list


def identity(repo=paths.REPO):
    """Whoever runs this, as git knows them."""
    found = {}
    for role in ("AUTHOR", "COMMITTER"):
        done = subprocess.run(["git", "-c", "user.useConfigOnly=true", "-C", repo, "var",
                               f"GIT_{role}_IDENT"], capture_output=True, text=True, check=False)
        match = re.match(r"(.+) <(.+)> \d+ [-+]\d+$", done.stdout.strip())
        if not match:
            raise HarnessError(
                "git does not know who you are, and mails are signed off: git config --global "
                "user.name 'Your Name'; git config --global user.email you@example.org")
        found[role] = Person(*match.groups())
    return found["COMMITTER"]


def write(base, out, repo=paths.REPO, who=None):
    """Write the mails to `out` and check that they apply; returns the paths of all.

    `who` sends them: if nobody is named, whoever runs this.
    """
    who = who or identity(repo)
    shutil.rmtree(out, ignore_errors=True)
    every = [series for series in _all(repo) if series.patches]
    written = {series.folder: _write(base, out / series.folder, series, repo, who)
               for series in every}
    _check(base, written, repo, who)
    return [mail for mails in written.values() for mail in mails]


def _all(repo):
    """The series, in the order in which they apply."""
    patches = tree.series(repo)
    fixes = [patch.read_text() for patch in patches if patch.parent.name == FIXES]
    hooks = [patch.read_text() for patch in patches if patch.parent.name != FIXES]
    return (Series(FIXES, "PATCH net", "cover-fixes", fixes),
            Series("", "PATCH net-next", "cover", [*_additions(repo), *hooks]))


def _message(repo, name):
    """(subject, body) of a message in patches/mails."""
    path = repo / "patches/mails" / f"{name}.txt"
    if not path.is_file():
        raise HarnessError(f"no {path}: each mail has a message that stands alone")
    subject, _, body = path.read_text().partition("\n\n")
    if not subject.strip() or "\n" in subject or not body.strip():
        raise HarnessError(f"{path}: a subject, an empty line, a message")
    return subject, body.strip()


def _additions(repo):
    groups = {prefix: {} for prefix, _name in ADDITIONS}
    for name, path in tree.overlay(repo).items():
        prefix = next((prefix for prefix, _name in ADDITIONS if name.startswith(prefix)), None)
        if prefix is None:
            raise HarnessError(f"no mail of `make series` is for {name}: see ADDITIONS in mails.py")
        groups[prefix][name] = path
    for prefix, message in ADDITIONS:
        if groups[prefix]:
            diff = "".join(_new_file(name, path) for name, path in sorted(groups[prefix].items()))
            subject, body = _message(repo, message)
            yield f"Subject: {subject}\n\n{body}\n---\n\n{diff}"


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


def _mail(text, who):
    """`text` with the headers that git am wants: of its own, but for NOBODY's name."""
    head, _, rest = text.partition("\n\n")
    fields = {name: value for name, _, value in (line.partition(": ")
                                                 for line in head.splitlines())}
    if "Subject" not in fields:
        raise HarnessError("a patch of the series has no Subject: line")
    author = fields.get("From", NOBODY)
    if NOBODY in author:
        author = f"{who.name} <{who.mail}>"
    return (f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: {author}\n"
            f"Date: {email.utils.formatdate()}\nSubject: {fields['Subject']}\n\n"
            f"{rest.rstrip(chr(10))}\n-- \n\n")


class _Repository:
    """A repository in `where` with those files of the base that patches touch."""

    def __init__(self, where, base, texts, who):
        self.where = where
        # Nothing but this: what people have git do is not for these mails.
        self._env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
                     **{f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
                        for what, value in (("NAME", who.name), ("EMAIL", who.mail))}}
        where.mkdir(parents=True, exist_ok=True)
        for name in {name for text in texts for name in tree.touched(text)}:
            if (base / name).is_file():
                (where / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base / name, where / name)
        self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "base")
        self.git("tag", "base")

    def git(self, *arguments):
        done = subprocess.run(["git", "-C", self.where, *map(str, arguments)], env=self._env,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise HarnessError(f"git {arguments[0]}: {done.stdout}{done.stderr}")
        return done.stdout


def _write(base, out, series, repo, who):
    """The mails of a series, cover letter first."""
    with tempfile.TemporaryDirectory(prefix="devmem-") as scratch:
        scratch = Path(scratch)
        commits = _Repository(scratch / "git", base, series.patches, who)
        for number, text in enumerate(series.patches, 1):
            mail = scratch / f"{number:04}"
            mail.write_text(_mail(text, who))
            commits.git("am", "-q", "--signoff", mail)
        mails = commits.git("format-patch", "--cover-letter", "--zero-commit", "--no-signature",
                            f"--from={who.name} <{who.mail}>", f"--subject-prefix={series.prefix}",
                            "-o", out, "base").splitlines()
    mails = [Path(mail) for mail in mails]
    subject, body = _message(repo, series.cover)
    text = mails[0].read_text()
    for blank, filled in (("*** SUBJECT HERE ***", subject),
                          ("*** BLURB HERE ***", body + _origin(repo))):
        if blank not in text:
            raise HarnessError(f"git format-patch wrote a cover letter without {blank}")
        text = text.replace(blank, filled)
    mails[0].write_text(text)
    return mails


def _origin(repo):
    """Where the tree is, if others can get at it."""
    done = subprocess.run(["git", "-C", repo, "config", "remote.origin.url"],
                          capture_output=True, text=True, check=False)
    url = done.stdout.strip()
    return f"\n\nTree: {url}" if re.match(r"(https|git)://[^@]+$", url) else ""


def _check(base, written, repo, who):
    """Apply the mails with git am to what they touch: all of them, and ours alone."""
    ours = written.get("", [])
    for mails, fixes in (([mail for some in written.values() for mail in some], True),
                         (ours, False)):
        with tempfile.TemporaryDirectory(prefix="devmem-") as scratch:
            scratch = Path(scratch)
            check = _Repository(scratch / "git", base, [mail.read_text() for mail in mails], who)
            if mails:
                # As people are told to; empty are the cover letters.
                check.git("am", "-q", "--empty=drop", *mails)
            expected = tree.Tree(base, scratch / "tree", repo).expected(fixes)
            for name, text in expected.items():
                path = check.where / name
                if (path.read_bytes() if path.is_file() else None) != text:
                    raise HarnessError(f"after git am {name} differs from the tree's")
