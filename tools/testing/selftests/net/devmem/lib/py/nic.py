# SPDX-License-Identifier: GPL-2.0

"""
The local NIC through the loss of its netdev: what it has to look like again
once its driver is bound anew, its PCI function found anew, or its network
namespace gone.
"""

import json
import os

from net.lib.py import CmdExitFailure, cmd, ethtool, ip, ksft_eq

from .env import MIB, send
from .leftover import wait_for
from .stream import Receiver

# init_net, where a netdev begins, and where it lands when its netns ends.
HOME = "nsenter --net=/proc/1/ns/net "
PCI = "/sys/bus/pci"


def _write(path, text):
    """Write to a file of sysfs; returns when the kernel has done its part."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _links(prefix=""):
    """Links of a network namespace, as `ip -d -j link show` has them."""
    return json.loads(cmd(f"{prefix}ip -d -j link show").stdout)


class Nic:
    """
    Takes the NIC of a DevmemEnv away, and gives it back as it was.

    Attributes:
      function: its PCI address
      present: the kernel has a netdev for it, somewhere
    """

    def __init__(self, cfg):
        self._cfg = cfg
        device = f"/sys/class/net/{cfg.ifname}/device"
        self.function = os.path.basename(os.path.realpath(device))
        self._driver = os.path.realpath(f"{device}/driver")
        self._mtu = cfg.dev["mtu"]
        channels = cfg.channels()
        self._channels = {key: channels[f"{key}-count"]
                          for key in ("rx", "tx") if f"{key}-count" in channels}
        rings = cfg.rings()
        self._rings = {key: rings[key] for key in ("rx", "tx") if key in rings}

    @property
    def present(self):
        """Whether a driver is bound to the function."""
        return os.path.exists(f"{PCI}/devices/{self.function}/driver")

    def unbind_driver(self):
        """Take the driver off the function; its netdev is gone at return."""
        _write(f"{self._driver}/unbind", self.function)

    def remove(self):
        """Hot removal, as the kernel sees it."""
        _write(f"{PCI}/devices/{self.function}/remove", "1")

    def restore(self):
        """Find the NIC, wherever it is, and set it up as it was."""
        if not os.path.exists(f"{PCI}/devices/{self.function}"):
            _write(f"{PCI}/rescan", "1")
        if not self.present:
            _write(f"{self._driver}/bind", self.function)
        if not self.here():
            self._fetch()
        self.set_up()

    def _fetch(self):
        """Move the netdev from init_net to our network namespace."""
        for attempt in range(5, -1, -1):
            name = self.wait_home()
            try:
                cmd(f"{HOME}ip link set dev {name} down")
                cmd(f"{HOME}ip link set dev {name} netns {os.getpid()} "
                    f"name {self._cfg.ifname}")
                return
            except CmdExitFailure:
                # udev gives a new netdev another name
                if not attempt:
                    raise

    def here(self):
        """Whether the netdev is in our network namespace."""
        return any(link.get("parentdev") == self.function for link in _links())

    def wait_home(self):
        """Wait for the netdev to be in init_net; returns its name there."""
        def names():
            return [link["ifname"] for link in _links(HOME)
                    if link.get("parentdev") == self.function]
        found = wait_for(names, 20)
        if not found:
            raise RuntimeError(f"no netdev of {self.function} came to init_net")
        return found[0]

    def home_up(self):
        """Bring the link up in init_net."""
        cmd(f"{HOME}ip link set dev {self.wait_home()} up")

    def set_up(self):
        """Everything that a driver forgets with its netdev."""
        cfg = self._cfg
        cfg.rules.clear()
        ip(f"link set dev {cfg.ifname} mtu {self._mtu} up")
        cfg.find_device()
        cfg.set_addresses()
        cfg.wait_carrier()
        counts = " ".join(f"{key} {n}" for key, n in self._channels.items())
        if cfg.channels() != {**cfg.channels(), **{
                f"{key}-count": n for key, n in self._channels.items()}}:
            ethtool(f"-L {cfg.ifname} {counts}")
        rings = cfg.rings()
        if any(rings[key] != n for key, n in self._rings.items()):
            sizes = " ".join(f"{key} {n}" for key, n in self._rings.items())
            ethtool(f"-G {cfg.ifname} {sizes}")
        cfg.set_up()
        cfg.wait_carrier()

    def check_works(self):
        """The NIC is as good as new: device memory can be received into."""
        dmabuf, binding = self._cfg.bind(queues=[1])
        sock, sender = self._cfg.connect("4", 1)
        receiver = Receiver(sock, dmabuf, binding.id)
        thread = send(sender, 0, MIB // 4)
        receiver.receive_all(MIB // 4)
        thread.finish()
        ksft_eq(receiver.kinds["dmabuf"], MIB // 4)
