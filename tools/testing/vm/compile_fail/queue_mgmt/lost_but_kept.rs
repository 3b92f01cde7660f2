// SPDX-License-Identifier: GPL-2.0

//! A start is said to be lost to the device, with memory that the device was never given.
//@ E0308 mismatched types

mod nic;

use nic::*;

fn start(memory: Allocated) -> Result<Running, NotStarted<Memory, Fresh>> {
    Err(NotStarted::Lost(ETIME, memory))
}
