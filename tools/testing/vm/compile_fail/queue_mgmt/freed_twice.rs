// SPDX-License-Identifier: GPL-2.0

//! Memory that was refused is freed, and goes back to the core as well.
//@ E0382 use of moved value: `memory`

mod nic;

use nic::*;

fn start(memory: Allocated) -> Result<Running, NotStarted<Memory, Fresh>> {
    drop(memory);
    Err(NotStarted::Refused(EIO, memory))
}
