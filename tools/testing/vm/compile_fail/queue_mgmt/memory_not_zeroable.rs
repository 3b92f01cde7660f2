// SPDX-License-Identifier: GPL-2.0

//! The core begins with a slot of zeroes, which need not be an empty one.
//@ E0277 the trait bound `Vec<nic::Ring, Kmalloc>: pin_init::ZeroableOption` is not satisfied

mod nic;

use nic::*;

struct Queues;

#[vtable]
impl QueueManagement for Queues {
    type Data = Nic;
    type Memory = KVec<Ring>;

    fn alloc(_dev: &Device<'_>, _config: &QueueConfig, _index: u32) -> Result<KVec<Ring>> {
        Err(ENOMEM)
    }

    fn stop(
        _dev: &Device<'_>,
        running: queue_mgmt::Running<KVec<Ring>>,
    ) -> Result<queue_mgmt::Stopped<KVec<Ring>>, NotStopped<KVec<Ring>>> {
        Err(NotStopped(EIO, running))
    }

    fn start(
        _dev: &Device<'_>,
        _config: &QueueConfig,
        memory: queue_mgmt::Allocated<KVec<Ring>>,
    ) -> Result<queue_mgmt::Running<KVec<Ring>>, NotStarted<KVec<Ring>, Fresh>> {
        Err(NotStarted::Refused(EIO, memory))
    }

    fn restart(
        _dev: &Device<'_>,
        _config: &QueueConfig,
        memory: queue_mgmt::Stopped<KVec<Ring>>,
    ) -> Result<queue_mgmt::Running<KVec<Ring>>, NotStarted<KVec<Ring>, Used>> {
        Err(NotStarted::Refused(EIO, memory))
    }
}
