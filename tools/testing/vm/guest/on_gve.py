#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs a netkit test of the base's on gve, whose ethtool says less than others'.

The test itself is unmodified. Two replies and requests on its way to ethtool
are translated, without which it could not begin:

- it reads `combined-count`; gve has RX and TX channels of their own and leaves
  that out, so the number of RX channels is put there;
- it sets `hds-thresh` to 0, what gve does and has no setting for, so that is
  left out.

To be called in the test's folder: on_gve.py TEST [ARG...]
"""

import os
import runpy
import sys

sys.path.insert(0, os.getcwd())
# Before the import: the library names the cases after the program.
del sys.argv[0]

import lib.py                                       # noqa: E402


class GveEthtool(lib.py.EthtoolFamily):
    """The ethtool family as a driver with those two would answer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        channels_get, rings_get, rings_set = self.channels_get, self.rings_get, self.rings_set

        def count(*args, **kwargs):
            reply = channels_get(*args, **kwargs)
            reply.setdefault("combined-count", reply.get("rx-count", 0))
            return reply

        def change(vals, *args, **kwargs):
            if vals.get("hds-thresh") == 0 and "hds-thresh" not in rings_get(
                    {"header": vals["header"]}):
                vals = {key: value for key, value in vals.items() if key != "hds-thresh"}
            return rings_set(vals, *args, **kwargs)

        self.channels_get, self.rings_set = count, change


if __name__ == "__main__":
    lib.py.EthtoolFamily = GveEthtool
    runpy.run_path(sys.argv[0], run_name="__main__")
