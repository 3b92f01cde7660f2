#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the base's tcp_mmap for some seconds; by itself it would send 32 GiB.

Its receiver maps the pages of packets into its address space, over loopback;
it says how much it received, and how much of that it mapped. The sender is
stopped, the receiver reads to the end of the stream.

To be called in the test's folder: short_mmap.py TEST
"""

import re
import signal
import subprocess
import sys
import time

SECONDS = 5
# A payload of a page beside TCP's timestamps: else there is nothing to map.
MSS = 4096 + 12
FAMILIES = ("4", "6")
ADDRESS = {"4": "127.0.0.1", "6": "::1"}
_RECEIVED = re.compile(r"received (\S+) MB \((\S+) % mmap'ed\)")


def received(program, family):
    """(MiB, percent mapped) of one stream; None if the receiver did not say."""
    options = [f"-{family}", "-H", ADDRESS[family], "-M", str(MSS), "-z"]
    # It never ends by itself, and so never flushes what it said.
    with subprocess.Popen(["stdbuf", "-oL", program, "-s", *options],
                          stdout=subprocess.PIPE, text=True) as receiver:
        time.sleep(1)
        with subprocess.Popen([program, *options]) as sender:
            time.sleep(SECONDS)
            sender.send_signal(signal.SIGKILL)
        time.sleep(SECONDS)
        receiver.terminate()
        match = _RECEIVED.search(receiver.stdout.read())
    return tuple(map(float, match.groups())) if match else None


def main():
    """TAP: whether data came, and whether pages were mapped."""
    number = 0
    failed = False
    print(f"1..{2 * len(FAMILIES)}")
    for family in FAMILIES:
        megabytes, mapped = received(sys.argv[1], family) or (0, 0)
        print(f"# {megabytes} MiB, {mapped} % mapped", flush=True)
        for what, good in ("received", megabytes > 1), ("mapped", mapped > 0):
            number += 1
            failed |= not good
            print(f"{'ok' if good else 'not ok'} {number} tcp_mmap.{what}.{family}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
