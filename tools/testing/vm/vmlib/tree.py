# SPDX-License-Identifier: GPL-2.0
"""The kernel tree: the base, patches/series, and the repo's files over it.

The tree lives in the cache and is shared by all clones, so a sync makes it
right for the clone that asks, whichever synced last. Files are written by
content: what does not change keeps its time stamp, and make rebuilds only
what did. What a file no longer is, it stops being: patched files go back to
the base's text, and files that left the repo vanish.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import paths
from .errors import HarnessError

# Folders of the repo that stand where they stand in a kernel tree.
OVERLAY = ("include", "net", "drivers", "rust", "Documentation", "samples", "scripts",
           "tools/net", "tools/testing/selftests", "tools/testing/devmem_exporter")
# Our options; the hook in net/Kconfig sources it under this name.
RENAMED = {"Kconfig": "Kconfig.devmem"}
IGNORED = {"target", "__pycache__"}


def overlay(repo=paths.REPO):
    """{path in the tree: file in the repo} for everything of ours."""
    wanted = {inside: repo / name for name, inside in RENAMED.items() if (repo / name).is_file()}
    for top in OVERLAY:
        for folder, names, files in os.walk(repo / top):
            names[:] = sorted(name for name in names if name not in IGNORED)
            for name in files:
                if not name.endswith((".pyc", ".orig", ".rej", "~")):
                    path = Path(folder, name)
                    wanted[str(path.relative_to(repo))] = path
    return wanted


def series(repo=paths.REPO, fixes=True):
    """The patches that patches/series names, in order; none if there is no series.

    Without `fixes`, those in patches/fixes/ are left out: they mend the base.
    """
    listing = repo / "patches/series"
    if not listing.is_file():
        return []
    names = [line.split("#")[0].strip() for line in listing.read_text().splitlines()]
    patches = [repo / "patches" / name for name in names if name]
    for patch in patches:
        if not patch.is_file():
            raise HarnessError(f"patches/series names {patch.name}, which does not exist")
    if unnamed := {*listing.parent.rglob("*.patch")} - {*patches}:
        names = ", ".join(sorted(patch.name for patch in unnamed))
        raise HarnessError(f"patches/series does not name {names}")
    return [patch for patch in patches if fixes or patch.parent.name != "fixes"]


def touched(patch_text):
    """The paths that a unified diff reads or writes, without a/ and b/."""
    found = []
    lines = patch_text.splitlines()
    for before, after in zip(lines, lines[1:]):
        if before.startswith("--- ") and after.startswith("+++ "):
            for name in (before[4:], after[4:]):
                name = name.split("\t")[0].strip()
                if name != "/dev/null":
                    found.append(name.split("/", 1)[1])
    return list(dict.fromkeys(found))


def patched(base, patches, scratch):
    """Apply `patches` to copies of what they touch; {path: file or None}.

    None stands for a file that a patch deletes.
    """
    names = []
    for patch in patches:
        for name in touched(patch.read_text()):
            names.append(name)
            if (base / name).is_file() and not (scratch / name).exists():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(base / name, scratch / name)
    for patch in patches:
        # --fuzz=0: a hook that only nearly fits is to be looked at.
        result = subprocess.run(
            ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--no-backup-if-mismatch",
             "-i", str(patch)],
            cwd=scratch, capture_output=True, text=True)
        if result.returncode != 0:
            raise HarnessError(f"{patch.name} does not apply to the base:\n{result.stdout}"
                               f"{result.stderr}")
    return {name: scratch / name if (scratch / name).exists() else None
            for name in dict.fromkeys(names)}


class Tree:
    """A kernel tree in the cache with the repo's state synced into it."""

    def __init__(self, base, where, repo=paths.REPO):
        self.base = Path(base).resolve()
        self.where = Path(where)
        self.repo = repo
        self._state = self.where.with_name(f"{self.where.name}.json")

    def expected(self, fixes=True):
        """{path: content or None} of all that differs from the base."""
        with tempfile.TemporaryDirectory() as scratch:
            return {name: path.read_bytes() if path else None
                    for name, path in self._wanted(Path(scratch), fixes).items()}

    def sync(self, stage=None, fixes=True):
        """Make the tree what base, series and repo say; returns paths changed."""
        state = self._read_state()
        if state.get("base") != str(self.base):
            if stage:
                stage.tick("copying the base")
            state = self._start()
        scratch = self.where.with_name(f"{self.where.name}.patched")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            wanted = self._wanted(scratch, fixes)
            # Recorded first: an interrupted sync must not lose track of a file.
            managed = set(state["managed"]) | set(wanted)
            self._write_state(managed)
            changed = self._apply(wanted, managed)
            self._write_state(wanted)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return changed

    def _wanted(self, scratch, fixes=True):
        ours = overlay(self.repo)
        for name in ours:
            if (self.base / name).exists():
                raise HarnessError(f"the base has a {name} already: change it with a patch in "
                                   "patches/, files of the repo are new files")
        wanted = patched(self.base, series(self.repo, fixes), scratch)
        both = sorted(set(ours) & set(wanted))
        if both:
            raise HarnessError(f"both a patch and the repo make {both[0]}")
        return {**wanted, **ours}

    def _apply(self, wanted, managed):
        changed = []
        for name in sorted(managed):
            source = wanted[name] if name in wanted else self.base / name
            target = self.where / name
            if source is None or not source.is_file():
                if target.exists() or target.is_symlink():
                    target.unlink()
                    _prune(target.parent, self.where)
                    changed.append(name)
            elif _write(source, target):
                changed.append(name)
        return changed

    def _start(self):
        self._state.unlink(missing_ok=True)
        paths.remove_tree(self.where)
        self.where.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--reflink=auto", f"{self.base}/.", str(self.where)],
                       check=True)
        self._write_state(())
        return self._read_state()

    def _read_state(self):
        if not self.where.is_dir() or not self._state.is_file():
            return {}
        return json.loads(self._state.read_text())

    def _write_state(self, managed):
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps({"base": str(self.base), "managed": sorted(managed)}))
        fresh.replace(self._state)


def _write(source, target):
    """Copy content and mode if they differ; the time stamp is now. True if so."""
    mode = source.stat().st_mode & 0o777
    data = source.read_bytes()
    if target.is_file() and target.read_bytes() == data:
        if target.stat().st_mode & 0o111 == mode & 0o111:
            return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(mode)
    return True


def _prune(folder, top):
    """Remove folders that became empty, up to the tree's top."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
