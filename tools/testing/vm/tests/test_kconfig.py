# SPDX-License-Identifier: GPL-2.0

import unittest

from vmlib import kconfig


class Kconfig(unittest.TestCase):
    def test_later_fragment_wins(self):
        merged = kconfig.merge(["# text\nCONFIG_A=y\nCONFIG_B=n\n",
                                "CONFIG_A=n\nCONFIG_C=\"x y\"\n"])
        self.assertEqual(kconfig.parse(merged),
                         {"CONFIG_A": "n", "CONFIG_B": "n", "CONFIG_C": '"x y"'})

    def test_missed_options_are_named(self):
        fragment = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\nCONFIG_D=n\n# CONFIG_E is not set\n"
        config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_E=y\n"
        self.assertEqual(kconfig.missed(fragment, config), [
            ("CONFIG_B", "y", "n"), ("CONFIG_C", "n", "m"), ("CONFIG_E", "n", "y")])

    def test_unknown_option_is_missed(self):
        self.assertEqual(kconfig.missed("CONFIG_NEW=y\n", ""), [("CONFIG_NEW", "y", "n")])


if __name__ == "__main__":
    unittest.main()
