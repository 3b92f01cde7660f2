# SPDX-License-Identifier: GPL-2.0
"""Commands in the build root, through bubblewrap.

The sandbox's root is a tmpfs into which the build root's folders are bound
read-only, so that mount points can be made anywhere without writing to the
build root. The repo and the cache appear under the paths they have on the
host; the network is the host's. Nothing of it outlives the command.
"""

import os
from pathlib import Path

from . import paths
from .errors import HarnessError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Made anew in every sandbox, not taken from the build root.
FRESH = {"dev", "proc", "sys", "tmp", "run", "root", "home"}
# What the host's environment may say to a command in the build root.
KEEP = {"TERM", "COLORTERM", "NO_COLOR", "CI", "SSH_AUTH_SOCK", "SOURCE_DATE_EPOCH", "V",
        "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
KEEP_PREFIXES = ("CARGO_", "RUST_", "GIT_AUTHOR_", "GIT_COMMITTER_", "KBUILD_")


def environment(**extra):
    """The environment of a command in the build root."""
    env = {key: value for key, value in os.environ.items()
           if key in KEEP or key.startswith(KEEP_PREFIXES)}
    env.update(
        PATH=PATH,
        HOME=str(paths.CACHE / "home"),
        USER="root" if os.geteuid() == 0 else os.environ.get("USER", "user"),
        LANG="C.UTF-8",
        CARGO_HOME=str(paths.CACHE / "cargo-home"),
        CCACHE_DIR=str(paths.CACHE / "ccache"),
    )
    env.update({key: str(value) for key, value in extra.items()})
    return env


def command(argv, *, root=None, writable=(), cwd=None, binds=()):
    """The bwrap command line that runs `argv` in the build root.

    `writable` names further host folders to show under their own path;
    `binds` are further words for bwrap.
    """
    root = Path(root or paths.CACHE / "root").resolve()
    if not root.is_dir():
        raise HarnessError("there is no build root yet; make one with `make root`")
    argv_bwrap = ["bwrap", "--unshare-pid", "--unshare-ipc", "--die-with-parent",
                  "--tmpfs", "/"]
    for entry in sorted(root.iterdir()):
        inside = "/" + entry.name
        if entry.is_symlink():
            argv_bwrap += ["--symlink", os.readlink(entry), inside]
        elif entry.name not in FRESH:
            argv_bwrap += ["--ro-bind", str(entry), inside]
    argv_bwrap += ["--dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys"]
    for fresh in ("/tmp", "/var/tmp", "/run", "/root", "/home"):
        argv_bwrap += ["--tmpfs", fresh]
    argv_bwrap += ["--dev-bind-try", "/dev/kvm", "/dev/kvm",
                   "--ro-bind", "/etc/ssl/certs", "/etc/ssl/certs"]
    # The host's certificates may be links to elsewhere on the host.
    argv_bwrap += ["--ro-bind-try", "/usr/share/ca-certificates", "/usr/share/ca-certificates",
                   "--ro-bind-try", "/usr/local/share/ca-certificates",
                   "/usr/local/share/ca-certificates"]
    if os.path.exists("/etc/resolv.conf"):
        argv_bwrap += ["--ro-bind", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    # Worktrees and clones with alternates keep their objects elsewhere, and
    # sibling folders are often wanted: show the repo's parent read-only.
    argv_bwrap += ["--ro-bind", str(paths.REPO.parent), str(paths.REPO.parent)]
    for folder in (paths.REPO, paths.CACHE, *map(Path, writable)):
        argv_bwrap += ["--bind", str(folder), str(folder)]
    argv_bwrap += map(str, binds)
    where = Path(cwd or os.getcwd())
    shown = (paths.REPO.parent, paths.CACHE, *map(Path, writable))
    inside = where == Path("/") or any(where == folder or folder in where.parents for folder in shown)
    argv_bwrap += ["--chdir", str(where if inside else paths.REPO), "--"]
    return argv_bwrap + [str(word) for word in argv]
