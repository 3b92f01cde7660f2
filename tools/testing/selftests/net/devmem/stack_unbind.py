#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
What can go wrong when a queue is restarted to lose its memory provider, or to
get one: no interface, no memory, a device that refuses. The queue must end up
on ordinary memory, the NIC must go on, and the kernel has no reason to warn.
"""

import os
import time

from lib.py import (Binding, KsftNamedVariant, KsftSkipEx, NetdevFamily,
                    NlError, Receiver, Udmabuf, bind_request, bound_queues,
                    defer, dmabufs, ethtool, ip, ksft_eq, ksft_exit, ksft_ge,
                    ksft_pr, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, page_pools, run_in_env, send, try_bind,
                    wait_for)

FAILSLAB = "/sys/kernel/debug/failslab"
SIZE = 5000


def needs_fixes(func):
    """Decorator: the base warns here, or does not get over it."""
    def wrapper(cfg, *args):
        if not cfg.is_rust and not os.environ.get("DEVMEM_TRY_DEFECTS"):
            raise KsftSkipEx("the base, without patches/fixes, warns, and "
                             "leaves the queue or the NIC as it is (defects "
                             "8, 17, 20)")
        return func(cfg, *args)
    wrapper.__name__ = func.__name__
    wrapper.__doc__ = func.__doc__
    return wrapper


def _bind(cfg):
    """A binding whose buffer is closed: unbinding is all that keeps it."""
    dmabuf = Udmabuf(4 << 20)
    binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    defer(binding.close)
    inode = dmabuf.inode
    dmabuf.close()
    return binding, inode


def _check_gone(cfg, inode):
    """No queue, no page pool and no attachment is left of a binding."""
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), 20)
    ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])
    wait_for(lambda: inode not in dmabufs(), 20)
    ksft_true(inode not in dmabufs(), "the dma-buf is still held")


def _check_traffic(cfg):
    """The queues take ordinary traffic, and a new binding."""
    for queue in cfg.queues:
        sock, sender = cfg.connect("4", queue)
        receiver = Receiver(sock, None, 0)
        send(sender, 0, SIZE).finish()
        receiver.receive_all(SIZE)
        ksft_eq(receiver.kinds["plain"], SIZE)
    receiver, sender, _ = cfg.stream("4")
    send(sender, 0, SIZE).finish()
    receiver.receive_all(SIZE)
    ksft_eq(receiver.kinds["dmabuf"], SIZE)


def _up(cfg):
    ip(f"link set dev {cfg.ifname} up")
    _wait_up(cfg)


def _wait_up(cfg):
    """Wait for the carrier, which a reset takes away for a moment."""
    wait_for(lambda: ip(f"link show dev {cfg.ifname}",
                        json=True)[0]["operstate"] == "UP", 60)
    ksft_eq(ip(f"link show dev {cfg.ifname}", json=True)[0]["operstate"], "UP")
    # the device forgets it with a reset
    ethtool(f"-X {cfg.ifname} equal {cfg.queues[0]}")


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
    _check_gone(cfg, inode)
    up_again.exec()
    _check_traffic(cfg)


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
        _check_gone(cfg, inode)
    ksft_pr(f"{failed} different allocations failed")
    ksft_ge(failed, 3)
    _check_traffic(cfg)


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
        _check_gone(cfg, inode)
    ksft_pr(f"{refused} requests were refused")
    ksft_ge(refused, 3)
    _check_traffic(cfg)


def _device_fails(cfg, command):
    """While this context lasts, the device refuses one such admin command."""
    return cfg.faults(f"admin-fail=port=0,opcode={command},count=1")


@ksft_variants([KsftNamedVariant("stop", "DESTROY_RX_QUEUE"),
                KsftNamedVariant("start", "CREATE_RX_QUEUE")])
@leaves_nothing
@needs_fixes
def device_fails_on_unbind(cfg, command):
    """
    The device refuses to stop or to start a queue on unbind: the driver
    resets it, and has all queues again.
    """
    binding, inode = _bind(cfg)
    with _device_fails(cfg, command):
        binding.close()
        time.sleep(1)
    _wait_up(cfg)
    _check_gone(cfg, inode)
    _check_traffic(cfg)


@ksft_variants([KsftNamedVariant("stop", "DESTROY_RX_QUEUE"),
                KsftNamedVariant("start", "CREATE_RX_QUEUE")])
@leaves_nothing
@needs_fixes
def device_fails_on_bind(cfg, command):
    """The same on bind, which is refused."""
    dmabuf = Udmabuf(1 << 20)
    defer(dmabuf.close)
    with _device_fails(cfg, command):
        error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, cfg.queues))
        time.sleep(1)
    ksft_true(error is not None, "the bind should have failed")
    _wait_up(cfg)
    inode = dmabuf.inode
    dmabuf.close()
    _check_gone(cfg, inode)
    _check_traffic(cfg)


CASES = [
    while_down,
    no_memory,
    no_memory_to_bind,
    device_fails_on_unbind,
    device_fails_on_bind,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
