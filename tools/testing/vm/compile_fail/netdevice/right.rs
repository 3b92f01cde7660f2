// SPDX-License-Identifier: GPL-2.0

//! A device's name is kept: this compiles.

use kernel::net::netdevice::{InterfaceName, NetDevice};

fn name(dev: &NetDevice) -> InterfaceName {
    dev.name()
}
