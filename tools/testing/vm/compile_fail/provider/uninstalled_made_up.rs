// SPDX-License-Identifier: GPL-2.0

//! A queue that still has its provider is said to have lost it.
//@ E0624 associated function `new` is private

mod binding;

use binding::*;

fn gone(installed: Installed, rxq: *mut kernel::bindings::netdev_rx_queue) {
    let queue = unsafe { Uninstalled::new(core::ptr::null(), rxq) };
    let _ = installed.forget(&queue);
}
