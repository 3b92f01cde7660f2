# SPDX-License-Identifier: GPL-2.0
"""Programs for the guest: our tools, and the base's own selftests."""

import os
import shutil

from . import buildroot, model, paths, sandbox

TOOLS = paths.REPO / "tools/net/devmem"
TARGET = paths.CACHE / "target-devmem"
# Of the base's selftests; drivers/net brings what the hw tests import.
SELFTESTS = ("drivers/net", "drivers/net/hw", "net", "net/tcp_ao")
# What they are built from.
SOURCES = ("tools", "scripts", "include", "Documentation/netlink", "arch/x86/include",
           "MAINTAINERS", "Makefile", "Kbuild")


def build_tools(stage):
    """Build tools/net/devmem with cargo."""
    model.cargo(stage, TOOLS, TARGET, "build", "--release", "--locked",
                "--bins", "--examples")


def base_selftests(stage, kernel, variant):
    """Build the base's network selftests, unmodified; returns where they are.

    They are built from a copy of the base, since YNL generates code into its
    source; the headers are those of `variant`'s object tree. Call with the
    tree's lock held.
    """
    key = paths.digest(buildroot.key(), str(kernel.base), *SELFTESTS, *SOURCES)
    installed = kernel.home / f"selftests-{key}"
    if installed.is_dir():
        stage.result(f"reused {installed.name}")
    else:
        _build_selftests(stage, kernel, variant, installed)
        stage.result(f"built {', '.join(SELFTESTS)}")
    paths.point(kernel.home / "selftests", installed)
    return installed


def _build_selftests(stage, kernel, variant, installed):
    kernel.make(stage, variant, "headers", log="headers")
    work = kernel.home / "selftests.work"
    scratch = kernel.home / f"{installed.name}.new"
    for folder in (work, scratch):
        paths.remove_tree(folder)
    work.mkdir()
    for name in SOURCES:
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (kernel.base / name).is_dir():
            shutil.copytree(kernel.base / name, target, symlinks=True)
        else:
            shutil.copy2(kernel.base / name, target)
    headers = kernel.objects(variant) / "usr/include"
    stage.run(sandbox.command(
        ["make", "-C", work / "tools/testing/selftests", f"TARGETS={' '.join(SELFTESTS)}",
         f"KHDR_INCLUDES=-isystem {headers}", f"INSTALL_PATH={scratch}", "FORCE_TARGETS=1",
         f"-j{os.cpu_count()}", "install"], writable=(kernel.home,)),
        log="selftests", env=sandbox.environment())
    paths.remove_tree(work)
    scratch.rename(installed)
