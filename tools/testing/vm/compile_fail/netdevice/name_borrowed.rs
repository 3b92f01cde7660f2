// SPDX-License-Identifier: GPL-2.0

//! A name is read in the device, where a rename changes it.
//@ E0515 cannot return value referencing temporary value

use kernel::{net::netdevice::NetDevice, str::CStr};

fn name(dev: &NetDevice) -> &CStr {
    dev.name().as_cstr()
}
