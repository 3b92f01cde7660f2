#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the base's own tests in the guest, unmodified.

DIR/peer.jsonl gets a line for each test as soon as it ended, with all its
verdicts. What they are worth is for the host to say, which runs the same list
on the C and on the Rust implementation; the exit status is 0 if all ran.
"""

import argparse
import fnmatch
import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from guestlib import nic, peerlist                   # noqa: E402
from guestlib.errors import GuestError               # noqa: E402
from guestlib.peer import PREFIX_V6, PeerRunner      # noqa: E402
from guestlib.places import Places                   # noqa: E402

MTU = 1500
RX_QUEUES = 4


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="peer.py", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR",
                        help="folder for the results")
    parser.add_argument("--only", action="append", metavar="GLOB",
                        help="run only tests of such a name, as in 'net/tcp_ao/*'; "
                        "may be given more than once")
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        help="the host's cache (default: DEVMEM_CACHE, or "
                        "devmem-rust below XDG_CACHE_HOME or ~/.cache)")
    return parser.parse_args()


def main():
    """Those without the NICs first: they may use the NICs' addresses."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    places = Places(args.cache)
    library = places.import_selftest_library()
    say = lambda line: print(line, flush=True)       # noqa: E731
    runner = PeerRunner(places.base_selftests, args.out, library.KernelLog(), say)
    ran = 0
    with open(args.out / "peer.jsonl", "w", encoding="utf-8") as sink:
        def record(entry):
            sink.write(json.dumps(entry) + "\n")
            sink.flush()

        for tests in (peerlist.HOST, peerlist.NIC):
            tests = [test for test in tests if _wanted(test.name, args.only)]
            if tests and tests[0].nic:
                nic.setup(MTU, RX_QUEUES, server=nic.HOST)
                # Tests take the interface down, and the next one wants its address.
                for end in (nic.HOST, nic.CLIENT):
                    end.run(f"busybox sysctl -w net.ipv6.conf.{end.ifname}.keep_addr_on_down=1")
                nic.CLIENT.run(f"ip -6 route add {PREFIX_V6} via {nic.HOST.address['6']}")
            for test in tests:
                record(runner.run(test))
                ran += 1
    return 0 if ran else 1


def _wanted(name, globs):
    return not globs or any(fnmatch.fnmatch(name, glob) for glob in globs)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
