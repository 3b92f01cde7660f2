# SPDX-License-Identifier: GPL-2.0

"""How far a long test case has come, for those who watch it."""

import time

from net.lib.py import ksft_pr


class Pace:
    """Says how it goes, now and then."""

    def __init__(self, turns):
        self._turns = turns
        self._began = self._said = time.monotonic()

    def __call__(self, turn):
        now = time.monotonic()
        if now - self._said > 20 or turn == self._turns:
            self._said = now
            ksft_pr(f"{turn} of {self._turns} turns, "
                    f"{(now - self._began) / turn * 1000:.0f} ms each")
