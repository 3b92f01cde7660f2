// SPDX-License-Identifier: GPL-2.0

//! A lock is made up.
//@ E0451 field `

mod nic;

use nic::*;

fn lock<'a>(guard: core::mem::ManuallyDrop<NetDeviceGuard<'a>>) -> Device<'a> {
    LockedDevice {
        guard,
        _data: core::marker::PhantomData,
    }
}
