// SPDX-License-Identifier: GPL-2.0

//! The core moves memory that has to stay where it is.
//@ E0277 `PhantomPinned` cannot be unpinned

mod nic;

use nic::*;

struct Queues;

struct Pinned {
    _ring: Memory,
    _pin: core::marker::PhantomPinned,
}

// SAFETY: Not true, but this is not what the test is about.
unsafe impl pin_init::ZeroableOption for Pinned {}

#[vtable]
impl QueueManagement for Queues {
    type Data = Nic;
    type Memory = Pinned;

    fn alloc(_dev: &Device<'_>, _config: &QueueConfig, _index: u32) -> Result<Pinned> {
        Err(ENOMEM)
    }

    fn stop(
        _dev: &Device<'_>,
        running: queue_mgmt::Running<Pinned>,
    ) -> Result<queue_mgmt::Stopped<Pinned>, NotStopped<Pinned>> {
        Err(NotStopped(EIO, running))
    }

    fn start(
        _dev: &Device<'_>,
        _config: &QueueConfig,
        memory: queue_mgmt::Allocated<Pinned>,
    ) -> Result<queue_mgmt::Running<Pinned>, NotStarted<Pinned, Fresh>> {
        Err(NotStarted::Refused(EIO, memory))
    }

    fn restart(
        _dev: &Device<'_>,
        _config: &QueueConfig,
        memory: queue_mgmt::Stopped<Pinned>,
    ) -> Result<queue_mgmt::Running<Pinned>, NotStarted<Pinned, Used>> {
        Err(NotStarted::Refused(EIO, memory))
    }
}
