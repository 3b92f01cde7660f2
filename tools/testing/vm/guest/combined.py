#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a test of the base's on a NIC that has no combined channels.

The base's netkit tests read `combined-count` and nothing else; gve has RX and
TX channels of their own, and leaves that attribute out. Here the test, itself
unmodified, is told the number of RX channels instead. To be called in the
test's folder: combined.py TEST [ARG...]
"""

import os
import runpy
import sys

sys.path.insert(0, os.getcwd())

import lib.py                                       # noqa: E402


class Combined(lib.py.EthtoolFamily):
    """The ethtool family, with RX channels counted as combined ones."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        get = self.channels_get

        def channels_get(*args, **kwargs):
            reply = get(*args, **kwargs)
            reply.setdefault("combined-count", reply.get("rx-count", 0))
            return reply

        self.channels_get = channels_get


if __name__ == "__main__":
    lib.py.EthtoolFamily = Combined
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
