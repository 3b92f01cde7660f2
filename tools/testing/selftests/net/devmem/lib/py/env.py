# SPDX-License-Identifier: GPL-2.0

"""
The set-up that device memory TCP needs on the local NIC, and its undoing.
"""

import contextlib
import errno
import functools
import os
import re
import socket
import sys

from drivers.net.lib.py import NetDrvEpEnv
from net.lib.py import CmdExitFailure, EthtoolFamily, NetdevFamily, NetNSEnter
from net.lib.py import KsftFailEx, KsftSkipEx, cmd, defer, ethtool, ip
from net.lib.py import ksft_pr, ksft_true, wait_file

from .binding import Binding
from .faults import order
from .leftover import BUFINFO, Leftovers
from .stream import Receiver, Sender
from .udmabuf import UDMABUF_DEV, Udmabuf

MIB = 1 << 20


def running_impl():
    """
    "rust" or "c": which implementation the running kernel has.

    DEVMEM_IMPL says which one the caller means to test; a test that would
    silently run on the other is worth nothing, so they must agree.
    """
    found = None
    try:
        import gzip                           # pylint: disable=C0415
        with gzip.open("/proc/config.gz", "rt") as config:
            found = "rust" if "CONFIG_NET_DEVMEM_RUST=y\n" in config.read() \
                else "c"
    except FileNotFoundError:
        pass
    wanted = os.environ.get("DEVMEM_IMPL")
    if wanted and found and wanted != found:
        raise RuntimeError(f"DEVMEM_IMPL={wanted}, but the running kernel has "
                           f"the implementation in {found}")
    return wanted or found or "c"


class DevmemEnv(NetDrvEpEnv):
    """
    Local NIC with header split on, n-tuple rules on, and other traffic kept
    off the upper half of its RX queues; a remote end in another netns.

    Attributes:
      netdev: a NetdevFamily for looking around
      queues: RX queues to bind, never queue 0
      num_queues: RX queues of the NIC
      is_rust: the implementation under test is the one in Rust
      is_fixed: the base's code around it has our fixes; the implementation in
                Rust is never without, for that in C DEVMEM_FIXED=1 says so
      remote_ns: name of the remote end's network namespace
      rules: ids of the n-tuple rules that steer() made
    """

    def __init__(self, src_path):
        super().__init__(src_path, nsim_test=False)
        self.is_rust = running_impl() == "rust"
        self.is_fixed = self.is_rust or bool(os.environ.get("DEVMEM_FIXED"))
        self.netdev = NetdevFamily()
        self.ethnl = EthtoolFamily()
        self.rules = set()
        self._undo = []
        if self.env.get("REMOTE_TYPE") != "netns":
            raise KsftSkipEx("both ends are driven from one process: "
                             "REMOTE_TYPE must be netns")
        self.remote_ns = self.env["REMOTE_ARGS"]
        for needed in (UDMABUF_DEV, BUFINFO):
            if not os.path.exists(needed):
                raise KsftSkipEx(f"{needed} is missing")
        self.num_queues = self.rx_queues()
        if self.num_queues < 3:
            raise KsftSkipEx(f"{self.ifname} has {self.num_queues} RX queues,"
                             " 3 are needed")
        first = max(1, self.num_queues // 2)
        self.queues = list(range(first, self.num_queues))

    def __enter__(self):
        super().__enter__()
        old = self.rings()
        if "tcp-data-split" not in old:
            raise KsftSkipEx(f"{self.ifname} cannot split headers")
        self._undo.append(lambda: self.set_split(
            old["tcp-data-split"] == "enabled"))
        self._undo.append(lambda: ethtool(f"-X {self.ifname} default"))
        self.set_up()
        return self

    def __exit__(self, ex_type, ex_value, ex_tb):
        while self._undo:
            try:
                self._undo.pop()()
            except CmdExitFailure as error:
                ksft_pr(f"clean-up failed: {error}")
        self.netdev.sock.close()
        self.ethnl.sock.close()
        super().__exit__(ex_type, ex_value, ex_tb)

    def _header(self):
        return {"header": {"dev-index": self.ifindex}}

    def set_up(self):
        """What device memory TCP needs of the NIC, beside its addresses."""
        self.set_split(True)
        ethtool(f"-K {self.ifname} ntuple on")
        ethtool(f"-X {self.ifname} equal {self.queues[0]}")

    def find_device(self):
        """Look the NIC up by its name again: its ifindex may be another."""
        self.dev = ip(f"-d link show dev {self.ifname}", json=True)[0]
        self.ifindex = self.dev["ifindex"]

    def set_addresses(self):
        """Give the NIC its addresses; those of IPv6 go with the link."""
        for ipver, size in (("4", 24), ("6", 64)):
            if self.addr_v[ipver]:
                cmd(f"ip -{ipver} addr replace {self.addr_v[ipver]}/{size} "
                    f"dev {self.ifname}" + (" nodad" if ipver == "6" else ""))

    def wait_carrier(self):
        """Wait until the link is there."""
        wait_file(f"/sys/class/net/{self.ifname}/carrier",
                  lambda x: x.strip() == "1", deadline=20)

    def link_down(self):
        """Take the NIC down, as an administrator would."""
        ip(f"link set dev {self.ifname} down")

    def link_up(self):
        """Bring the NIC up again, with its addresses, and wait for the link."""
        ip(f"link set dev {self.ifname} up")
        self.set_addresses()
        self.wait_carrier()

    def driver_counter(self, name):
        """A number that the driver counts, by its name in ethtool -S."""
        text = ethtool(f"-S {self.ifname}").stdout
        return int(re.search(rf"\b{re.escape(name)}: (\d+)", text).group(1))

    def resets(self):
        """How often the driver has reset the device."""
        return self.driver_counter("reset_cnt")

    def carrier_losses(self):
        """How often the link was lost."""
        path = f"/sys/class/net/{self.ifname}/carrier_down_count"
        with open(path, encoding="ascii") as count:
            return int(count.read())

    def channels(self):
        """Channel counts as ethtool netlink reports them."""
        return self.ethnl.channels_get(self._header())

    def rx_queues(self):
        """RX queues in use."""
        channels = self.channels()
        return channels.get("rx-count", 0) + channels.get("combined-count", 0)

    def use_rx_queues(self, count):
        """
        Another number of RX queues for the rest of the test case, of which
        queue 0 gets all traffic that is not steered.
        """
        before, queues = self.rx_queues(), self.queues
        self._resize(count, range(1, count))
        defer(self._resize, before, queues)

    def _resize(self, count, queues):
        self.queues = list(queues)
        ethtool(f"-X {self.ifname} equal 1")
        if self.rx_queues() != count:
            ethtool(f"-L {self.ifname} rx {count}")
        ethtool(f"-X {self.ifname} equal {self.queues[0]}")
        self.wait_carrier()

    def rings(self):
        """Ring parameters as ethtool netlink reports them."""
        return self.ethnl.rings_get(self._header())

    def use_rx_ring(self, size):
        """Another size of the RX rings for the rest of the test case."""
        before = self.rings()["rx"]
        ethtool(f"-G {self.ifname} rx {size}")
        defer(ethtool, f"-G {self.ifname} rx {before}")
        self.wait_carrier()

    def set_split(self, enabled):
        """Turn header split on or off."""
        self.ethnl.rings_set({**self._header(), "tcp-data-split":
                              "enabled" if enabled else "disabled"})

    def steer(self, ipver, port, queue, proto="tcp"):
        """Send a port to a queue for the rest of the test case."""
        output = ethtool(f"-N {self.ifname} flow-type {proto}{ipver} "
                         f"dst-port {port} action {queue}").stdout
        rule = int(re.search(r"ID (\d+)", output).group(1))
        self.rules.add(rule)
        return defer(self._unsteer, rule)

    def _unsteer(self, rule):
        # the rules of a device go with its driver and with a reset
        if rule in self.rules:
            self.rules.remove(rule)
            ethtool(f"-N {self.ifname} delete {rule}")

    @contextlib.contextmanager
    def faults(self, *lines):
        """
        Make the emulated NIC misbehave while the body runs.

        Lines are what `gvnic --fault` takes; port 0 is the local NIC. Skips the
        test where the NIC is another.
        """
        path = self.env.get("DEVMEM_FAULT_FILE")
        if not path:
            raise KsftSkipEx("DEVMEM_FAULT_FILE is not set: no faults to order")
        order(path, lines)
        try:
            yield
        finally:
            order(path, ())

    def bind(self, size=8 * MIB, queues=None):
        """A dma-buf and its binding, both until the end of the test case."""
        dmabuf = Udmabuf(size)
        defer(dmabuf.close)
        queues = self.queues if queues is None else queues
        binding = Binding(self.ifindex, dmabuf.fd, queues)
        defer(binding.close)
        return dmabuf, binding

    def connect(self, ipver="4", queue=None, rcvbuf=None):
        """
        A connection from the remote end, steered to @queue.

        Returns (receiving socket, sending socket), closed with the test case.
        """
        family = socket.AF_INET if ipver == "4" else socket.AF_INET6
        queue = self.queues[0] if queue is None else queue
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            if rcvbuf:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            listener.bind((self.addr_v[ipver], 0))
            listener.listen(1)
            port = listener.getsockname()[1]
            self.steer(ipver, port, queue)
            with NetNSEnter(self.remote_ns):
                sender = socket.socket(family, socket.SOCK_STREAM)
            defer(sender.close)
            sender.settimeout(60)
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sender.connect((self.addr_v[ipver], port))
            listener.settimeout(60)
            receiver, _ = listener.accept()
        receiver.setblocking(True)
        defer(receiver.close)
        return receiver, sender

    def stream(self, ipver="4", size=8 * MIB, queue=None, rcvbuf=None):
        """
        Bind a dma-buf and connect a stream that lands in it.

        Returns (Receiver, sending socket, Binding).
        """
        dmabuf, binding = self.bind(size)
        receiver, sender = self.connect(ipver, queue, rcvbuf)
        return Receiver(receiver, dmabuf, binding.id), sender, binding


def holding(cfg, ipver="4", size=8 * MIB, held=20000):
    """A stream whose receiver holds the tokens of its first @held bytes."""
    receiver, sender, binding = cfg.stream(ipver, size)
    send(sender, 0, held).finish()
    receiver.receive_all(held, keep=1 << 30)
    ksft_true(receiver.tokens, "the receiver must hold tokens")
    return receiver, sender, binding


def send(sender, start, size, chunk=1 << 16, flags=0):
    """Start sending stream bytes [start, start + size)."""
    thread = Sender(sender, start, size, chunk, flags)
    defer(thread.join, 1)
    return thread


def leaves_nothing(func):
    """
    Decorator of a test case: once the case has cleaned up, every niov must be
    back, every queue unbound, every dma-buf released, and the kernel silent.
    """
    @functools.wraps(func)
    def wrapper(cfg, *args):
        leftovers = Leftovers(cfg)
        # the queue is last in, first out: these two run after the rest
        defer(leftovers.close)
        defer(leftovers.check)
        return func(cfg, *args)
    return wrapper


def run_in_env(src_path, run):
    """Call @run with a DevmemEnv; a missing precondition skips the file."""
    try:
        with DevmemEnv(src_path) as cfg:
            run(cfg)
    except KsftSkipEx as reason:
        print("TAP version 13")
        print(f"1..0 # SKIP {reason}")
        sys.exit(4)


def tries_defects():
    """
    Whether DEVMEM_TRY_DEFECTS is set: the same is demanded of everyone then,
    and a case fails, or panics, where there is a defect.
    """
    return bool(os.environ.get("DEVMEM_TRY_DEFECTS"))


def defect(shows, how):
    """
    What is wrong with the implementation under test, as the test knows: it has
    to show, so that nobody goes on believing in it. It fails the case only for
    those who try defects.
    """
    if not tries_defects():
        ksft_true(shows, f"this defect is gone: {how}")
    elif shows:
        raise KsftFailEx(how)


def base_fails(how):
    """Decorator: the base, without our fixes, does not survive this case."""
    def decorate(func):
        @functools.wraps(func)
        def wrapper(cfg, *args):
            if not cfg.is_fixed and not tries_defects():
                raise KsftSkipEx(f"the base, without patches/fixes, {how}")
            return func(cfg, *args)
        return wrapper
    return decorate


# Decorator of what lets packets with linear parts pile up, so that GRO or the
# receive queue merges them: the linear part of a later one lies between
# unreadable frags then.
merges_packets = base_fails("fails for ever (ENODEV) on merged packets with "
                            "linear parts (defect 11)")


def os_error(func, *args, **kwargs):
    """errno of the OSError that a call raises, or 0."""
    try:
        func(*args, **kwargs)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
