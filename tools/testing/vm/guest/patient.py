#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a test of the base's that waits longer than it would by itself.

The test is unmodified. Its library gives a program that was started in the
background 5 seconds to listen on its port; ncdevmem on a kernel with lockdep,
on an emulated processor that is shared with another guest, needs about that.

To be called in the test's folder: patient.py TEST [ARG...]
"""

import os
import runpy
import sys

DEADLINE = 60  # seconds

sys.path.insert(0, os.getcwd())
# Before the import: the library names the cases after the program.
del sys.argv[0]

import lib.py                                       # noqa: E402


def patient(wait):
    """The function, with another default for its parameter `deadline`."""
    def longer(*args, **kwargs):
        return wait(*args, **{"deadline": DEADLINE, **kwargs})
    return longer


if __name__ == "__main__":
    lib.py.wait_port_listen = patient(lib.py.wait_port_listen)
    lib.py.wait_file = patient(lib.py.wait_file)
    # By its full path, as the interpreter does: some look for files beside them.
    runpy.run_path(os.path.abspath(sys.argv[0]), run_name="__main__")
