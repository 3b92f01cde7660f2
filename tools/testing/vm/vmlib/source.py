# SPDX-License-Identifier: GPL-2.0
"""The base kernel's source: Debian's linux-source package, or KERNEL_SRC."""

import os
import re
import subprocess
from pathlib import Path

from . import buildroot, paths, sandbox
from .errors import HarnessError

VERSION = "7.3.4"
PACKAGE = "linux-source-7.3"


def kernel_src():
    """The tree that KERNEL_SRC names, or None."""
    given = os.environ.get("KERNEL_SRC")
    if not given:
        return None
    tree = Path(given).expanduser().resolve()
    if not (tree / "Kbuild").is_file() or not (tree / "net/core").is_dir():
        raise HarnessError(f"KERNEL_SRC={given} is not the top of a kernel tree")
    return tree


def version(tree):
    """The version that a tree's Makefile names, such as 7.3.4."""
    text = (tree / "Makefile").read_text()[:2000]
    parts = [re.search(rf"^{name} = *(\S*)$", text, re.M) for name in
             ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if not all(parts):
        raise HarnessError(f"{tree}/Makefile names no kernel version")
    return ".".join(part.group(1) for part in parts)


def ensure(stage):
    """Unpack the base unless the cache has it; returns its path."""
    given = kernel_src()
    if given:
        stage.result(f"KERNEL_SRC: {version(given)} in {given}")
        return given
    base = paths.CACHE / f"base-{paths.digest(PACKAGE, VERSION)}"
    with paths.lock("base", lambda: stage.tick("another run is unpacking it")):
        if base.is_dir():
            stage.result(f"reused {base.name}, {PACKAGE} {VERSION}")
        else:
            _unpack(stage, base)
            stage.result(f"unpacked {PACKAGE} {VERSION}")
        paths.point(paths.CACHE / "base", base)
    return base


def _apt():
    """apt of the build root, with its state in the cache: the root is read-only."""
    state = paths.CACHE / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}/cache",
            "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]


def _unpack(stage, base):
    apt = _apt()
    env = sandbox.environment()
    stage.tick("reading the archive's lists")
    stage.run(sandbox.command(["apt-get", *apt, "-q", "update"]), log="base-update", env=env)
    listing = subprocess.run(
        sandbox.command(["apt-cache", *apt, "madison", PACKAGE]),
        env=env, check=True, capture_output=True, text=True).stdout
    wanted = pick(listing)
    folder = paths.CACHE / "deb"
    folder.mkdir(exist_ok=True)
    download = ["apt-get", *apt, "-q", "download", f"{PACKAGE}={wanted}"]
    stage.run(sandbox.command(download, cwd=folder), log="base-download", env=env)
    package = next(folder.glob(f"{PACKAGE}_*.deb"))
    scratch = paths.CACHE / f"{base.name}.new"
    paths.remove_tree(scratch)
    scratch.mkdir()
    unpack = (f"set -euo pipefail; dpkg-deb --fsys-tarfile {package} "
              f"| tar -xO ./usr/src/{PACKAGE}.tar.xz | xz -dcT0 "
              f"| tar -x --strip-components=1 -C {scratch}")
    stage.run(sandbox.command(["bash", "-c", unpack]), log="base-unpack", env=env)
    found = version(scratch)
    if found != VERSION:
        raise HarnessError(f"{package.name} holds {found}, not {VERSION}")
    scratch.rename(base)
    for leftover in folder.iterdir():
        leftover.unlink()


def pick(listing):
    """The package version of the pinned upstream version in `madison` output."""
    offered = [line.split("|")[1].strip() for line in listing.splitlines() if "|" in line]
    for candidate in offered:
        if re.match(rf"{re.escape(VERSION)}-", candidate):
            return candidate
    raise HarnessError(
        f"{PACKAGE} {VERSION} is not to be had from {buildroot.BACKPORTS} any more "
        f"(offered: {', '.join(offered) or 'none'}); name a tree of that version with "
        f"KERNEL_SRC=/path/to/linux-{VERSION}")
