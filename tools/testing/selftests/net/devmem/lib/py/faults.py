# SPDX-License-Identifier: GPL-2.0

"""
Faults of the emulated NIC, by name, while a test runs; `gvnic --help` lists
them. DEVMEM_FAULT_FILE says where the device looks for them.
"""

import os

from net.lib.py import KsftSkipEx, defer

from .leftover import wait_for

# Ports of the device: our end of the wire, and the other one.
LOCAL, REMOTE = 0, 1


def _applied(path):
    try:
        with open(path + ".applied", encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return None


class Faults:
    """What goes wrong until the end of the test case, at most."""

    def __init__(self):
        self._path = os.environ.get("DEVMEM_FAULT_FILE")
        if not self._path:
            raise KsftSkipEx("no device that can be told to fail "
                             "(DEVMEM_FAULT_FILE is not set)")
        defer(self.set)

    def set(self, *faults):
        """These faults from now on, and none that was there before."""
        text = "".join(f"{fault}\n" for fault in faults)
        with open(self._path + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.rename(self._path + ".new", self._path)
        # the device repeats what it understood, or says what is wrong with it
        if not wait_for(lambda: _applied(self._path) == text, 20):
            raise RuntimeError("the device model answers: "
                               f"{_applied(self._path)!r}")
