// SPDX-License-Identifier: GPL-2.0

//! A provider is taken off a queue whose device is not locked.
//@ E0308 mismatched types

mod binding;

use binding::*;
use kernel::net::netdevice::NetDevice;

fn end(installed: Installed, dev: &NetDevice) {
    let _ = installed.close(dev);
}
