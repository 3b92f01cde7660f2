# SPDX-License-Identifier: GPL-2.0

"""
Test environment of the device memory TCP selftests: what net.lib.py and
drivers.net.lib.py offer, and the modules of this folder.
"""

import sys
from pathlib import Path

KSFT_DIR = (Path(__file__).parent / "../../../..").resolve()

try:
    sys.path.append(KSFT_DIR.as_posix())

    # drivers.net.lib.py imports these names from "lib.py", which is us
    from net.lib.py import NetNS, NetNSEnter, NetdevSimDev, UserNetNS
    from net.lib.py import EthtoolFamily, NetdevFamily, NetshaperFamily, \
        NlError, RtnlFamily, DevlinkFamily, PSPFamily, Netlink
    from net.lib.py import CmdExitFailure
    from net.lib.py import bkg, cmd, bpftool, bpftrace, defer, ethtool, \
        fd_read_timeout, ip, rand_port, rand_ports, tc, wait_port_listen, \
        wait_file, tool
    from net.lib.py import KsftSkipEx, KsftFailEx, KsftXfailEx
    from net.lib.py import ksft_disruptive, ksft_exit, ksft_pr, ksft_run, \
        ksft_setup, ksft_variants, KsftNamedVariant
    from net.lib.py import ksft_eq, ksft_ge, ksft_in, ksft_is, ksft_lt, \
        ksft_ne, ksft_not_in, ksft_raises, ksft_true, ksft_gt, ksft_not_none
    from drivers.net.lib.py import NetDrvEpEnv

    from .aftermath import check_gone, check_traffic, needs_fixes, wait_up
    from .binding import Binding, bind_request, expect_refused, \
        netdev_family, try_bind
    from .child import Child
    from .env import DevmemEnv, MIB, base_fails, defect, holding, \
        leaves_nothing, merges_packets, os_error, run_in_env, send, \
        tries_defects
    from .leftover import KernelLog, LeftoverError, Leftovers, bound_queues, \
        dmabuf_references, dmabufs, page_pools, wait_for
    from .nic import Nic
    from .orders import batches, describe, orders
    from .pace import Pace
    from .pattern import pattern
    from .probe import Probe
    from .stream import Message, Piece, Receiver, Sender, StreamError, \
        dontneed, give_up_soon, setsockopt_dontneed, token_ranges
    from .traffic import Flow, Traffic
    from .udmabuf import Udmabuf
except ModuleNotFoundError as e:
    print("Failed importing `net` library from kernel sources")
    print(str(e))
    sys.exit(4)
