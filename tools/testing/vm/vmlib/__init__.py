# SPDX-License-Identifier: GPL-2.0
"""The harness: build root, base source, tree, kernel, guest, checks.

Lower modules know nothing of higher ones, in this order: paths and ui;
sandbox, buildroot, source; tree, kernel, userspace; boot, klog, tap;
run and test, which the command line in ../vm calls.
"""
