#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
Who may bind: whoever has CAP_NET_ADMIN over the network namespace of the
netlink socket, both the one who opened the socket and the one who sends.
"""

import ctypes
import errno
import os
import struct
import traceback

from lib.py import (KsftNamedVariant, NetNS, NetNSEnter, NlError, Udmabuf,
                    bind_request, bound_queues, defer, dmabufs, ip, ksft_eq,
                    ksft_exit, ksft_ne, ksft_run, ksft_variants,
                    leaves_nothing, netdev_family, page_pools, run_in_env)

BUF_SIZE = 1 << 20
NOBODY = 65534
CAP_NET_ADMIN = 12
CAP_SYS_ADMIN = 21
CAP_NET_RAW = 13
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
# what a child reports when it fails in another way
BROKEN = 255


def _keep_capabilities(*wanted):
    """Give up all capabilities of this process but these."""
    libc = ctypes.CDLL(None, use_errno=True)
    mask = sum(1 << number for number in wanted)
    words = [mask & 0xffffffff, mask >> 32]
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    # effective, permitted, inheritable: the lower halves, then the upper ones
    data = struct.pack("=6I", words[0], words[0], 0, words[1], words[1], 0)
    if libc.capset(header, data):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _errno_of(call, *args):
    try:
        call(*args)
    except NlError as error:
        return error.error
    return 0


def _in_child(func):
    """What @func returns, a number below 255, in a child process."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        result = BROKEN
        try:
            result = func()
        except BaseException:                 # pylint: disable=W0718
            traceback.print_exc()
        finally:
            os.write(tell, bytes([result]))
            os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        result = pipe.read(1)
    os.waitpid(child, 0)
    return result[0] if result else BROKEN


class Request:
    """A request that would be granted, and the means to send it."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.dmabuf = Udmabuf(BUF_SIZE)
        defer(self.dmabuf.close)
        self.attrs = bind_request(cfg.ifindex, self.dmabuf.fd, cfg.queues)
        # read before anything is given up: others may not read the spec
        with netdev_family():
            pass

    def send(self, family=None):
        """Bind; returns the errno. The binding ends with the process."""
        return _errno_of((family or netdev_family()).bind_rx, self.attrs)

    def check_nothing(self):
        """The request must not have had any effect."""
        cfg = self.cfg
        ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
        ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])
        ksft_eq(dmabufs().get(self.dmabuf.inode), [])


@ksft_variants([
    KsftNamedVariant("none", (), errno.EPERM),
    KsftNamedVariant("sys_admin", (CAP_SYS_ADMIN, CAP_NET_RAW), errno.EPERM),
    KsftNamedVariant("net_admin", (CAP_NET_ADMIN,), 0),
])
@leaves_nothing
def capability(cfg, capabilities, error):
    """EPERM without CAP_NET_ADMIN, which is enough."""
    request = Request(cfg)

    def child():
        _keep_capabilities(*capabilities)
        return request.send()

    ksft_eq(_in_child(child), error)
    if error:
        request.check_nothing()


@leaves_nothing
def other_user(cfg):
    """EPERM for an ordinary user."""
    request = Request(cfg)

    def child():
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return request.send()

    ksft_eq(_in_child(child), errno.EPERM)
    request.check_nothing()


@leaves_nothing
def sender_counts(cfg):
    """EPERM for a sender without the right, on a socket of one who has it."""
    request = Request(cfg)
    family = netdev_family()

    def child():
        _keep_capabilities()
        return request.send(family)

    ksft_eq(_in_child(child), errno.EPERM)
    # the socket is shared with the child: it is the parent that counts now
    ksft_eq(request.send(family), 0)
    ksft_ne(bound_queues(cfg.netdev, cfg.ifindex), {})
    family.close()


@leaves_nothing
def opener_counts(cfg):
    """EPERM for a sender with the right, on a socket of one without it."""
    request = Request(cfg)

    def child():
        os.seteuid(NOBODY)
        family = netdev_family()
        os.seteuid(0)
        return request.send(family)

    ksft_eq(_in_child(child), errno.EPERM)
    request.check_nothing()


@leaves_nothing
def permission_is_first(cfg):
    """EPERM comes before anything that is wrong with the request."""
    request = Request(cfg)
    bad = [{**request.attrs, "ifindex": 0}, {**request.attrs, "fd": 1 << 20},
           {**request.attrs, "rx-page-size": 1},
           {"ifindex": cfg.ifindex}, {}]

    def child():
        _keep_capabilities()
        family = netdev_family()
        wrong = [attrs for attrs in bad
                 if _errno_of(family.bind_rx, attrs) != errno.EPERM]
        return len(wrong)

    ksft_eq(_in_child(child), 0, "requests that got another errno")
    request.check_nothing()


@leaves_nothing
def own_user_ns(cfg):
    """EPERM for the root of a user namespace that does not own the netns."""
    request = Request(cfg)

    def child():
        os.unshare(os.CLONE_NEWUSER)
        return request.send()

    ksft_eq(_in_child(child), errno.EPERM)
    request.check_nothing()


@leaves_nothing
def own_netns(cfg):
    """
    The root of a user namespace may ask in its own netns, where nothing is to
    be had: neither the NIC, nor lo, which has no queue management.
    """
    request = Request(cfg)

    def child():
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        return request.send()

    def child_lo():
        os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
        request.attrs["ifindex"] = 1
        return request.send()

    ksft_eq(_in_child(child), errno.ENODEV)
    ksft_eq(_in_child(child_lo), errno.EOPNOTSUPP)
    request.check_nothing()


@leaves_nothing
def opener_of_other_netns(cfg):
    """It is the socket's netns that counts, not where its user is now."""
    request = Request(cfg)
    family = netdev_family()
    with NetNS() as other:
        with NetNSEnter(other.name):
            ksft_eq(request.send(family), 0)
            ksft_ne(bound_queues(cfg.netdev, cfg.ifindex), {})
            family.close()
            stranger = netdev_family()
        ksft_eq(request.send(stranger), errno.ENODEV)
        stranger.close()


@leaves_nothing
def anybody_may_look(cfg):
    """queue-get and page-pool-get are for all, as other statistics are."""
    request = Request(cfg)
    family = netdev_family()
    ksft_eq(request.send(family), 0)

    def child():
        os.setresuid(NOBODY, NOBODY, NOBODY)
        with netdev_family() as mine:
            queues = bound_queues(mine, cfg.ifindex)
            pools = page_pools(mine, cfg.ifindex)
        return 0 if sorted(queues) == cfg.queues and pools else 1

    ksft_eq(_in_child(child), 0)
    family.close()


@leaves_nothing
def bind_tx(cfg):
    """
    bind-tx needs no capability, for it changes nothing that others see. The
    build in Rust does not have it yet, and says so rather than EPERM.
    """
    request = Request(cfg)
    attrs = {key: request.attrs[key] for key in ("ifindex", "fd")}

    def child():
        _keep_capabilities()
        return _errno_of(netdev_family().bind_tx, attrs)

    ksft_eq(_in_child(child), errno.EOPNOTSUPP if cfg.is_rust else 0)
    attrs["ifindex"] = ip("link show dev lo", json=True)[0]["ifindex"]
    ksft_eq(_in_child(child), errno.EOPNOTSUPP)


CASES = [
    capability,
    other_user,
    sender_counts,
    opener_counts,
    permission_is_first,
    own_user_ns,
    own_netns,
    opener_of_other_netns,
    anybody_may_look,
    bind_tx,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
