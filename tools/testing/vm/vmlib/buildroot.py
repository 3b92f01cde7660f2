# SPDX-License-Identifier: GPL-2.0
"""The build root: a Debian trixie in a folder, made by mmdebstrap.

It holds the kernel's tool chain, QEMU and the guest's user land, so that
the host's distribution does not matter. It is keyed by the package list
and never changed once made.
"""

import os

from . import paths
from .errors import HarnessError
from .mirror import mirror

SUITE = "trixie"
BACKPORTS = "trixie-backports"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# In the build root, run once after the packages: what the sandbox binds
# over has to exist, the guest wants a name for its host, and virtme-init ends
# with poweroff, which no package here has.
HOOK = """\
touch "$1/etc/resolv.conf"
echo devmem > "$1/etc/hostname"
ln -s ../bin/busybox "$1/usr/sbin/poweroff"
printf '127.0.0.1 localhost devmem\\n::1 localhost\\n' > "$1/etc/hosts"
"""


def packages():
    """The names in packages.root, in order."""
    lines = (paths.VM / "packages.root").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def key():
    return paths.digest(SUITE, HOOK, *packages())


def versions(names):
    """{name: version} of packages in the current build root, from dpkg."""
    found, name = {}, None
    for line in (paths.CACHE / "root/var/lib/dpkg/status").read_text().splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line.startswith("Version: ") and name in names:
            found[name] = line[9:]
    return found


def ensure(stage):
    """Make the build root unless the cache has it; returns its path."""
    root = paths.CACHE / f"root-{key()}"
    with paths.lock("root", lambda: stage.tick("another run is making it")):
        if root.is_dir():
            stage.result(f"reused {root.name}")
        else:
            _make(stage, root)
            stage.result(f"made {root.name}, {len(packages())} packages named")
        paths.point(paths.CACHE / "root", root)
    return root


def _make(stage, root):
    scratch = paths.CACHE / f"{root.name}.new"
    paths.remove_tree(scratch)
    archive = mirror()
    stage.tick(f"Debian {SUITE} from {archive}")
    # As an ordinary user mmdebstrap maps subordinate uids (package uidmap).
    stage.run([
        "mmdebstrap", "--variant=apt", "--mode=root" if os.geteuid() == 0 else "--mode=unshare",
        f"--keyring={KEYRING}", "--include=" + ",".join(packages()),
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
        f"--customize-hook={HOOK}",
        SUITE, str(scratch),
        f"deb {archive} {SUITE} main", f"deb {archive} {BACKPORTS} main",
    ], log="root")
    if not (scratch / "usr/bin/vng").exists():
        raise HarnessError(f"mmdebstrap ended without virtme-ng in {scratch}")
    scratch.rename(root)
