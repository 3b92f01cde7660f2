# SPDX-License-Identifier: GPL-2.0
"""The two emulated gVNICs: found by their PCI vendor, each put into its own
network namespace, the server's made ready for device memory.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import GuestError
from .shell import run, run_json

VENDOR = "0x1ae0"
PREFIX_LENGTH = {"4": 24, "6": 64}


@dataclass(frozen=True)
class End:
    """One end of the wire; without `ns` it is in the guest's first namespace."""

    ns: str | None
    ifname: str
    address: dict

    def run(self, command, **kwargs):
        """Run a command in this end's namespace."""
        return run(command, ns=self.ns, **kwargs)


SERVER = End("server", "gve0", {"4": "192.0.2.1", "6": "2001:db8::1"})
CLIENT = End("client", "gve1", {"4": "192.0.2.2", "6": "2001:db8::2"})
# Where the base's tests expect it that lease its queues to containers.
HOST = End(None, SERVER.ifname, SERVER.address)


def find(deadline=30):
    """Names of the gVNICs' interfaces, in PCI order; there have to be two."""
    end = time.monotonic() + deadline
    while True:
        functions = [path for path in sorted(Path("/sys/bus/pci/devices").iterdir())
                     if (path / "vendor").read_text().strip() == VENDOR]
        names = [net.name for path in functions if (path / "net").is_dir()
                 for net in (path / "net").iterdir()]
        if len(names) == 2 and len(functions) == 2:
            return names
        if time.monotonic() > end:
            raise GuestError(f"{len(functions)} PCI functions of vendor {VENDOR} and {len(names)} "
                             "network interfaces on them, two each are needed: `dmesg | grep gve` "
                             "says why the driver did not probe")
        time.sleep(0.2)


def setup(mtu, rx_queues, server=SERVER, client=CLIENT):
    """Move the NICs into their namespaces, address them, bring them up.

    The server's NIC gets `rx_queues` RX queues.
    """
    for name, end in zip(find(), (server, client)):
        run(f"ip link set dev {name} down")
        if end.ns:
            run(f"ip netns add {end.ns}")
            run(f"ip link set dev {name} netns {end.ns} name {end.ifname}")
        else:
            run(f"ip link set dev {name} name {end.ifname}")
        end.run("ip link set dev lo up")
        end.run(f"ip link set dev {end.ifname} mtu {mtu} up")
        for version, address in end.address.items():
            end.run(f"ip -{version} address add {address}/{PREFIX_LENGTH[version]} "
                    f"dev {end.ifname}" + (" nodad" if version == "6" else ""))
    for end in (server, client):
        _wait_carrier(end)
    set_rx_queues(server, rx_queues)
    # off by default in gve; the base's tests take it for granted
    server.run(f"ethtool -K {server.ifname} ntuple on")
    _wait_carrier(server)
    check_ping(client, server)


def _wait_carrier(end, deadline=60):
    limit = time.monotonic() + deadline
    while run_json(f"ip -j link show dev {end.ifname}", ns=end.ns)[0]["operstate"] != "UP":
        if time.monotonic() > limit:
            raise GuestError(f"{end.ifname} has no carrier after {deadline} s")
        time.sleep(0.1)


def check_ping(client, server):
    """Both families must get through before anything harder is tried."""
    for version in PREFIX_LENGTH:
        client.run(f"ping -{version} -c 1 -w 20 {server.address[version]}")


def channels(end):
    """(maximum, current) RX queues."""
    text = end.run(f"ethtool -l {end.ifname}")
    counts = [int(value) if value.isdigit() else 0
              for value in re.findall(r"^RX:\s+(\S+)$", text, re.MULTILINE)]
    if len(counts) != 2:
        raise GuestError(f"cannot read the queue counts of {end.ifname}:\n{text}")
    return tuple(counts)


def set_rx_queues(end, wanted):
    """Set the number of RX queues."""
    most, now = channels(end)
    if wanted > most:
        raise GuestError(f"{end.ifname} has {most} RX queues at most, {wanted} were asked for")
    if wanted != now:
        end.run(f"ethtool -L {end.ifname} rx {wanted}")


def prepare_devmem(end, bound):
    """Header split on, other traffic off the bound queues.

    `bound` has to be the highest queues: RSS spreads over those below.
    """
    end.run(f"ethtool -G {end.ifname} tcp-data-split on")
    end.run(f"ethtool -X {end.ifname} equal {min(bound)}")
    _wait_carrier(end)


def add_rule(end, version, fields, queue):
    """Add an n-tuple rule; returns its id."""
    text = end.run(f"ethtool -N {end.ifname} flow-type tcp{version} {fields} action {queue}")
    match = re.search(r"ID (\d+)", text)
    if not match:
        raise GuestError(f"ethtool added no rule for {fields}:\n{text}")
    return int(match.group(1))


def delete_rule(end, rule):
    """Delete an n-tuple rule."""
    end.run(f"ethtool -N {end.ifname} delete {rule}")
