# SPDX-License-Identifier: GPL-2.0
"""Asks a running QEMU where the processors of its guest are, by QMP."""

import json
import socket

# Seconds for an answer: QEMU itself may hang.
PATIENCE = 10
QUESTIONS = ("info registers -a", "info lapic 0", "info lapic 1", "info pic", "info irq")


def option(path):
    """For QEMU's command line: to listen at `path`."""
    return f"-qmp unix:{path},server=on,wait=off"


def where(path):
    """What the monitor says of processors and interrupts, or why it says nothing."""
    said = []
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            link.connect(str(path))
            with link.makefile("rw") as lines:
                lines.readline()  # the greeting
                _ask(lines, "qmp_capabilities")
                for question in QUESTIONS:
                    answer = _ask(lines, "human-monitor-command", **{"command-line": question})
                    said.append(f"{question}\n{answer}")
    except (OSError, ValueError) as error:
        said.append(f"QEMU says no more: {error}")
    return "\n".join(said)


def _ask(lines, command, **arguments):
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while line := lines.readline():
        answer = json.loads(line)
        if "event" not in answer:  # those come in between
            return answer.get("return") or answer.get("error")
    raise OSError("it closed the connection")
