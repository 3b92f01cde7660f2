#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The NIC is given other rings, other channels, another MTU, or is reset, while
a binding is on two of its queues, tokens are out and a stream runs: the
binding is there afterwards, or the change is refused and nothing happened.
"""

from lib.py import (CmdExitFailure, Flow, KsftNamedVariant, KsftXfailEx,
                    MIB, Receiver, Traffic, base_fails, bound_queues, defect,
                    defer, ethtool, ip, ksft_eq, ksft_exit, ksft_ge, ksft_in,
                    ksft_ne, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, run_in_env, wait_for)

KEEP = 8
PROGRESS = 64 << 10


class Bound:
    """A binding on cfg.queues, with a stream that never stops."""

    def __init__(self, cfg, ipver="4"):
        self.cfg = cfg
        # bigger rings have to find enough niovs
        self.dmabuf, self.binding = cfg.bind(24 * MIB)
        sock, sender = cfg.connect(ipver)
        self.port = sock.getsockname()[1]
        self.flow = Flow(Receiver(sock, self.dmabuf, self.binding.id), sender,
                         KEEP)
        self.traffic = Traffic([self.flow])
        defer(self.close)
        self.progress("dmabuf")
        ksft_eq(len(self.flow.held), KEEP)

    def progress(self, kind):
        """Wait for the stream to move, all of it into this kind of memory."""
        self.traffic.wait_progress([self.flow], PROGRESS)
        before = dict(self.flow.receiver.kinds)
        self.traffic.wait_progress([self.flow], PROGRESS)
        after = self.flow.receiver.kinds
        ksft_eq({k for k in after if after[k] != before[k]}, {kind})

    def check(self):
        """The binding is on its queues, its tokens are good, and it works."""
        cfg = self.cfg
        ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
                {queue: self.binding.id for queue in cfg.queues})
        self.progress("dmabuf")

    def close(self):
        """Give the tokens back, stop, unbind."""
        self.traffic.stop()
        self.flow.release_held()
        self.flow.close()
        self.binding.close()


def _others(number):
    """Other counts than this one, which the NIC has to support too."""
    return number // 2, number * 2


@ksft_variants(["rx", "tx"])
@leaves_nothing
def rings(cfg, which):
    """Smaller and bigger rings are carried over."""
    bound = Bound(cfg)
    before = cfg.rings()[which]
    defer(ethtool, f"-G {cfg.ifname} {which} {before}")
    for size in _others(before):
        ethtool(f"-G {cfg.ifname} {which} {size}")
        cfg.wait_carrier()
        ksft_eq(cfg.rings()[which], size)
        bound.check()


def counts_refused(cfg, counts):
    """Whether ethtool says that the bound queue has to stay."""
    try:
        ethtool(f"-L {cfg.ifname} {counts}")
    except CmdExitFailure as refusal:
        return "too low for existing" in refusal.cmd.stderr
    return False


@ksft_variants([
    KsftNamedVariant("more_rx", "rx", 2),
    KsftNamedVariant("more_tx", "tx", 1),
    KsftNamedVariant("fewer_tx", "tx", -1),
])
@leaves_nothing
def channels(cfg, which, change):
    """More RX queues, and more or fewer TX queues, are carried over."""
    bound = Bound(cfg, "6")
    key = f"{which}-count"
    before = cfg.channels()[key]
    most = cfg.channels()[f"{which}-max"]
    wanted = before + change
    if not 0 < wanted <= most:
        wanted = before - change
    if which == "tx" and not cfg.is_fixed:
        # the unfixed base refuses it, since the last RX queue is bound: see
        # enough_channels
        ksft_true(counts_refused(cfg, f"{which} {wanted}"))
        bound.check()
        return
    defer(ethtool, f"-L {cfg.ifname} {which} {before}")
    ethtool(f"-L {cfg.ifname} {which} {wanted}")
    cfg.wait_carrier()
    ksft_eq(cfg.channels()[key], wanted)
    bound.check()
    if which == "rx" and not cfg.is_fixed:
        # the unfixed base refuses it: see enough_channels
        bound.close()
        return
    ethtool(f"-L {cfg.ifname} {which} {before}")
    cfg.wait_carrier()
    bound.check()


@leaves_nothing
def too_few_channels(cfg):
    """A bound queue cannot be taken away; the attempt changes nothing."""
    bound = Bound(cfg)
    before = cfg.channels()
    for count in {cfg.queues[-1], cfg.queues[0]}:
        try:
            ethtool(f"-L {cfg.ifname} rx {count}")
            ksft_true(False, f"{count} RX queues leave a bound one out")
        except CmdExitFailure as refusal:
            ksft_ne(refusal.cmd.ret, 0)
            # of a memory provider, or of an n-tuple rule
            ksft_in("too low for existing", refusal.cmd.stderr)
        ksft_eq(cfg.channels(), before)
        bound.check()


@leaves_nothing
def enough_channels(cfg):
    """
    A queue above the bound ones can be taken away, and comes back.

    The unfixed base counts wrong and wants one queue more than it needs; see
    ethtool_check_max_channel().
    """
    before, first = cfg.rx_queues(), cfg.queues[0]
    dmabuf, binding = cfg.bind(queues=[first])
    sock, sender = cfg.connect("4", first)
    flow = Flow(Receiver(sock, dmabuf, binding.id), sender, KEEP)
    traffic = Traffic([flow])
    defer(ethtool, f"-L {cfg.ifname} rx {before}")
    try:
        for count in (first + 1, before):
            traffic.wait_progress([flow], PROGRESS)
            try:
                ethtool(f"-L {cfg.ifname} rx {count}")
            except CmdExitFailure as refusal:
                if cfg.is_fixed:
                    raise
                ksft_in("memory provider", refusal.cmd.stderr)
                ksft_eq(cfg.rx_queues(), before)
                defect(True, f"{count} channels are refused for a binding on "
                       f"queue {first}")
                raise KsftXfailEx("the unfixed base is off by one") from None
            cfg.wait_carrier()
            ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {first: binding.id})
        traffic.wait_progress([flow], PROGRESS)
        ksft_eq(flow.receiver.kinds["plain"], 0)
    finally:
        traffic.stop()
        flow.close()


@leaves_nothing
def mtu(cfg):
    """Another MTU, while packets of the old one are under way."""
    bound = Bound(cfg)
    before = cfg.dev["mtu"]
    defer(ip, f"link set dev {cfg.ifname} mtu {before}")
    for value in (4000, 1400, before):
        ip(f"link set dev {cfg.ifname} mtu {value}")
        cfg.wait_carrier()
        bound.check()


@leaves_nothing
def rings_while_down(cfg):
    """A ring size that is set while the link is down serves the binding too."""
    bound = Bound(cfg)
    before = cfg.rings()["rx"]
    defer(ethtool, f"-G {cfg.ifname} rx {before}")
    cfg.link_down()
    try:
        ethtool(f"-G {cfg.ifname} rx {before // 2}")
    finally:
        cfg.link_up()
    bound.check()


@leaves_nothing
@base_fails("panics (NULL pointer dereference in gve_get_rx_queue_stats)")
def statistics_while_down(cfg):
    """Anybody may ask for the queues' statistics when there are no queues."""
    bound = Bound(cfg)
    cfg.link_down()
    try:
        for scope in ({}, {"scope": "queue"}):
            found = cfg.netdev.qstats_get({"ifindex": cfg.ifindex, **scope},
                                          dump=True)
            ksft_eq([entry for entry in found if entry.get("rx-bytes")], [])
    finally:
        cfg.link_up()
    bound.check()
    found = cfg.netdev.qstats_get({"ifindex": cfg.ifindex}, dump=True)
    ksft_ge(sum(entry["rx-bytes"] for entry in found), PROGRESS)


def _after_reset(cfg, bound):
    """
    The stream survives; n-tuple rules and RSS are the device's, and gone. Once
    they are there again, so is device memory.
    """
    cfg.wait_carrier()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: bound.binding.id for queue in cfg.queues})
    bound.traffic.wait_progress([bound.flow], PROGRESS)
    cfg.rules.clear()
    cfg.set_up()
    cfg.wait_carrier()
    cfg.steer("4", bound.port, cfg.queues[0])
    # what came before, of either kind, waits in the socket
    bound.traffic.drain()
    bound.check()


@leaves_nothing
def reset_by_user(cfg):
    """ethtool --reset, under traffic and with tokens out."""
    bound = Bound(cfg)
    before = cfg.resets()
    ethtool(f"--reset {cfg.ifname} all")
    ksft_eq(cfg.resets(), before + 1)
    _after_reset(cfg, bound)


@leaves_nothing
def reset_by_device(cfg):
    """The device asks for a reset, under traffic and with tokens out."""
    bound = Bound(cfg)
    before = cfg.resets()
    with cfg.faults("reset-request=after-ms=100,port=0"):
        ksft_true(wait_for(lambda: cfg.resets() > before, 30),
                  "the driver does not reset the device")
    _after_reset(cfg, bound)


@leaves_nothing
def link_flaps(cfg):
    """The link goes away for a moment, by itself: the binding does not care."""
    bound = Bound(cfg)
    before = cfg.carrier_losses()
    with cfg.faults("link-flap=after-ms=100,down-ms=500,port=0"):
        ksft_true(wait_for(lambda: cfg.carrier_losses() > before, 30),
                  "the link does not go down")
        cfg.wait_carrier()
    bound.check()


CASES = [
    rings,
    channels,
    too_few_channels,
    enough_channels,
    mtu,
    rings_while_down,
    statistics_while_down,
    reset_by_user,
    reset_by_device,
    link_flaps,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
