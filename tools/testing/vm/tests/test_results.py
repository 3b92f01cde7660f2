# SPDX-License-Identifier: GPL-2.0

import json
import tempfile
import unittest
from pathlib import Path

from vmlib import results
from vmlib.errors import HarnessError

GOOD = {
    "impl": "rust", "kernel": "7.3.4-rust", "families": [4, 6], "queues": 2, "flows": 4,
    "bytes_total": 1000, "bytes_devmem": 995, "bytes_linear": 5, "frags": 10,
    "tokens_released": 10, "verified": True, "niovs_leaked": 0, "dmesg_clean": True,
    "seconds": 1.5, "mib_per_s": 100.0,
}


class Faults(unittest.TestCase):
    def faults(self, **changes):
        return results.faults({**GOOD, **changes}, 1000)

    def test_good(self):
        self.assertEqual(self.faults(), [])

    def test_each_criterion(self):
        for changes in ({"verified": False}, {"verified": None}, {"niovs_leaked": 1},
                        {"niovs_leaked": None}, {"dmesg_clean": False}, {"bytes_linear": 6},
                        {"bytes_devmem": 989, "bytes_linear": 11},
                        {"bytes_total": 999, "bytes_linear": 4}):
            with self.subTest(changes):
                self.assertEqual(len(self.faults(**changes)), 1)

    def test_nothing_moved_is_not_good(self):
        self.assertTrue(self.faults(bytes_total=0, bytes_devmem=0, bytes_linear=0))

    def test_lacking_key_is_named(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "run.json")
            path.write_text(json.dumps({key: value for key, value in GOOD.items()
                                        if key not in ("frags", "dmesg_clean")}))
            with self.assertRaisesRegex(HarnessError, "lacks frags$"):
                results.read(path)


if __name__ == "__main__":
    unittest.main()
