# SPDX-License-Identifier: GPL-2.0

import unittest

from vmlib.klog import reports

CLEAN = """\
[    0.000000] Linux version 7.3.4-rust
[    0.000000] Command line: panic=-1 WARN
[    0.500000] virtme-ng-init: mounting
[    1.000000] gve 0000:01:00.0: GVE queue format 3
[    1.000000] lockdep is running
[    1.000000] kmemleak: Automatic memory scanning thread started
qemu-system-x86_64: warning: TCG doesn't support requested feature
WARNING: this is a program's own warning
"""

BROKEN = (
    "WARNING: net/core/devmem.c:120 at net_devmem_unbind+0x1/0x2, CPU#0: x/1",
    "WARNING: CPU: 0 PID: 1 at net/core/page_pool.c:3 page_pool_destroy+0x1/0x2",
    "WARNING: possible circular locking dependency detected",
    "WARNING: suspicious RCU usage",
    "BUG: KASAN: slab-use-after-free in foo+0x1/0x2",
    "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1",
    "BUG: kernel NULL pointer dereference, address: 0000000000000000",
    "kernel BUG at net/core/skbuff.c:1!",
    "Oops: general protection fault, probably for non-canonical address",
    "Kernel panic - not syncing: Fatal exception",
    "refcount_t: underflow; use-after-free.",
    "page_pool_release_retry() stalled pool shutdown: id 3, 1 inflight 60 sec",
    "unregister_netdevice: waiting for eth0 to become free. Usage count = 2",
    "INFO: task ncdevmem:120 blocked for more than 30 seconds.",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
    "ODEBUG: free active (active state 0) object: 0000 object type: work_struct",
    "rust_kernel: panicked at net/core/devmem/genpool.rs:1:1:",
    "DMA-API: gve 0000:01:00.0: device driver frees DMA memory with wrong function",
    "ref_tracker: netdev@0000 has 1/2 users at",
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "kmemleak: Kernel memory leak detector disabled",
)


class Klog(unittest.TestCase):
    def test_clean(self):
        self.assertEqual(reports(CLEAN), [])

    def test_each_kind_is_seen(self):
        for text in BROKEN:
            with self.subTest(text):
                self.assertEqual(reports(f"{CLEAN}[   12.345678] {text}\n"), [text])
                self.assertEqual(reports(f"[   12.345678][   T12] {text}\r\n"), [text])

    def test_once_each(self):
        line = "[   12.345678] BUG: a\n"
        self.assertEqual(reports(line + line), ["BUG: a"])

    def test_failed_allocations_are_no_defect(self):
        line = "ref_tracker: memory allocation failure, unreliable refcount tracker."
        self.assertEqual(reports(f"[   12.345678] {line}\n"), [])


if __name__ == "__main__":
    unittest.main()
