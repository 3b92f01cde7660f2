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
# Empty in every sandbox, so that a repo or a cache may be anywhere in them.
FRESH = ("tmp", "run", "root", "home", "opt", "srv", "mnt", "media", "var/tmp", "var/cache")
VIRTUAL = ("dev", "proc", "sys")
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
                  "--tmpfs", "/", *_root_folders(root),
                  "--dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys"]
    for fresh in FRESH:
        argv_bwrap += ["--tmpfs", f"/{fresh}"]
    argv_bwrap += ["--dev-bind-try", "/dev/kvm", "/dev/kvm",
                   "--ro-bind", "/etc/ssl/certs", "/etc/ssl/certs"]
    # The host's certificates may be links to elsewhere on the host.
    argv_bwrap += ["--ro-bind-try", "/usr/share/ca-certificates", "/usr/share/ca-certificates",
                   "--ro-bind-try", "/usr/local/share/ca-certificates",
                   "/usr/local/share/ca-certificates"]
    if os.path.exists("/etc/resolv.conf"):
        argv_bwrap += ["--ro-bind", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    for folder in (paths.REPO, paths.CACHE, *map(Path, writable)):
        argv_bwrap += ["--bind", str(folder), str(folder)]
    argv_bwrap += map(str, binds)
    where = Path(cwd or os.getcwd())
    shown = (paths.REPO, paths.CACHE, *map(Path, writable))
    known = where == Path("/") or any(folder in (where, *where.parents) for folder in shown)
    argv_bwrap += ["--chdir", str(where if known else paths.REPO), "--"]
    return argv_bwrap + [str(word) for word in argv]


def _root_folders(root):
    """Words that show the build root's top, and /var's, folder by folder."""
    words = []
    for folder in (root, root / "var"):
        for entry in sorted(folder.iterdir()):
            inside = str(entry.relative_to(root))
            if entry.is_symlink():
                words += ["--symlink", os.readlink(entry), f"/{inside}"]
            elif inside != "var" and inside not in FRESH + VIRTUAL:
                words += ["--ro-bind", str(entry), f"/{inside}"]
    return words
