# SPDX-License-Identifier: GPL-2.0
"""What a guest is told, and what the device model is asked for."""

import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from vmlib import boot, kernel, model
from vmlib.errors import HarnessError


class Guest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.top = Path(scratch.name)
        self.image = self.top / "bzImage-rust-debug"
        self.results = self.top / "results"

    def script(self, **kwargs):
        boot._prepare(boot.Guest(image=self.image, results=self.results, **kwargs))
        return (self.results / "guest.sh").read_text()

    def test_the_module_is_the_one_of_the_image(self):
        for name in ("devmem_exporter-rust.ko", "devmem_exporter-rust-debug.ko"):
            (self.top / name).touch()
        self.assertEqual(kernel.exporter(self.image), self.top / "devmem_exporter-rust-debug.ko")
        self.assertIn(f"export DEVMEM_EXPORTER={self.top}/devmem_exporter-rust-debug.ko\n",
                      self.script())

    def test_without_a_module_nothing_is_promised(self):
        self.assertIsNone(kernel.exporter(self.image))
        self.assertNotIn("DEVMEM_EXPORTER", self.script())

    def test_a_driver_that_is_a_module_is_loaded_for_the_nics(self):
        nics = model.Options()
        self.assertNotIn("insmod", self.script(nics=nics))
        (self.top / "gve-rust-debug.ko").touch()
        self.assertIn(f"\nbusybox insmod {self.top}/gve-rust-debug.ko\n", self.script(nics=nics))
        self.assertNotIn("insmod", self.script())

    def test_guest_and_model_mean_the_same_fault_file(self):
        options = model.Options()
        arguments = options.arguments(self.top, self.results)
        faults = arguments[arguments.index("--fault-file") + 1]
        self.assertIn(f"export DEVMEM_FAULT_FILE={faults}\n", self.script(nics=options))
        self.assertNotIn("DEVMEM_FAULT_FILE", self.script())

    def waited(self, seconds, timeout=9, booted=False):
        """Whether a child of so many seconds is said to have ended."""
        self.results.mkdir()
        if booted:
            (self.results / "booted").touch()
        guest = boot.Guest(image=self.image, results=self.results, timeout=timeout)
        with subprocess.Popen(["sleep", str(seconds)]) as child, \
                mock.patch.object(boot, "BOOT", 0.2):
            try:
                return boot._ended(child, guest, time.monotonic())
            finally:
                child.kill()

    def test_a_guest_that_ends_is_waited_for(self):
        self.assertTrue(self.waited(0.5, booted=True))

    def test_a_guest_that_does_not_boot_is_not_waited_for(self):
        began = time.monotonic()
        self.assertFalse(self.waited(8))
        self.assertLess(time.monotonic() - began, 4)

    def test_a_guest_that_does_not_end_has_its_time(self):
        self.assertFalse(self.waited(8, timeout=0.5, booted=True))

    def attempts(self, *boots, timeout=900):
        """Attempts of a guest that boots, or hangs, as told; (how many, what was said)."""
        told = iter(boots)

        def attempt(guest, _tick):
            guest.results.mkdir()
            (guest.results / "console.log").write_text("[ 1.0] the end")
            if booted := next(told):
                (guest.results / "booted").touch()
            return boot.Outcome({}, "", "[ 1.0] the end", booted, not booted, boot.BOOT)

        guest = boot.Guest(image=self.image, results=self.results, timeout=timeout)
        with mock.patch.object(boot, "_run", side_effect=attempt) as tried, \
                mock.patch.object(boot.ui.console, "print") as said:
            outcome = boot.run(guest)
        self.assertEqual(outcome.finished, boots[tried.call_count - 1])
        return tried.call_count, " ".join(str(call.args[0]) for call in said.call_args_list)

    def test_a_guest_that_boots_is_not_booted_again(self):
        self.assertEqual(self.attempts(True), (1, ""))

    def test_a_guest_that_hangs_is_booted_again_and_the_screen_says_so(self):
        tried, said = self.attempts(False, True)
        self.assertEqual(tried, 2)
        self.assertIn("no boot after 300 s", said)
        self.assertIn("the end", said)
        self.assertTrue((self.top / "results-hung/console.log").is_file())

    def test_but_only_once(self):
        self.assertEqual(self.attempts(False, False)[0], 2)

    def test_nor_if_its_time_is_over(self):
        self.assertEqual(self.attempts(False, timeout=200), (1, ""))

    def test_it_is_said_how_far_a_guest_came(self):
        self.results.mkdir()
        guest = boot.Guest(image=self.image, results=self.results)
        outcome = boot.Outcome({}, "", "", False, True, 600.2)
        with self.assertRaisesRegex(HarnessError, "no boot after 600 s"):
            boot.require(outcome, guest)
        (self.results / "booted").touch()
        with self.assertRaisesRegex(HarnessError, "no end after 600 s"):
            boot.require(outcome, guest)

    def test_the_clock_is_the_hosts_where_that_is_known(self):
        info = self.top / "cpuinfo"
        info.write_text("processor\t: 0\nflags\t\t: fpu constant_tsc hypervisor\n"
                        "cpu MHz\t\t: 2596.136\n")
        self.assertEqual(boot.tsc_khz(info), 2596136)
        info.write_text("flags\t\t: fpu constant_tsc\ncpu MHz\t\t: 800.000\n")
        self.assertIsNone(boot.tsc_khz(info))
