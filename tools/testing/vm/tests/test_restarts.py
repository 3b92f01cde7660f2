# SPDX-License-Identifier: GPL-2.0
"""What a queue's restart costs: the comparison of C and Rust."""

import copy
import io
import unittest

from rich.console import Console

from vmlib.checks import restarts

TIMES = {"median_ms": 20.0, "p95_ms": 30.0, "max_ms": 50.0}
SIDE = {"turns": 10, "bind": TIMES, "unbind": TIMES, "carrier_losses": 0,
        "packets_of_others": {"rx": {"sent": 100, "lost": 0, "delay": TIMES},
                               "tx": {"sent": 90, "lost": 3, "delay": TIMES}}}


class Comparison(unittest.TestCase):
    def setUp(self):
        self.figures = {"c": copy.deepcopy(SIDE), "rust": copy.deepcopy(SIDE)}

    def wrong(self):
        return [name for name, why in restarts.problems(self.figures) if why]

    def test_equal_is_fine(self):
        self.assertEqual(self.wrong(), [])
        self.assertEqual(restarts.lost(self.figures["c"]), 3)

    def test_more_lost_packets(self):
        self.figures["rust"]["packets_of_others"]["rx"]["lost"] = 1
        self.assertEqual(self.wrong(), ["Rust loses no more packets of other queues"])

    def test_lost_carrier(self):
        self.figures["c"]["carrier_losses"] = 9
        self.assertEqual(self.wrong(), [])
        self.figures["rust"]["carrier_losses"] = 1
        self.assertEqual(self.wrong(), ["Rust keeps the link"])

    def test_table(self):
        self.figures["c"]["bind"] = {**TIMES, "median_ms": 40.0}
        self.figures["c"]["packets_of_others"]["tx"]["delay"] = {**TIMES, "max_ms": 200.0}
        sink = io.StringIO()
        Console(file=sink, width=100).print(restarts.table(self.figures))
        for label, words in (("bind, median", ("40.0 ms", "20.0 ms", "0.50")),
                             ("from other queues, longest", ("200.0 ms", "50.0 ms", "0.25"))):
            line = next(line for line in sink.getvalue().splitlines() if label in line)
            for word in words:
                self.assertIn(word, line)


if __name__ == "__main__":
    unittest.main()
