# SPDX-License-Identifier: GPL-2.0
"""Where things are: the repo, and the cache that all clones share."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

VM = Path(__file__).resolve().parent.parent
REPO = VM.parents[2]
BUILD = REPO / "build"
LOGS = BUILD / "logs"
RESULTS = BUILD / "results"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devmem-rust"


def make_dirs():
    """Create the folders that everything else takes for granted."""
    for folder in (CACHE, CACHE / "cargo-home", CACHE / "home", CACHE / "ccache", LOGS, RESULTS):
        folder.mkdir(parents=True, exist_ok=True)


def digest(*parts):
    """A short key for what something was made from (str or bytes parts)."""
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()[:12]


def point(link, target):
    """Make `link` a symlink to `target`, a sibling, atomically."""
    if link.is_symlink() and os.readlink(link) == target.name:
        return
    scratch = link.with_name(f".{link.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target.name)
    scratch.replace(link)


def remove_tree(folder):
    """Delete a folder, also one that mmdebstrap filled with subordinate uids."""
    if not folder.exists():
        return
    if os.geteuid() != 0 and folder.name.startswith("root-"):
        subprocess.run(
            ["mmdebstrap", "--unshare-helper", "rm", "-rf", "--one-file-system", str(folder)],
            check=False,
        )
    shutil.rmtree(folder, ignore_errors=False) if folder.exists() else None


@contextlib.contextmanager
def lock(name, waiting=None):
    """Hold the cache's lock `name`; other clones and runs wait for it.

    `waiting` is called once if the lock is not free at once.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f".lock-{name}", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
