// SPDX-License-Identifier: GPL-2.0

//! A start fails, and nobody says where the memory is.
//@ E0308 mismatched types

mod nic;

use nic::*;

fn start(_memory: Allocated) -> Result<Running, NotStarted<Memory, Fresh>> {
    Err(EIO)
}
