#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Moves TCP streams into a dma-buf, between two gVNICs of this guest.

Each NIC gets a network namespace. In one, `ncdevmem serve` binds a udmabuf to
RX queues and receives, verifying every byte where it landed; in the other,
`ncdevmem send` sends a pattern. Then the binding goes, and every niov has to
be back and the dma-buf released. DIR/run.json has the figures. The exit
status is 0 only if all of that held.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from guestlib import nic                             # noqa: E402
from guestlib.errors import GuestError               # noqa: E402
from guestlib.places import Places                   # noqa: E402
from guestlib.release import Release                 # noqa: E402
from guestlib.transfer import COUNTS, Job, transfer  # noqa: E402

# RX queues beside the bound ones; RSS spreads all other traffic over them.
OTHER_QUEUES = 2


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR",
                        help="folder for the results")
    parser.add_argument("--bytes", type=int, default=256 << 20, metavar="N",
                        help="payload in all, shared by the address families")
    parser.add_argument("--flows", type=int, default=4, metavar="N",
                        help="TCP connections at a time")
    parser.add_argument("--queues", type=int, default=2, metavar="N",
                        help="RX queues to bind; never queue 0")
    parser.add_argument("--mtu", type=int, default=1500, metavar="BYTES")
    parser.add_argument("--impl", choices=("rust", "c"), default="rust",
                        help="implementation that the kernel is built with (checked)")
    parser.add_argument("--families", default="4,6", metavar="LIST",
                        help="address families, one transfer each")
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        help="the host's cache (default: DEVMEM_CACHE, or "
                        "devmem-rust below XDG_CACHE_HOME or ~/.cache)")
    args = parser.parse_args()
    args.families = args.families.split(",")
    if not set(args.families) <= {"4", "6"}:
        parser.error("--families takes 4, 6 or both")
    for name in ("bytes", "flows", "queues"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} has to be at least 1")
    return args


def say(text):
    """A line of progress, with the time since the program started."""
    print(f"[{time.monotonic() - STARTED:6.1f}] {text}", flush=True)


def shares(total, count):
    """`total` split into `count` parts that add up to it."""
    return [total * (i + 1) // count - total * i // count for i in range(count)]


def check_impl(library, impl):
    """The kernel has to be what the results will say that it is."""
    os.environ["DEVMEM_IMPL"] = impl
    try:
        library.env.running_impl()
    except RuntimeError as error:
        raise GuestError(str(error)) from None


def run(args):
    """Set up, transfer, check; returns (record, what is wrong)."""
    places = Places(args.cache)
    ncdevmem = places.ncdevmem
    library = places.import_selftest_library()
    check_impl(library, args.impl)
    bound = tuple(range(OTHER_QUEUES, OTHER_QUEUES + args.queues))
    say(f"two gVNICs, MTU {args.mtu}, {OTHER_QUEUES + args.queues} RX queues on the server's")
    nic.setup(args.mtu, OTHER_QUEUES + args.queues)
    nic.prepare_devmem(nic.SERVER, bound)
    say(f"header split on, RX queues {', '.join(map(str, bound))} kept free for device memory")
    release = Release(library)

    record = {
        "impl": args.impl,
        "kernel": os.uname().release,
        "families": [f"ipv{version}" for version in args.families],
        "queues": args.queues,
        "flows": args.flows,
        "mtu": args.mtu,
        **dict.fromkeys(COUNTS, 0),
        "verified": True,
        "niovs_leaked": 0,
        "seconds": 0.0,
    }
    wrong = []
    for version, share in zip(args.families, shares(args.bytes, len(args.families))):
        job = Job(version, share, args.flows, bound, args.impl)
        say(f"IPv{version}: {share / (1 << 20):.1f} MiB in {args.flows} flows")
        served, failed = transfer(ncdevmem, job, args.out, say)
        wrong += failed
        for key in COUNTS:
            record[key] += served[key]
        record["seconds"] += served["seconds"]
        record["verified"] = record["verified"] and served["verified"] is True
        leaked, left = release.check()
        record["niovs_leaked"] += leaked
        # a dma-buf that is held with no niov out is as bad
        if left and not leaked:
            record["niovs_leaked"] += 1
        wrong += left
        say(f"IPv{version}: {served['bytes_devmem']} of {served['bytes_total']} bytes in device "
            f"memory, {served['frags']} frags, {served['seconds']:.1f} s; " +
            ("all niovs back, dma-buf released" if not left else "; ".join(left)))
    record["mib_per_s"] = record["bytes_total"] / (1 << 20) / max(record["seconds"], 1e-9)
    if not record["verified"]:
        wrong.append("not every byte was verified")
    if record["bytes_total"] != args.bytes:
        wrong.append(f"{record['bytes_total']} bytes came, {args.bytes} were sent")
    return record, wrong


def main():
    """Run and write the record."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    record, wrong = run(args)
    (args.out / "run.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for sentence in wrong:
        print(f"error: {sentence}", file=sys.stderr, flush=True)
    return 1 if wrong else 0


STARTED = time.monotonic()

if __name__ == "__main__":
    try:
        sys.exit(main())
    except GuestError as failure:
        print(f"error: {failure}", file=sys.stderr, flush=True)
        sys.exit(1)
