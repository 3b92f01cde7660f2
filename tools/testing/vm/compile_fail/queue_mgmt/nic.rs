// SPDX-License-Identifier: GPL-2.0

//! What the crates beside this one have in common: a NIC, and short names for its types.

#![allow(dead_code, unused_imports)]

pub(crate) use kernel::{
    net::{
        netdevice::{NetDevice, NetDeviceGuard},
        queue_mgmt::{
            self, Fresh, History, Idle, LockedDevice, NotStarted, NotStopped, QueueConfig,
            QueueManagement, QueueOps, Used,
        },
    },
    prelude::*,
};

/// What the driver keeps of a device.
pub(crate) struct Nic;

/// What a queue runs on.
pub(crate) struct Ring {
    pub(crate) id: u32,
}

pub(crate) type Memory = KBox<Ring>;
pub(crate) type Device<'a> = LockedDevice<'a, Nic>;
pub(crate) type Running = queue_mgmt::Running<Memory>;
pub(crate) type Allocated = queue_mgmt::Allocated<Memory>;
pub(crate) type Stopped = queue_mgmt::Stopped<Memory>;

impl Nic {
    /// Has the device let go of a queue's ring, and takes it.
    pub(crate) fn stop(&self, _index: u32) -> Result<Memory> {
        Err(ENODATA)
    }

    /// Gives the device a ring.
    pub(crate) fn run(&self, _ring: Memory) {}
}

/// What `#[vtable]` wants a module to have.
pub(crate) struct LocalModule;

impl kernel::ModuleMetadata for LocalModule {
    const NAME: &'static CStr = c"nic";
    // SAFETY: Null stands for built-in code.
    const THIS_MODULE: kernel::ThisModule =
        unsafe { kernel::ThisModule::from_ptr(core::ptr::null_mut()) };
}

/// A driver that refuses all that it is asked, whose queues run on `$memory`.
macro_rules! driver_with_memory {
    ($memory:ty) => {
        struct Queues;

        #[vtable]
        impl QueueManagement for Queues {
            type Data = Nic;
            type Memory = $memory;

            fn alloc(_dev: &Device<'_>, _config: &QueueConfig, _index: u32) -> Result<$memory> {
                Err(ENOMEM)
            }

            fn stop(
                _dev: &Device<'_>,
                running: queue_mgmt::Running<$memory>,
            ) -> Result<queue_mgmt::Stopped<$memory>, NotStopped<$memory>> {
                Err(NotStopped(EIO, running))
            }

            fn start(
                _dev: &Device<'_>,
                _config: &QueueConfig,
                memory: queue_mgmt::Allocated<$memory>,
            ) -> Result<queue_mgmt::Running<$memory>, NotStarted<$memory, Fresh>> {
                Err(NotStarted::Refused(EIO, memory))
            }

            fn restart(
                _dev: &Device<'_>,
                _config: &QueueConfig,
                memory: queue_mgmt::Stopped<$memory>,
            ) -> Result<queue_mgmt::Running<$memory>, NotStarted<$memory, Used>> {
                Err(NotStarted::Refused(EIO, memory))
            }
        }
    };
}
pub(crate) use driver_with_memory;
