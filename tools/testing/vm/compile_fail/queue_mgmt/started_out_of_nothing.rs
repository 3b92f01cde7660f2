// SPDX-License-Identifier: GPL-2.0

//! A queue is said to run without memory.
//@ E0624 associated function `new` is private

mod nic;

use nic::*;

fn start() -> Running {
    Running::new(1)
}
