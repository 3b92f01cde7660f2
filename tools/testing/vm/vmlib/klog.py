# SPDX-License-Identifier: GPL-2.0
"""What in a kernel log means that something is broken."""

import re

# Kernel lines carry printk's time (and perhaps its level); what QEMU, init
# or a program prints to the same console does not.
_KERNEL_LINE = re.compile(r"(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^\]]*\])?\s(.*)")

_BROKEN = re.compile("|".join((
    r"\bWARNING: ",
    r"\bBUG: ",
    r"\bkernel BUG at ",
    r"\bOops\b",
    r"\bKernel panic\b",
    r"\bgeneral protection fault\b",
    r"\bdouble fault\b",
    r"\bunable to handle\b",
    r"\b(?:KASAN|KFENCE|KCSAN|UBSAN|KMSAN): ",
    r"\bINFO: possible .*\bdetected\b",  # lockdep
    r"\bINFO: trying to register non-static key\b",
    r"\bINFO: task .* blocked for more than\b",
    r"\bINFO: .*\bdetected (?:expedited )?stalls?\b",
    r"\bsoft lockup\b|\bhard LOCKUP\b",
    r"\bSegmentation fault\b",
    r"\bODEBUG: ",
    r"\bDMA-API: .*(?:device driver|debugging out of memory|leak|mapping error)",
    r"\brefcount_t: ",
    r"\bkmemleak: .*(?:suspected memory leaks|detector disabled)",
    # Tests let allocations fail; the tracker then says, once, that it counts no more.
    r"\bref_tracker: (?!memory allocation failure)",
    r"\bpage_pool_release_retry\(\) stalled\b",
    r"\bunregister_netdevice: waiting for\b",
    r"\bleaked reference\b",
    r"\bBad page state\b|\bBad rss-counter\b",
    r"\bpercpu ref .*<= 0\b",
    r"\brust_kernel: panicked at\b|\bpanicked at\b",
    r"\bdebug_objects?: .*\bdisabled\b",
    r"\bturning off the locking correctness validator\b",
)))


def reports(log):
    """The lines of `log` that report a defect, without their time stamps.

    Each report once: dmesg and the console hold the same ones.
    """
    found = []
    for line in log.splitlines():
        match = _KERNEL_LINE.match(line.rstrip("\r"))
        if match and _BROKEN.search(match[1]):
            found.append(match[1])
    return list(dict.fromkeys(found))
