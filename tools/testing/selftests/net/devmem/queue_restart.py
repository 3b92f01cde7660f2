#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The NIC fails at a step of a queue's restart: it refuses to destroy or to create
the queue, does not answer, wants a reset or loses its link in the middle. The
queue is as it was or a reset mends it, whoever asked is told, the connection
of another queue survives, and the next binding works.
"""

from lib.py import (CmdExitFailure, Flow, KsftNamedVariant, MIB, Receiver,
                    Traffic, Udmabuf, bind_request, bound_queues, check_gone,
                    check_traffic, defer, ethtool, ksft_eq, ksft_exit, ksft_in,
                    ksft_ne, ksft_not_none, ksft_run, ksft_true,
                    ksft_variants, leaves_nothing, needs_fixes, run_in_env,
                    try_bind, wait_for, wait_up)

PROGRESS = 32 << 10
STEPS = [KsftNamedVariant("destroy", "DESTROY_RX_QUEUE"),
         KsftNamedVariant("create", "CREATE_RX_QUEUE")]


class Neighbour:
    """A connection on a queue that nobody binds."""

    def __init__(self, cfg, ipver="4"):
        sock, sender = cfg.connect(ipver, cfg.queues[0] - 1)
        self._flow = Flow(Receiver(sock, None, 0), sender)
        self._traffic = Traffic([self._flow])
        defer(self.close)
        self.check()

    def check(self):
        """It is still there, and moves data."""
        self._traffic.wait_progress([self._flow], PROGRESS)

    def close(self):
        """End it; raises what went wrong on the way."""
        self._traffic.stop()
        self._flow.close()


def _recover(cfg, inode, neighbour=None):
    """Whatever happened, all of it works again."""
    wait_up(cfg)
    check_gone(cfg, inode)
    if neighbour:
        neighbour.check()
    # a reset has taken the rules along
    cfg.rules.clear()
    cfg.set_up()
    check_traffic(cfg)


def _try_to_bind(cfg, fault):
    """Bind one queue with a fault in the device; it has to say why not."""
    dmabuf = Udmabuf(MIB)
    defer(dmabuf.close)
    with cfg.faults(fault):
        error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, cfg.queues[:1]))
    ksft_not_none(error, "the bind should have failed")
    if error is not None and cfg.is_rust:
        ksft_true(error.nl_msg.extack.get("msg"), "no message says why")
    inode = dmabuf.inode
    dmabuf.close()
    return inode


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def refused_on_bind(cfg, command):
    """The device refuses a step of a bind: so is the bind."""
    neighbour = Neighbour(cfg)
    inode = _try_to_bind(cfg, f"admin-fail=port=0,opcode={command}")
    _recover(cfg, inode, neighbour)


def _reset_mends(cfg, attempt, fault, deadline):
    """Attempt something with a fault that only a reset gets over."""
    neighbour = Neighbour(cfg)
    before = cfg.resets()
    inode = attempt(cfg, fault)
    ksft_true(wait_for(lambda: cfg.resets() > before, deadline), "no reset")
    _recover(cfg, inode, neighbour)


@leaves_nothing
@needs_fixes
def refused_twice(cfg):
    """The old memory is refused as well: a reset gives the queue new one."""
    _reset_mends(cfg, _try_to_bind,
                 "admin-fail=port=0,opcode=CREATE_RX_QUEUE,count=2", 30)


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def no_answer_on_bind(cfg, command):
    """Nobody knows what the device has done: only a reset can tell."""
    _reset_mends(cfg, _try_to_bind, f"admin-hang=port=0,opcode={command}", 60)


def _unbind(cfg, fault):
    """Bind, then unbind with a fault in the device."""
    dmabuf, binding = cfg.bind(MIB, cfg.queues[:1])
    with cfg.faults(fault):
        binding.close()
        wait_for(lambda: not bound_queues(cfg.netdev, cfg.ifindex), 60)
    inode = dmabuf.inode
    dmabuf.close()
    return inode


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def refused_on_unbind(cfg, command):
    """
    The device refuses a step of an unbind. Nobody can be told, and the queue
    must not keep the memory: the driver resets the device.
    """
    _reset_mends(cfg, _unbind, f"admin-fail=port=0,opcode={command}", 30)


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def no_answer_on_unbind(cfg, command):
    """The device does not answer during an unbind."""
    _reset_mends(cfg, _unbind, f"admin-hang=port=0,opcode={command}", 60)


def _bind_through(cfg, fault, happened, neighbour=None):
    """Bind a queue; the binding outlives what happens meanwhile."""
    queue = cfg.queues[0]
    with cfg.faults(fault):
        dmabuf, binding = cfg.bind(MIB, [queue])
        ksft_true(wait_for(happened, 30), f"no {fault.split('=')[0]}")
        wait_up(cfg)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    inode = dmabuf.inode
    binding.close()
    dmabuf.close()
    _recover(cfg, inode, neighbour)


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def reset_in_the_middle(cfg, command):
    """
    The device wants a reset during a bind: the binding is carried over. (No
    neighbour: without its rule, which a reset takes, it may hit the binding.)
    """
    before = cfg.resets()
    _bind_through(cfg, f"reset-request=port=0,opcode={command},"
                  f"queue={cfg.queues[0]}", lambda: cfg.resets() > before)


@ksft_variants(STEPS)
@leaves_nothing
@needs_fixes
def link_lost_in_the_middle(cfg, command):
    """The link goes down during a bind, and up: the binding stays."""
    neighbour = Neighbour(cfg)
    before = cfg.carrier_losses()
    _bind_through(cfg, f"link-flap=port=0,opcode={command},"
                  f"queue={cfg.queues[0]},down-ms=500",
                  lambda: cfg.carrier_losses() > before, neighbour)


@leaves_nothing
def split_under_traffic(cfg):
    """
    Header split goes off and on while data flows; not while a queue is bound.
    """
    neighbour = Neighbour(cfg, "6")
    for enabled in (False, True, False, True):
        cfg.set_split(enabled)
        cfg.wait_carrier()
        neighbour.check()
    dmabuf, binding = cfg.bind(MIB, cfg.queues[:1])
    try:
        ethtool(f"-G {cfg.ifname} tcp-data-split off")
        ksft_true(False, "header split can be switched off under a binding")
    except CmdExitFailure as refusal:
        ksft_ne(refusal.cmd.ret, 0)
        ksft_in("memory provider", refusal.cmd.stderr)
    neighbour.check()
    binding.close()
    dmabuf.close()
    check_traffic(cfg)


CASES = [
    refused_on_bind,
    refused_on_unbind,
    refused_twice,
    no_answer_on_bind,
    no_answer_on_unbind,
    reset_in_the_middle,
    link_lost_in_the_middle,
    split_under_traffic,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
