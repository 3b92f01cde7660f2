#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0

"""
`devmem check` on a NIC from which something was taken, or everything, and the
commands that it prints to mend it.
"""

import os
import subprocess

from lib.py import (KsftNamedVariant, KsftSkipEx, MIB, bound_queues, cmd, defer,
                    ethtool, ksft_eq, ksft_in, ksft_not_in, ksft_true,
                    ksft_variants, leaves_nothing)
from lib.py.bpf import XDP_GENERIC, xdp_attach, xdp_pass
from lib.py.tool import check_item, run, run_json, run_tool_test


def _missing(found):
    """Names of the items that are missing."""
    return [item["name"] for item in found["items"]
            if item["verdict"] == "missing"]


def _check(cfg, *arguments, ready=True):
    """`devmem check` of the NIC, with the verdict that is expected."""
    if "--queues" not in arguments:
        arguments += ("--queues", ",".join(map(str, cfg.queues)))
    found = run_json("check", "--dev", cfg.ifname, *arguments,
                     status=0 if ready else 1)
    ksft_eq(found["ready"], ready)
    return found


@leaves_nothing
def check_ready(cfg):
    """A NIC that is set up is ready, and a trial binding proves it."""
    found = _check(cfg, "--try")
    ksft_eq(check_item(found, "bind")["verdict"], "ok")
    ksft_eq(found["commands"], [])
    verdicts = {item["name"]: item["verdict"] for item in found["items"]}
    ksft_eq(set(verdicts.values()), {"ok"}, str(verdicts))
    ksft_eq(found["driver"], "gve")
    ksft_eq(bound_queues(cfg.netdev, cfg.ifindex), {})
    text = run("check", "--dev", cfg.ifname)
    ksft_in("ready; steer flows", text)


def _split(cfg):
    cfg.set_split(False)
    defer(cfg.set_split, True)


def _ntuple(cfg):
    ethtool(f"-K {cfg.ifname} ntuple off")
    defer(ethtool, f"-K {cfg.ifname} ntuple on")


def _rss(cfg):
    ethtool(f"-X {cfg.ifname} default")
    defer(ethtool, f"-X {cfg.ifname} equal {cfg.queues[0]}")


def _link(cfg):
    defer(cfg.link_up)
    cfg.link_down()


def _xdp(cfg):
    # the driver's own mode excludes header split on gve
    prog = xdp_pass()
    defer(os.close, prog)
    xdp_attach(cfg.ifindex, prog, XDP_GENERIC)
    defer(xdp_attach, cfg.ifindex, -1, XDP_GENERIC)


def _everything(cfg):
    _ntuple(cfg)
    _rss(cfg)
    _split(cfg)
    # what the driver has to be up for comes before
    _link(cfg)


@ksft_variants([
    KsftNamedVariant("split", ["header-split"], _split),
    KsftNamedVariant("ntuple", ["ntuple"], _ntuple),
    KsftNamedVariant("rss", ["rss"], _rss),
    KsftNamedVariant("link", ["link"], _link),
    KsftNamedVariant("xdp", ["xdp"], _xdp),
    KsftNamedVariant("everything", ["link", "header-split", "ntuple", "rss"],
                     _everything),
])
@leaves_nothing
def check_mends(cfg, names, spoil):
    """What is missing is named, and the printed commands mend it."""
    queues = ",".join(map(str, cfg.queues))
    spoil(cfg)
    found = _check(cfg, ready=False)
    ksft_eq(_missing(found), names)
    for name in names:
        ksft_true(check_item(found, name)["commands"], f"no command for {name}")
        ksft_in(f"MISSING  {name}", run("check", "--dev", cfg.ifname,
                                        "--queues", queues, status=1))
    script = run("check", "--dev", cfg.ifname, "--queues", queues,
                 "--commands", status=1)
    ksft_eq(script.splitlines(), found["commands"])
    done = subprocess.run(["sh", "-ex"], input=script, text=True, check=False,
                          capture_output=True)
    ksft_eq(done.returncode, 0, done.stderr)
    cfg.wait_carrier()
    _check(cfg, "--try")


@leaves_nothing
def check_mends_queue_count(cfg):
    """Too few queues, with other traffic kept off those that are to come."""
    count = cfg.num_queues + 2
    channels = cfg.channels()
    if channels.get("rx-max", channels.get("combined-max", 0)) < count:
        raise KsftSkipEx(f"{cfg.ifname} has no more queues")
    wanted = f"{count - 2}-{count - 1}"
    found = _check(cfg, "--queues", wanted, ready=False)
    ksft_eq(_missing(found), ["queues"])
    defer(cmd, f"ethtool -L {cfg.ifname} rx {cfg.num_queues}")
    for command in found["commands"]:
        cmd(command)
    cfg.wait_carrier()
    found = _check(cfg, "--queues", wanted, "--try")
    ksft_eq(found["queues"], [count - 2, count - 1])


@leaves_nothing
def check_taken(cfg):
    """A queue that is bound already is named with its binding."""
    _, binding = cfg.bind(4 * MIB, cfg.queues[:1])
    found = _check(cfg, ready=False)
    ksft_eq(_missing(found), ["queue-users"])
    said = check_item(found, "queue-users")["found"]
    ksft_in(f"queue {cfg.queues[0]}", said)
    ksft_in(f"binding {binding.id}", said)
    ksft_not_in(f"queue {cfg.queues[1]}", said)


@leaves_nothing
def check_queue_zero(cfg):
    """Queue 0, which gve cannot restart, is told before the kernel is asked."""
    if "driver: gve" not in ethtool(f"-i {cfg.ifname}").stdout:
        raise KsftSkipEx("only gve refuses queue 0")
    found = _check(cfg, "--queues", "0", ready=False)
    ksft_in("queues", _missing(found))
    ksft_in("queue 0", check_item(found, "queues")["found"])


@leaves_nothing
def check_hopeless(cfg):
    """A driver without queue management; an interface that is not there."""
    found = run_json("check", "--dev", "lo", status=1)
    ksft_in("queue-management", _missing(found))
    ksft_eq(check_item(found, "permission")["verdict"], "ok")
    found = run_json("check", "--dev", "no-such-if", status=3, schema="error")
    ksft_eq(found["error"]["errno_name"], "ENODEV")
    # the question changes nothing
    _check(cfg)


@leaves_nothing
def check_udmabuf(cfg):
    """udmabuf's limit is told, with the command that raises it."""
    path = "/sys/module/udmabuf/parameters/size_limit_mb"
    with open(path, encoding="ascii") as limit:
        before = limit.read().strip()
    defer(cmd, f"echo {before} > {path}", shell=True)
    cmd(f"echo 63 > {path}", shell=True)
    item = check_item(_check(cfg, "--size", "64M"), "udmabuf")
    ksft_eq(item["verdict"], "warning")
    for command in item["commands"]:
        cmd(command, shell=True)
    ksft_eq(check_item(_check(cfg, "--size", "64M"), "udmabuf")["verdict"], "ok")


CASES = [
    check_ready,
    check_mends,
    check_mends_queue_count,
    check_taken,
    check_queue_zero,
    check_hopeless,
    check_udmabuf,
]


if __name__ == "__main__":
    run_tool_test(__file__, CASES)
