# SPDX-License-Identifier: GPL-2.0

"""
Faults of the emulated NIC, by name, while a test runs; `gvnic --help` lists
them. DEVMEM_FAULT_FILE says where the device looks for them.
"""

import contextlib
import itertools
import os

from net.lib.py import KsftSkipEx, defer

from .leftover import wait_for

# Ports of the device: our end of the wire, and the other one.
LOCAL, REMOTE = 0, 1

_orders = itertools.count(1)


def order(path, lines):
    """Have these faults from now on, and none that was there before."""
    # a file that does not change is not read again
    unique = f"# {os.getpid()} {next(_orders)}"
    text = "".join(f"{line}\n" for line in (*lines, unique))
    # an error does not say to which order it is the answer
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.applied")
    with open(f"{path}.new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(f"{path}.new", path)

    def settled():
        try:
            with open(f"{path}.applied", encoding="utf-8") as file:
                now = file.read()
        except OSError:
            # not there yet, or replaced on the host while 9p reads it
            return None
        return now if now == text or now.startswith("error") else None

    # the device repeats what it understood, or says what is wrong with it
    last = wait_for(settled, 20)
    if last != text:
        raise RuntimeError(f"the NIC did not take {lines}: {last}")


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
        order(self._path, faults)
