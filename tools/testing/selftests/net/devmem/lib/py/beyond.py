# SPDX-License-Identifier: GPL-2.0

"""
A third host behind our NIC, on the remote end's wire: what the remote end
sends there goes in and out of our NIC.
"""

import socket

from net.lib.py import KsftSkipEx, NetNSEnter, cmd, defer, ip

NAME = "beyond"
ADDR = {"4": "198.18.0.2", "6": "2001:db8:be::2"}
_GATEWAY = {"4": "198.18.0.1", "6": "2001:db8:be::1"}
_SUBNET = {"4": 24, "6": 64}
_HOST = {"4": 32, "6": 128}

# Our end forwards, and leaves the others to their routes.
_KNOBS = {
    "4": (("ip_forward", 1), ("conf/all/send_redirects", 0),
          ("conf/{}/send_redirects", 0), ("conf/all/rp_filter", 0)),
    "6": (("conf/all/forwarding", 1),),
}
_REMOTE_KNOBS = {
    "4": (),
    "6": (("conf/{}/accept_redirects", 0),),
}

_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0
_MTU_OPTION = {"4": (socket.IPPROTO_IP, 14), "6": (socket.IPPROTO_IPV6, 24)}


def family(ipver):
    """The address family of an IP version."""
    return socket.AF_INET if ipver == "4" else socket.AF_INET6


def _write(path, text):
    with open(path, "w", encoding="ascii") as knob:
        knob.write(text)


def _set_knobs(ipver, knobs, ifname):
    """Set sysctls of this netns; returns how they were."""
    before = []
    for name, value in knobs:
        path = f"/proc/sys/net/ipv{ipver}/{name.format(ifname)}"
        with open(path, encoding="ascii") as knob:
            before.append((path, knob.read()))
        _write(path, str(value))
    return before


def _restore(netns, before):
    if netns is None:
        for path, value in reversed(before):
            _write(path, value)
    else:
        with NetNSEnter(netns):
            _restore(None, before)


def _add_address(ipver, addr, dev, netns=None):
    nodad = " nodad" if ipver == "6" else ""
    ip(f"-{ipver} addr add {addr}/{_SUBNET[ipver]} dev {dev}{nodad}", ns=netns)


def set_up(cfg, ipver):
    """The host, until the end of the test case."""
    if not cfg.remote_ifname:
        raise KsftSkipEx("the remote end's interface is not known")
    # slow where everything is emulated
    cmd(f"ip netns add {NAME}", timeout=120)
    defer(cmd, f"ip netns del {NAME}", timeout=120)
    ip(f"link add link {cfg.remote_ifname} name {NAME} netns {NAME} "
       "type ipvlan mode l2", ns=cfg.remote_ns)
    ip("link set dev lo up", ns=NAME)
    ip(f"link set dev {NAME} up", ns=NAME)
    _add_address(ipver, ADDR[ipver], NAME, NAME)
    ip(f"-{ipver} route add default via {_GATEWAY[ipver]} dev {NAME}", ns=NAME)
    _add_address(ipver, _GATEWAY[ipver], cfg.ifname)
    defer(ip, f"-{ipver} addr del {_GATEWAY[ipver]}/{_SUBNET[ipver]} "
          f"dev {cfg.ifname}")
    host = f"{ADDR[ipver]}/{_HOST[ipver]}"
    ip(f"-{ipver} route add {host} via {cfg.addr_v[ipver]} "
       f"dev {cfg.remote_ifname}", ns=cfg.remote_ns)
    defer(ip, f"-{ipver} route del {host}", ns=cfg.remote_ns)
    defer(_restore, None, _set_knobs(ipver, _KNOBS[ipver], cfg.ifname))
    with NetNSEnter(cfg.remote_ns):
        before = _set_knobs(ipver, _REMOTE_KNOBS[ipver], cfg.remote_ifname)
    defer(_restore, cfg.remote_ns, before)


def narrow(cfg, ipver, mtu):
    """From our NIC to the host only packets of @mtu bytes get through."""
    route = f"{ADDR[ipver]}/{_HOST[ipver]} dev {cfg.ifname}"
    ip(f"-{ipver} route replace {route} mtu lock {mtu}")
    defer(ip, f"-{ipver} route del {route}")


def connect(cfg, ipver, queue, may_fragment=False):
    """
    A connection from the remote end to the host, on our RX queue @queue.

    Returns (the host's socket, the remote end's), closed with the test case.
    """
    with NetNSEnter(NAME):
        listener = socket.socket(family(ipver), socket.SOCK_STREAM)
    defer(listener.close)
    listener.bind((ADDR[ipver], 0))
    listener.listen(1)
    listener.settimeout(60)
    port = listener.getsockname()[1]
    cfg.steer(ipver, port, queue)
    with NetNSEnter(cfg.remote_ns):
        sender = socket.socket(family(ipver), socket.SOCK_STREAM)
    defer(sender.close)
    if may_fragment:
        sender.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER,
                          _IP_PMTUDISC_DONT)
    sender.settimeout(60)
    sender.connect((ADDR[ipver], port))
    sock, _ = listener.accept()
    defer(sock.close)
    return sock, sender


def path_mtu(ipver, sock):
    """The path MTU that a connected socket goes by."""
    return sock.getsockopt(*_MTU_OPTION[ipver])
