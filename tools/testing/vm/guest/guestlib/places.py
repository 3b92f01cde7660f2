# SPDX-License-Identifier: GPL-2.0
"""Where the guest finds the kernel tree, our tools and the base's selftests.

The host's cache is visible in the guest under the path it has on the host.
"""

import os
import sys
from pathlib import Path

from .errors import GuestError


class Places:
    """Paths below the cache, checked on first use."""

    def __init__(self, cache=None):
        self.cache = Path(cache or os.environ.get("DEVMEM_CACHE") or self._default())

    @staticmethod
    def _default():
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home) / "devmem-rust"
        if not cache.is_dir():
            # The guest's user is root, the host's may not be; of the host's
            # homes the guest sees no more than the cache and the repo.
            found = list(Path("/home").glob("*/.cache/devmem-rust"))
            if len(found) == 1:
                return found[0]
        return cache

    @property
    def tree(self):
        """The kernel tree, with our files and the patches in it."""
        home = os.environ.get("DEVMEM_TREE")
        return self._need(Path(home) if home else self.cache / "tree", "make tree")

    @property
    def ncdevmem(self):
        """Our transfer tool."""
        return self._need(self.cache / "target-devmem/release/ncdevmem", "make run")

    @property
    def selftests(self):
        """Our selftests, in the tree."""
        return self._need(self.tree / "tools/testing/selftests/net/devmem", "make tree")

    @property
    def base_selftests(self):
        """The base's driver selftests, built and installed unmodified."""
        home = os.environ.get("BASE_SELFTESTS")
        return self._need(Path(home) if home else self.cache / "selftests", "make test")

    def import_selftest_library(self):
        """Make `lib.py` the selftests' library, and return it."""
        sys.path.insert(0, str(self.selftests))
        import lib.py as library                # noqa: E402
        return library

    @staticmethod
    def _need(path, target):
        if not path.exists():
            raise GuestError(f"{path} is missing: `{target}` on the host makes it; --cache or "
                             "DEVMEM_CACHE says where the cache is")
        return path
