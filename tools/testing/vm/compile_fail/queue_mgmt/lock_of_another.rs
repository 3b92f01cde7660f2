// SPDX-License-Identifier: GPL-2.0

//! Who has the lock of a device takes what lies behind it for the driver's data.
//@ E0133 call to unsafe function `kernel::net::queue_mgmt::LockedDevice::<'a, D>::from_raw` is unsafe

mod nic;

use nic::*;

fn data<'a>(guard: &NetDeviceGuard<'a>) -> Device<'a> {
    LockedDevice::from_raw(guard.as_raw())
}
