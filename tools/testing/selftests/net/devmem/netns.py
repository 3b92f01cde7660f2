#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
The NIC's network namespace: the NIC is moved to another one while it is bound,
and the one that NIC, binding and sockets are in is deleted under traffic.
"""

import contextlib

from lib.py import (Flow, MIB, NetNSEnter, Nic, Receiver, Traffic,
                    bound_queues, defer, dmabufs, give_up_soon, holding, ip,
                    ksft_eq, ksft_exit, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, netdev_family, run_in_env, send, wait_for)

# Tokens that are out meanwhile.
KEEP = 8
# Bytes that the stream has to move before and after.
PROGRESS = 20000


class Elsewhere:
    """A network namespace that the NIC can be moved to."""

    NAME = "devmem-doomed"

    def __init__(self, cfg):
        self._cfg = cfg
        self._there = True
        ip(f"netns add {self.NAME}")
        defer(self.delete)

    def take(self):
        """Move the NIC there; returns its ifindex."""
        ip(f"link set dev {self._cfg.ifname} netns {self.NAME}")
        return ip(f"link show dev {self._cfg.ifname}", json=True,
                  ns=self.NAME)[0]["ifindex"]

    def set_up(self):
        """Link and addresses; header split and such have come along."""
        cfg = self._cfg
        ip(f"link set dev {cfg.ifname} up", ns=self.NAME)
        ip(f"addr add {cfg.addr_v['4']}/24 dev {cfg.ifname}", ns=self.NAME)
        ksft_true(wait_for(lambda: ip(
            f"link show dev {cfg.ifname}", json=True,
            ns=self.NAME)[0]["operstate"] == "UP", 20), "no carrier")

    def delete(self):
        """Delete its name; it ends with the last socket in it."""
        if self._there:
            self._there = False
            ip(f"netns del {self.NAME}")


@leaves_nothing
def deleted(cfg, nic):
    """
    The netns of NIC, binding and sockets is deleted under traffic. Sockets pin
    it, so it goes on until the last one is closed, which is the netlink socket;
    the NIC then lands in init_net, unbound.
    """
    doomed = Elsewhere(cfg)
    with contextlib.ExitStack() as undo:
        undo.callback(nic.restore)
        undo.callback(setattr, cfg, "ifindex", cfg.ifindex)
        cfg.ifindex = doomed.take()
        doomed.set_up()
        with NetNSEnter(doomed.NAME):
            dmabuf, binding = cfg.bind()
            undo.callback(binding.close)
            sock, sender = cfg.connect("4")
        flow = Flow(Receiver(sock, dmabuf, binding.id), sender, KEEP)
        undo.callback(flow.close)
        traffic = Traffic([flow])
        try:
            traffic.wait_progress([flow], PROGRESS)
            doomed.delete()
            traffic.wait_progress([flow], PROGRESS)
            ksft_eq(flow.receiver.kinds["plain"], 0)
            flow.close_receiver()
        finally:
            traffic.stop()
        ksft_eq(len(dmabufs()[dmabuf.inode]), 1)
        binding.close()
        ksft_true(wait_for(lambda: not dmabuf.is_held, 20),
                  "the binding must end with its socket")
    nic.check_works()


@ksft_variants(["before", "there", "after"])
@leaves_nothing
def moved(cfg, nic, unbind):
    """
    The NIC moves to another netns while it is bound and tokens are out, and
    comes to init_net when that netns is deleted. The binding comes along until
    the netlink socket is closed, here or there, and the tokens stay good.
    """
    doomed = Elsewhere(cfg)
    receiver, sender, binding = holding(cfg)
    give_up_soon(receiver.sock)
    dmabuf = receiver.dmabuf
    thread = send(sender, 20000, 8 * MIB)
    receiver.receive_all(MIB, keep=KEEP)
    try:
        if unbind == "before":
            binding.close()
        ifindex = doomed.take()
        doomed.set_up()
        with NetNSEnter(doomed.NAME):
            netdev = netdev_family()
            ksft_eq(sorted(bound_queues(netdev, ifindex)),
                    cfg.queues if unbind != "before" else [])
            # a socket would keep the netns
            netdev.sock.close()
        if unbind == "there":
            binding.close()
        ksft_true(dmabuf.is_held)
        doomed.delete()
        nic.wait_home()
        ksft_true(dmabuf.is_held)
        if unbind == "after":
            # C can only unbind from a NIC that is up (defect 8)
            if not cfg.is_rust:
                nic.home_up()
            binding.close()
        ksft_true(dmabuf.is_held, "tokens must hold the memory")
        receiver.release()
        receiver.sock.close()
        ksft_true(wait_for(lambda: not dmabuf.is_held, 20),
                  "the last token must end the binding")
    finally:
        thread.abandon()
        binding.close()
        nic.restore()
    nic.check_works()


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(
        [deleted, moved], args=(cfg, Nic(cfg))))
    ksft_exit()


if __name__ == "__main__":
    main()
