#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What can go wrong when a queue is restarted to lose its memory provider, or to
get one: no interface, or no memory. The queue must end up on ordinary memory,
the NIC must go on, and the kernel has no reason to warn. queue_restart.py has
what the device can do wrong.
"""

import os

from lib.py import (Binding, KsftSkipEx, NetdevFamily, NlError, Udmabuf,
                    bind_request, check_gone, check_traffic, defer, ip,
                    ksft_exit, ksft_ge, ksft_pr, ksft_run, leaves_nothing,
                    needs_fixes, run_in_env, wait_up)

FAILSLAB = "/sys/kernel/debug/failslab"


def _bind(cfg):
    """A binding whose buffer is closed: unbinding is all that keeps it."""
    dmabuf = Udmabuf(4 << 20)
    binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    defer(binding.close)
    inode = dmabuf.inode
    dmabuf.close()
    return binding, inode


def _up(cfg):
    ip(f"link set dev {cfg.ifname} up")
    wait_up(cfg)


@leaves_nothing
@needs_fixes
def while_down(cfg):
    """Unbind with the interface down: there is nothing to restart."""
    addresses = cfg.addr_v["6"]
    binding, inode = _bind(cfg)
    defer(ip, f"-6 addr replace {addresses}/64 dev {cfg.ifname} nodad")
    up_again = defer(_up, cfg)
    ip(f"link set dev {cfg.ifname} down")
    binding.close()
    check_gone(cfg, inode)
    up_again.exec()
    check_traffic(cfg)


class _NoMemory:
    """Makes the @nth allocation from now on fail, in this thread."""

    def __init__(self, nth):
        self._nth = nth
        self._fd = None
        self.failed = False

    def __enter__(self):
        # open all the time: to open it again would count, and might fail
        self._fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
        os.write(self._fd, str(self._nth).encode())
        return self

    def __exit__(self, *_):
        # what is left of the count; 0 if it was reached
        self.failed = int(os.read(self._fd, 16)) == 0
        os.write(self._fd, b"0")
        os.close(self._fd)


def _prepare_failslab():
    if not os.path.isdir(FAILSLAB) or \
       not os.path.exists("/proc/self/fail-nth"):
        raise KsftSkipEx("CONFIG_FAILSLAB is off")
    for knob, value in (("ignore-gfp-wait", "N"), ("verbose", "0")):
        path = f"{FAILSLAB}/{knob}"
        with open(path, encoding="ascii") as file:
            old = file.read().strip()
        _write(path, value)
        defer(_write, path, old)


def _write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


@leaves_nothing
@needs_fixes
def no_memory(cfg):
    """
    Unbind with one allocation failing, the first, the second and so on: the
    queue loses the buffer a little later, when there is memory again.
    """
    _prepare_failslab()
    failed = 0
    for nth in (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22):
        binding, inode = _bind(cfg)
        with _NoMemory(nth) as memory:
            binding.close()
        failed += memory.failed
        check_gone(cfg, inode)
    ksft_pr(f"{failed} different allocations failed")
    ksft_ge(failed, 3)
    check_traffic(cfg)


@leaves_nothing
@needs_fixes
def no_memory_to_bind(cfg):
    """Bind with one allocation failing: refused, and nothing is left."""
    _prepare_failslab()
    refused = 0
    for nth in (1, 3, 5, 7, 9, 12, 16, 25, 40, 60):
        dmabuf = Udmabuf(1 << 20)
        request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
        netdev = NetdevFamily()
        netdev.sock.settimeout(60)
        with _NoMemory(nth):
            try:
                netdev.bind_rx(request)
            except (OSError, MemoryError, NlError):
                refused += 1
        netdev.sock.close()
        inode = dmabuf.inode
        dmabuf.close()
        check_gone(cfg, inode)
    ksft_pr(f"{refused} requests were refused")
    ksft_ge(refused, 3)
    check_traffic(cfg)


CASES = [
    while_down,
    no_memory,
    no_memory_to_bind,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
