// SPDX-License-Identifier: GPL-2.0

//! A driver does not say how a queue gets its old memory back.
//@ E0046 not all trait items implemented, missing: `restart`

mod nic;

use nic::*;

struct Queues;

#[vtable]
impl QueueManagement for Queues {
    type Data = Nic;
    type Memory = Memory;

    fn alloc(_dev: &Device<'_>, _config: &QueueConfig, _index: u32) -> Result<Memory> {
        Err(ENOMEM)
    }

    fn stop(_dev: &Device<'_>, running: Running) -> Result<Stopped, NotStopped<Memory>> {
        Err(NotStopped(EIO, running))
    }

    fn start(
        _dev: &Device<'_>,
        _config: &QueueConfig,
        memory: Allocated,
    ) -> Result<Running, NotStarted<Memory, Fresh>> {
        Err(NotStarted::Refused(EIO, memory))
    }
}
