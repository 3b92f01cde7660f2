#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
bind-rx over YNL: what is granted and what is refused, with which errno,
message and attribute, and that a refusal leaves nothing behind. The shapes
that YNL does not write are in raw_netlink.py, the order of checks is in
errno_order.py, what a bound NIC refuses in guards.py.
"""

import errno
import os

from lib.py import (Binding, KsftNamedVariant, KsftSkipEx, NetdevFamily,
                    NlError, Udmabuf, base_fails, bind_request, bound_queues,
                    defer, dmabufs, ethtool, expect_refused, ip, ksft_eq,
                    ksft_exit, ksft_run, ksft_true, ksft_variants,
                    leaves_nothing, page_pools, run_in_env, try_bind, wait_for)
from lib.py.exporter import ExporterBuffer, load
from lib.py.faults import LOCAL, Faults

BUF_SIZE = 4 << 20


def _dmabuf():
    dmabuf = Udmabuf(BUF_SIZE)
    defer(dmabuf.close)
    return dmabuf


def _check_good_bind(cfg, dmabuf):
    """After a refusal the same buffer and queues must still be usable."""
    binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    defer(binding.close)
    ksft_eq(sorted(bound_queues(cfg.netdev, cfg.ifindex)), cfg.queues)


def _refuse(cfg, request, dmabuf, errno_want, **kwargs):
    """A request that must be refused and must leave nothing behind."""
    expect_refused(cfg, try_bind(request), errno_want, **kwargs)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    # a queue that was restarted onto the buffer gives its niovs back first
    wait_for(lambda: not page_pools(cfg.netdev, cfg.ifindex), 10)
    ksft_eq(page_pools(cfg.netdev, cfg.ifindex), [])
    wait_for(lambda: not dmabufs().get(dmabuf.inode), 10)
    ksft_eq(dmabufs().get(dmabuf.inode), [], "the buffer is still attached")
    _check_good_bind(cfg, dmabuf)


@leaves_nothing
def good_bind(cfg):
    """The reply, queue-get and page-pool-get agree on the id."""
    dmabuf = _dmabuf()
    binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
    defer(binding.close)
    ksft_true(binding.id > 0)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {queue: binding.id for queue in cfg.queues})
    pools = page_pools(cfg.netdev, cfg.ifindex)
    ksft_eq({pool["dmabuf"] for pool in pools}, {binding.id})
    ksft_eq(len(pools), len(cfg.queues))
    ksft_eq(len(dmabufs().get(dmabuf.inode, [])), 1)


@leaves_nothing
def one_of_many_queues(cfg):
    """Two bindings on one device, each with its own queue and id."""
    first, second = _dmabuf(), _dmabuf()
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    one = Binding(cfg.ifindex, first.fd, cfg.queues[:1])
    defer(one.close)
    two = Binding(cfg.ifindex, second.fd, cfg.queues[1:2])
    defer(two.close)
    ksft_true(one.id != two.id)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex),
            {cfg.queues[0]: one.id, cfg.queues[1]: two.id})
    one.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {cfg.queues[1]: two.id})


@leaves_nothing
def one_socket_many_bindings(cfg):
    """A netlink socket may make several bindings; all end with it."""
    if len(cfg.queues) < 2:
        raise KsftSkipEx("two queues are needed")
    dmabuf = _dmabuf()
    netdev = NetdevFamily()
    defer(netdev.sock.close)
    ids = [netdev.bind_rx(bind_request(cfg.ifindex, dmabuf.fd, [queue]))["id"]
           for queue in cfg.queues[:2]]
    ksft_eq(len(set(ids)), 2)
    netdev.sock.close()
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


@leaves_nothing
def queue_named_twice(cfg):
    """A queue that one request names twice is one queue."""
    dmabuf = _dmabuf()
    queue = cfg.queues[0]
    binding = Binding(cfg.ifindex, dmabuf.fd, [queue, queue])
    defer(binding.close)
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {queue: binding.id})
    ksft_eq(len(page_pools(cfg.netdev, cfg.ifindex)), 1)


@leaves_nothing
def no_such_device(cfg):
    """ENODEV for an ifindex that nobody has."""
    dmabuf = _dmabuf()
    request = bind_request(1 << 30, dmabuf.fd, cfg.queues)
    _refuse(cfg, request, dmabuf, errno.ENODEV, rust_attr=".ifindex",
            says=["interface"])


@leaves_nothing
def ifindex_zero(cfg):
    """ERANGE from the family's policy."""
    dmabuf = _dmabuf()
    request = bind_request(0, dmabuf.fd, cfg.queues)
    _refuse(cfg, request, dmabuf, errno.ERANGE, bad_attr=".ifindex")


@leaves_nothing
def device_without_queue_ops(cfg):
    """EOPNOTSUPP for lo, whose queues cannot be restarted."""
    dmabuf = _dmabuf()
    lo_index = ip("link show dev lo", json=True)[0]["ifindex"]
    request = bind_request(lo_index, dmabuf.fd, [0])
    _refuse(cfg, request, dmabuf, errno.EOPNOTSUPP, bad_attr=".ifindex")


@ksft_variants(["ifindex", "fd", "queues"])
@leaves_nothing
def missing_attribute(cfg, name):
    """EINVAL, and the extack names what is missing."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    del request[name]
    _refuse(cfg, request, dmabuf, errno.EINVAL, miss_type=name, says=[name])


@ksft_variants([KsftNamedVariant("id", "id"), KsftNamedVariant("type", "type")])
@leaves_nothing
def missing_in_queue(cfg, name):
    """EINVAL for a queue without its id or its type."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    del request["queues"][0][name]
    # miss-type is a number here: it belongs to the nest, which YNL leaves be
    number = {"id": 1, "type": 3}[name]
    _refuse(cfg, request, dmabuf, errno.EINVAL, miss_type=number)


@leaves_nothing
def queue_out_of_range(cfg):
    """EINVAL for a queue that the device does not have."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd,
                           [cfg.queues[0], cfg.num_queues])
    _refuse(cfg, request, dmabuf, errno.EINVAL, bad_attr=".queues.id",
            says=[str(cfg.num_queues)])


@leaves_nothing
def tx_queue(cfg):
    """EINVAL for a TX queue."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, [])
    request["queues"] = [{"id": cfg.queues[0], "type": "tx"}]
    _refuse(cfg, request, dmabuf, errno.EINVAL, bad_attr=".queues.type")


@leaves_nothing
def unknown_queue_type(cfg):
    """ERANGE from the policy for a queue type above 1."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, [])
    request["queues"] = [{"id": cfg.queues[0], "type": 2}]
    _refuse(cfg, request, dmabuf, errno.ERANGE, bad_attr=".queues.type")


@leaves_nothing
@base_fails("destroys a page pool under a running NAPI, and warns")
def queue_zero(cfg):
    """ERANGE: gVNIC cannot restart its first queue."""
    if "driver: gve" not in ethtool(f"-i {cfg.ifname}").stdout:
        raise KsftSkipEx("only gve refuses queue 0")
    dmabuf = _dmabuf()
    # the good queue is restarted first and has to be restarted back
    request = bind_request(cfg.ifindex, dmabuf.fd, [0, cfg.queues[0]])
    _refuse(cfg, request, dmabuf, errno.ERANGE, rust_attr=".queues.id")


@leaves_nothing
def bad_fd(cfg):
    """EBADF for a descriptor that is not open."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, 1 << 20, cfg.queues)
    _refuse(cfg, request, dmabuf, errno.EBADF, rust_attr=".fd",
            says=["fd"])


@leaves_nothing
def not_a_dmabuf(cfg):
    """EINVAL for a descriptor of something else."""
    dmabuf = _dmabuf()
    with open("/dev/null", "rb") as null:
        request = bind_request(cfg.ifindex, null.fileno(), cfg.queues)
        _refuse(cfg, request, dmabuf, errno.EINVAL, rust_attr=".fd",
                says=["dma-buf"])


@leaves_nothing
def page_size_not_power_of_two(cfg):
    """EINVAL, and the attribute is named."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    request["rx-page-size"] = 12288
    _refuse(cfg, request, dmabuf, errno.EINVAL, bad_attr=".rx-page-size",
            says=["power of 2"])


@leaves_nothing
def page_size_too_small(cfg):
    """ERANGE from the policy for less than a page."""
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    request["rx-page-size"] = os.sysconf("SC_PAGE_SIZE") // 2
    _refuse(cfg, request, dmabuf, errno.ERANGE, bad_attr=".rx-page-size")


@leaves_nothing
def page_size_unsupported(cfg):
    """EOPNOTSUPP where the driver cannot choose its buffers' size."""
    if "driver: gve" not in ethtool(f"-i {cfg.ifname}").stdout:
        raise KsftSkipEx("only known to be unsupported on gve")
    load()
    # of single pages, as udmabuf makes them, bigger niovs cannot be cut
    buffer = ExporterBuffer([64])
    defer(buffer.forget)
    request = bind_request(cfg.ifindex, buffer.fd, cfg.queues)
    request["rx-page-size"] = 4 * os.sysconf("SC_PAGE_SIZE")
    _refuse(cfg, request, buffer, errno.EOPNOTSUPP,
            rust_attr=".rx-page-size", says=["rx-page-size"])


@ksft_variants([KsftNamedVariant("stop", "DESTROY_RX_QUEUE"),
                KsftNamedVariant("start", "CREATE_RX_QUEUE")])
@leaves_nothing
@base_fails("leaves the NIC dead (defect 17)")
def device_fails(cfg, command):
    """The device refuses to restart the queue: the message says which."""
    dmabuf = _dmabuf()
    queue = cfg.queues[0]
    Faults().set(f"admin-fail=port={LOCAL},opcode={command},count=1")
    error = try_bind(bind_request(cfg.ifindex, dmabuf.fd, [queue]))
    # as the driver has it from the device's INTERNAL
    expect_refused(cfg, error, errno.EINVAL, rust_attr=".queues.id")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    # the driver resets the device
    cfg.wait_carrier()


@leaves_nothing
def header_split_off(cfg):
    """EINVAL, and our message names the command that mends it."""
    dmabuf = _dmabuf()
    cfg.set_split(False)
    back_on = defer(cfg.set_split, True)
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    expect_refused(cfg, try_bind(request), errno.EINVAL, rust_attr=".ifindex",
                   says=["tcp-data-split"])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    back_on.exec()
    _check_good_bind(cfg, dmabuf)


@leaves_nothing
def hds_threshold(cfg):
    """EINVAL while small packets are exempt from header split."""
    old = cfg.rings().get("hds-thresh")
    header = {"header": {"dev-index": cfg.ifindex}}
    if old is None:
        raise KsftSkipEx(f"{cfg.ifname} has no hds-thresh")
    try:
        cfg.ethnl.rings_set({**header, "hds-thresh": 64})
    except NlError as error:
        raise KsftSkipEx(f"{cfg.ifname} has no hds-thresh") from error
    back = defer(cfg.ethnl.rings_set, {**header, "hds-thresh": old})
    dmabuf = _dmabuf()
    request = bind_request(cfg.ifindex, dmabuf.fd, cfg.queues)
    expect_refused(cfg, try_bind(request), errno.EINVAL, rust_attr=".ifindex",
                   says=["hds-thresh"])
    back.exec()
    _check_good_bind(cfg, dmabuf)


@leaves_nothing
def bound_twice(cfg):
    """EEXIST for a bound queue; the binding that is there stays."""
    first, second = _dmabuf(), _dmabuf()
    taken = cfg.queues[-1]
    binding = Binding(cfg.ifindex, first.fd, [taken])
    defer(binding.close)
    # the other queues are restarted first and have to be restarted back
    request = bind_request(cfg.ifindex, second.fd, cfg.queues)
    expect_refused(cfg, try_bind(request), errno.EEXIST,
                   rust_attr=".queues.id", says=[str(taken)])
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {taken: binding.id})
    wait_for(lambda: not dmabufs().get(second.inode), 10)
    ksft_eq(dmabufs().get(second.inode), [])
    binding.close()
    _check_good_bind(cfg, second)


@leaves_nothing
def bind_tx(cfg):
    """The build in Rust has no TX yet: EOPNOTSUPP with a message."""
    if not cfg.is_rust:
        raise KsftSkipEx("the implementation in C has bind-tx")
    dmabuf = _dmabuf()
    netdev = NetdevFamily()
    defer(netdev.sock.close)
    error = None
    try:
        netdev.bind_tx({"ifindex": cfg.ifindex, "fd": dmabuf.fd})
    except NlError as nl_error:
        error = nl_error
    expect_refused(cfg, error, errno.EOPNOTSUPP)


@leaves_nothing
def bind_loop(cfg):
    """Twenty bindings one after the other; ids are not reused at once."""
    dmabuf = _dmabuf()
    ids = []
    for _ in range(20):
        binding = Binding(cfg.ifindex, dmabuf.fd, cfg.queues)
        ids.append(binding.id)
        binding.close()
    ksft_eq(len(set(ids)), len(ids))
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})


CASES = [
    good_bind,
    one_of_many_queues,
    one_socket_many_bindings,
    queue_named_twice,
    no_such_device,
    ifindex_zero,
    device_without_queue_ops,
    missing_attribute,
    missing_in_queue,
    queue_out_of_range,
    tx_queue,
    unknown_queue_type,
    queue_zero,
    bad_fd,
    not_a_dmabuf,
    page_size_not_power_of_two,
    page_size_too_small,
    page_size_unsupported,
    device_fails,
    header_split_off,
    hds_threshold,
    bound_twice,
    bind_tx,
    bind_loop,
]


def main():
    """Run the test cases."""
    run_in_env(__file__, lambda cfg: ksft_run(CASES, args=(cfg,)))
    ksft_exit()


if __name__ == "__main__":
    main()
