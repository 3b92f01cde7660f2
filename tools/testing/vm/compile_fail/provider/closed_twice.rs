// SPDX-License-Identifier: GPL-2.0

//! A provider is taken off its queue twice.
//@ E0382 use of moved value: `installed`

mod binding;

use binding::*;

fn end(installed: Installed, dev: &NetDeviceGuard<'_>) {
    let _ = installed.close(dev);
    let _ = installed.close(dev);
}
