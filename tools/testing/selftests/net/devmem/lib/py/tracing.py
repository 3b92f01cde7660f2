# SPDX-License-Identifier: GPL-2.0

"""Events of the kernel's, recorded in an instance of tracefs of one's own."""

import os

TRACING = "/sys/kernel/tracing"


def has_event(event):
    """Whether the kernel can trace "GROUP/EVENT"."""
    return os.path.exists(f"{TRACING}/events/{event}")


class EventTrace:
    """Records an event, or all of a group, until it is closed."""

    def __init__(self, event):
        self._instance = f"{TRACING}/instances/devmem-{os.getpid()}"
        self._switch = f"events/{event}/enable"
        os.mkdir(self._instance)
        self._write("buffer_size_kb", "2048")
        self._write(self._switch, "1")

    def _write(self, name, text):
        with open(f"{self._instance}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def text(self):
        """What was recorded since the start or the last forget()."""
        with open(f"{self._instance}/trace", encoding="ascii") as file:
            return file.read()

    def forget(self):
        """Begin anew."""
        self._write("trace", "")

    def close(self):
        """Stop."""
        self._write(self._switch, "0")
        os.rmdir(self._instance)


class PurgeTrace(EventTrace):
    """Records when a CPU is asked to free the packets that were left to it."""

    EVENT = "csd/csd_function_entry"
    _FUNCTION = "func=trigger_rx_softirq"

    def __init__(self):
        super().__init__(self.EVENT)

    def count(self):
        """How often so far."""
        return self.text().count(self._FUNCTION)
