# SPDX-License-Identifier: GPL-2.0
"""Kernel builds: one object tree a variant, all from the one source tree."""

import os
import shutil
import subprocess
from pathlib import Path

from . import buildroot, kconfig, paths, sandbox, source
from .errors import HarnessError
from .tree import Tree

# Fragments of each variant; what a variant's objects may start from.
VARIANTS = {
    "c": ("base", "c"),
    "c-fixed": ("base", "c"),
    "rust": ("base", "rust"),
    "rust-gve-c": ("base", "rust", "gve-c"),
    "c-gve-rust": ("base", "c", "gve-rust"),
    "rust-debug": ("base", "rust", "debug"),
    "rust-kasan": ("base", "rust", "kasan"),
}
SEEDS = {"c": ("rust",), "c-fixed": ("c", "rust"), "rust": ("c",), "rust-gve-c": ("rust", "c"),
         "c-gve-rust": ("c", "rust"), "rust-debug": (), "rust-kasan": ()}
LLVM = "-19"
# Objects are good for as long as these packages stay as they are.
COMPILERS = ("rustc", "rust-src", "bindgen", "clang-19", "lld-19", "llvm-19", "pahole")
# A module for the tests, which only loads into the image that it was built with.
EXPORTER = Path("tools/testing/devmem_exporter")
# The driver, where a variant has it as a module.
DRIVER = Path("drivers/net/ethernet/google/gve")


def implementation(variant):
    """The net core's in a variant, with which its name begins."""
    return variant.partition("-")[0]


def has_fixes(variant):
    """Whether a variant has patches/fixes: C is compared with as the base has it."""
    return variant != "c"


def exporter(image):
    """Where the test exporter of a kept image is: None if it was built without."""
    return _module(image, EXPORTER)


def driver(image):
    """Where the driver's module of a kept image is: None if it is built in."""
    return _module(image, DRIVER)


def _module(image, folder):
    module = _beside(image, folder)
    return module if module.is_file() else None


def _beside(image, folder):
    return image.with_name(f"{image.name.replace('bzImage', folder.name, 1)}.ko")


class Kernel:
    """The tree and its object trees, for one base.

    KERNEL_SRC gets a corner of the cache of its own, so that the pinned
    base's tree and objects stay as they are.
    """

    def __init__(self, base, repo=paths.REPO):
        self.base = Path(base).resolve()
        if source.kernel_src():
            self.home = paths.CACHE / f"ksrc-{paths.digest(str(self.base))}"
            self.home.mkdir(exist_ok=True)
        else:
            self.home = paths.CACHE
        self.tree = Tree(self.base, self.home / "tree", repo)
        compilers = sorted(buildroot.versions(COMPILERS).items())
        self._key = paths.digest(str(compilers), str(self.base), source.version(self.base))
        # A new build root has new time stamps, which ccache would go by.
        self._ccache_check = f"string:{paths.digest(str(compilers))}"

    @property
    def lock_name(self):
        return f"tree-{self.home.name}"

    def objects(self, variant):
        """The object tree (O=) of a variant."""
        return self.home / f"build-{variant}"

    def is_built(self, variant):
        """Whether a variant was built, with the base and tool chain of now."""
        objects = self.objects(variant)
        return self._key_of(objects) == self._key and (objects / ".built").exists()

    def image(self, variant):
        return self.objects(variant) / "arch/x86/boot/bzImage"

    def make(self, stage, variant, *targets, log=None, extra=()):
        """Run make on a variant's object tree, in the build root."""
        line = ["make", "-C", self.tree.where, f"O={self.objects(variant)}", f"LLVM={LLVM}",
                f"-j{os.cpu_count()}", *extra, *targets]
        # ccache by its links in PATH: kbuild hands HOSTCC to rustc as one word.
        env = sandbox.environment(
            PATH=f"/usr/lib/ccache:{sandbox.PATH}",
            CCACHE_MAXSIZE="4G", CCACHE_COMPILERCHECK=self._ccache_check,
            KBUILD_BUILD_USER="devmem", KBUILD_BUILD_HOST="devmem",
            KBUILD_BUILD_TIMESTAMP="1970-01-01",
            KCONFIG_ALLCONFIG=self.objects(variant) / "fragment")
        return stage.run(sandbox.command(line, writable=(self.home,)),
                         log=log or f"kernel-{variant}", env=env)

    def configure(self, stage, variant):
        """Write the variant's .config; an option that did not take is an error."""
        objects = self.objects(variant)
        self._prepare(stage, variant)
        texts = [(paths.VM / "config" / f"{name}.config").read_text()
                 for name in VARIANTS[variant]]
        fragment = kconfig.merge(texts)
        (objects / "fragment").write_text(fragment)
        self.make(stage, variant, "allnoconfig", log=f"config-{variant}")
        missed = kconfig.missed(fragment, (objects / ".config").read_text())
        if missed:
            lines = "\n".join(f"  {name}: wanted {wanted}, got {got}"
                              for name, wanted, got in missed)
            raise HarnessError(f"options of variant {variant} that did not take:\n{lines}\n"
                               "  (a dependency is off, or this base has no such option)")

    def build(self, stage, variant, keep=None, extra=()):
        """Sync, configure and build; call with the lock held.

        The image is copied to `keep`, where no other run rebuilds it, and
        modules to where exporter(keep) and driver(keep) find them.
        """
        changed = self.tree.sync(stage, fixes=has_fixes(variant))
        fresh = not self.image(variant).is_file()
        before = None if fresh else self.image(variant).stat().st_mtime_ns
        self.configure(stage, variant)
        self._mend(variant)
        # With the driver built in, "modules" is for what the exporter is built with.
        self.make(stage, variant, "bzImage", "modules", extra=extra)
        (self.objects(variant) / ".built").touch()
        modules = {EXPORTER: self._exporter(stage, variant, extra),
                   DRIVER: self._driver(variant)}
        if keep:
            shutil.copy2(self.image(variant), keep)
            for folder, module in modules.items():
                _beside(keep, folder).unlink(missing_ok=True)
                if module:
                    shutil.copy2(module, _beside(keep, folder))
        files = f"{len(changed)} file{'s' * (len(changed) != 1)} synced"
        if before == self.image(variant).stat().st_mtime_ns:
            stage.result(f"{variant}: reused the build, {files}")
        else:
            stage.result(f"{variant}: {'built' if fresh else 'rebuilt'}, {files}")

    def _mend(self, variant):
        """Remove what a build that was killed left empty and newer than its source."""
        for generated in (self.objects(variant) / "rust/bindings").glob("*.rs"):
            if not generated.stat().st_size:
                generated.unlink()

    def _exporter(self, stage, variant, extra):
        """Build the test exporter against a variant; None if there is no source."""
        source_folder = self.tree.where / EXPORTER
        if not (source_folder / "Kbuild").is_file():
            return None
        out = self.objects(variant) / EXPORTER
        out.mkdir(parents=True, exist_ok=True)
        self.make(stage, variant, f"M={source_folder}", f"MO={out}", "modules",
                  log=f"exporter-{variant}", extra=extra)
        module = out / f"{EXPORTER.name}.ko"
        if not module.is_file():
            raise HarnessError(f"{EXPORTER}/Kbuild builds no {module.name}")
        return module

    def _driver(self, variant):
        """The driver, if the variant has it as a module."""
        objects = self.objects(variant)
        values = kconfig.parse((objects / ".config").read_text())
        return objects / DRIVER / "gve.ko" if values.get("CONFIG_GVE") == "m" else None

    def locked(self, stage):
        """The lock that holds tree and objects still."""
        return paths.lock(self.lock_name, lambda: stage.note("waiting for another run's build"))

    def _prepare(self, stage, variant):
        """Make an object tree, if possible by copying a sibling's objects.

        Objects are only good for the base and tool chain they were made
        with: those make does not see in time stamps.
        """
        objects = self.objects(variant)
        if self.is_built(variant):
            return
        usable = self._key_of(objects) == self._key
        donor = next((self.objects(seed) for seed in SEEDS[variant] if self.is_built(seed)), None)
        if donor:
            stage.tick(f"copying the objects of {donor.name}")
            scratch = objects.with_name(f"{objects.name}.new")
            paths.remove_tree(scratch)
            subprocess.run(["cp", "-a", "--reflink=auto", donor, scratch], check=True)
            (scratch / ".built").unlink()
            paths.remove_tree(scratch / EXPORTER)
            paths.remove_tree(objects)
            scratch.rename(objects)
        elif not usable:
            paths.remove_tree(objects)
            objects.mkdir(parents=True)
            (objects / ".devmem-key").write_text(self._key)

    @staticmethod
    def _key_of(objects):
        stamp = objects / ".devmem-key"
        return stamp.read_text() if stamp.is_file() else None
