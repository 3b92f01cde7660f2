# SPDX-License-Identifier: GPL-2.0
"""What QEMU is asked when a guest hangs, and what comes of no answer."""

import json
import socket
import tempfile
import threading
import unittest
from pathlib import Path

from vmlib import monitor


class Where(unittest.TestCase):
    def setUp(self):
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "qmp"

    def serve(self, answers):
        """Be a QEMU that says so many things."""
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(str(self.path))
        listener.listen()

        def run():
            link, _ = listener.accept()
            with link, link.makefile("rw") as lines:
                lines.write('{"QMP": {}}\n')
                lines.flush()
                for answer in answers:
                    asked = json.loads(lines.readline())
                    lines.write('{"event": "RESUME"}\n')
                    lines.write(json.dumps({"return": answer(asked)}) + "\n")
                    lines.flush()

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)

    def test_every_question_has_its_answer(self):
        def echo(asked):
            return f"<{asked['arguments'].get('command-line', '')}>"
        self.serve([echo] * (1 + len(monitor.QUESTIONS)))
        said = monitor.where(self.path)
        for question in monitor.QUESTIONS:
            self.assertIn(f"{question}\n<{question}>", said)

    def test_a_qemu_that_ends_meanwhile(self):
        self.serve([lambda _asked: {}, lambda _asked: "CPU#0"])
        said = monitor.where(self.path)
        self.assertIn("CPU#0", said)
        self.assertIn("QEMU says no more: ", said)

    def test_no_qemu(self):
        self.assertIn("QEMU says no more: ", monitor.where(self.path))
