// SPDX-License-Identifier: GPL-2.0

//! The core moves memory that has to stay where it is.
//@ E0277 `PhantomPinned` cannot be unpinned

mod nic;

use nic::*;

struct Pinned {
    _ring: Memory,
    _pin: core::marker::PhantomPinned,
}

// SAFETY: Not true, but this is not what the test is about.
unsafe impl pin_init::ZeroableOption for Pinned {}

driver_with_memory!(Pinned);
