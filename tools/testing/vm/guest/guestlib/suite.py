# SPDX-License-Identifier: GPL-2.0
"""Which test files run under which profile, and how."""

from dataclasses import dataclass

from .errors import GuestError

# A profile is one boot: the host starts the device model to suit it.
PROFILES = ("receive", "lifecycle", "late-split", "jumbo", "queue-mgmt", "restarts", "defects")


@dataclass(frozen=True)
class TestFile:
    """One program that prints TAP.

    name: of the TAP file, and for people
    path: below the folder of `origin`
    origin: "ours" or "base"
    timeout: seconds; a guest under full emulation is slow
    arguments: for the program
    must_pass: cases that may not skip: with our NICs there is no reason to
    through: program of guest/ that runs it, and says why in its first lines
    """

    name: str
    path: str
    origin: str
    timeout: int
    arguments: tuple = ()
    must_pass: tuple = ()
    through: str = ""


@dataclass(frozen=True)
class LeftOut:
    """Cases that are not run, listed so that nobody thinks they were."""

    name: str
    cases: tuple
    reason: str


# What an application and a sysadmin see while all is there.
_RECEIVE = (
    TestFile("bind_rx", "bind_rx.py", "ours", 900),
    TestFile("raw_netlink", "raw_netlink.py", "ours", 300),
    TestFile("errno_order", "errno_order.py", "ours", 300),
    TestFile("guards", "guards.py", "ours", 300),
    TestFile("permissions", "permissions.py", "ours", 300),
    TestFile("transfer", "transfer.py", "ours", 900),
    TestFile("recvmsg", "recvmsg.py", "ours", 900),
    TestFile("buffers", "buffers.py", "ours", 600),
    TestFile("observable", "observable.py", "ours", 600),
    TestFile("wakeups", "wakeups.py", "ours", 600),
    TestFile("order", "order.py", "ours", 600),
    TestFile("packets", "packets.py", "ours", 600),
    TestFile("tokens", "tokens.py", "ours", 900),
    TestFile("token_numbers", "token_numbers.py", "ours", 600),
    TestFile("threads", "threads.py", "ours", 600),
    TestFile("many_tokens", "many_tokens.py", "ours", 900),
    TestFile("stack_urgent", "stack_urgent.py", "ours", 600),
    TestFile("stack_signed", "stack_signed.py", "ours", 600),
    TestFile("stack", "stack.py", "ours", 900),
    TestFile("stack_faults", "stack_faults.py", "ours", 900),
    TestFile("debugfs", "debugfs.py", "ours", 300),
    TestFile("tool", "tool.py", "ours", 600),
    TestFile("tool_check", "tool_check.py", "ours", 600),
    TestFile("base-devmem", "drivers/net/hw/devmem.py", "base", 600,
             arguments=("-T", "check_tx", "-T", "check_tx_chunks"),
             must_pass=("check_rx", "check_rx_hds"), through="patient.py"),
    LeftOut("base-devmem-tx", ("check_tx", "check_tx_chunks"),
            "not in this build: sending from device memory comes later"),
)

# What comes, fails, is changed and goes.
_LIFECYCLE = (
    TestFile("lifetime", "lifetime.py", "ours", 900),
    TestFile("socket_states", "socket_states.py", "ours", 600),
    TestFile("reconfigure", "reconfigure.py", "ours", 900),
    TestFile("starvation", "starvation.py", "ours", 600),
    TestFile("page_pools", "page_pools.py", "ours", 300),
    TestFile("churn", "churn.py", "ours", 900),
    TestFile("stack_unbind", "stack_unbind.py", "ours", 900),
    TestFile("stack_forward", "stack_forward.py", "ours", 600),
    TestFile("stack_mixed", "stack_mixed.py", "ours", 300),
    TestFile("stack_filter", "stack_filter.py", "ours", 300),
    TestFile("queue_restart", "queue_restart.py", "ours", 900),
    TestFile("exporter", "exporter.py", "ours", 600),
    # last: these take the NIC apart
    TestFile("lease", "lease.py", "ours", 600),
    TestFile("netns", "netns.py", "ours", 900),
    TestFile("teardown", "teardown.py", "ours", 1800),
)

_LATE_SPLIT = (
    TestFile("linear", "linear.py", "ours", 600),
    TestFile("order-late", "order.py", "ours", 600),
    TestFile("stack_faults-late", "stack_faults.py", "ours", 600),
)


# With an MTU of 9,000: a segment takes several of the NIC's buffers.
_JUMBO = (
    TestFile("transfer", "transfer.py", "ours", 600),
    TestFile("recvmsg", "recvmsg.py", "ours", 600),
    TestFile("order", "order.py", "ours", 600),
    TestFile("starvation", "starvation.py", "ours", 600),
)

# What tries the driver's queue management, and what patches/fixes mend in the base, for kernels
# that have the one or the net core in C.
_OF_QUEUES = ("bind_rx", "reconfigure", "starvation", "stack_unbind", "queue_restart", "churn",
              "stack", "stack_faults", "stack_signed", "stack_urgent", "page_pools")
_QUEUE_MGMT = tuple(entry for entry in _RECEIVE + _LIFECYCLE if entry.name in _OF_QUEUES)

# Single cases of these show defects.
_DEFECTS = _RECEIVE + _LIFECYCLE

# For figures: nothing else runs beside it.
_RESTARTS = (TestFile("restart_cost", "restart_cost.py", "ours", 900),)


def of_profile(profile):
    """The entries of a profile, in the order in which they run."""
    try:
        return {"receive": _RECEIVE, "lifecycle": _LIFECYCLE, "late-split": _LATE_SPLIT,
                "jumbo": _JUMBO, "queue-mgmt": _QUEUE_MGMT, "restarts": _RESTARTS,
                "defects": _DEFECTS}[profile]
    except KeyError:
        raise GuestError(f"no profile is called {profile}; there are "
                         f"{', '.join(PROFILES)}") from None
