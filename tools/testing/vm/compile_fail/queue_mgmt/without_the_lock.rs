// SPDX-License-Identifier: GPL-2.0

//! An op is called on a device that nobody has locked.
//@ E0308 mismatched types

mod nic;

use nic::*;

fn alloc<Q: QueueManagement<Data = Nic>>(dev: &NetDevice, config: &QueueConfig) {
    let _ = Q::alloc(dev, config, 1);
}
