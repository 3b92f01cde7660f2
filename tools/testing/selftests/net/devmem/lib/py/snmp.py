# SPDX-License-Identifier: GPL-2.0

"""Counters of the protocols, of the network namespace that is asked from."""


def counter(group, name):
    """A counter such as ("Ip", "FragFails"), ("TcpExt", ...), ("Ip6", ...)."""
    if group.endswith("6"):
        with open("/proc/net/snmp6", encoding="ascii") as table:
            return int(dict(line.split() for line in table)[group + name])
    for path in ("/proc/net/snmp", "/proc/net/netstat"):
        with open(path, encoding="ascii") as table:
            lines = [line.split() for line in table]
        for names, values in zip(lines[::2], lines[1::2]):
            if names[0] == f"{group}:" and name in names:
                return int(values[names.index(name)])
    raise KeyError(f"{group} {name}")
