// SPDX-License-Identifier: GPL-2.0

//! Memory that ran is started as if it were new: the core would not know what to roll back to.
//@ E0308 mismatched types

mod nic;

use nic::*;

fn start(_memory: Allocated) {}

fn restart(memory: Stopped) {
    start(memory);
}
