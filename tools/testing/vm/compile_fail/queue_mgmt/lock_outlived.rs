// SPDX-License-Identifier: GPL-2.0

//! The driver keeps what the lock protects, for after the op.
//@ error lifetime may not live long enough

mod nic;

use nic::*;

fn later(dev: &Device<'_>) -> &'static Nic {
    dev.data()
}
