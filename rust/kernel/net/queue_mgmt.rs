// SPDX-License-Identifier: GPL-2.0

//! Queue management: giving one RX queue of a running device other memory.
//!
//! A device memory binding, io_uring's zero-copy receive and a new page size all end in the same
//! step: the net core takes one RX queue from the driver and gives it back with other memory. A
//! driver takes part by implementing [`QueueManagement`]; [`QueueOps`] makes the C vtable from it.
//!
//! What the net core does, all of it in process context and under the device's instance lock:
//!
//! ```text
//!  alloc(new) --> stop(running) --> start(new) --> free(old)      all went well
//!      |               |                |
//!      |               |                `- fails: restart(old), free(new)
//!      |               |                               `- fails: free(old), free(new)
//!      |               `- fails: free(new)             the queue goes on, or needs a reset
//!      `- fails                                        nothing happened
//!
//!  alloc(new) --> free(new)                            the interface is down
//! ```
//!
//! The states that a queue's memory goes through are types, so that a wrong step does not compile:
//!
//! | type | what it says | what can be done with it |
//! | --- | --- | --- |
//! | [`Allocated`] | never ran | [`run`](Idle::run) it, or drop it |
//! | [`Running`] | the driver has it, the device may write to it | [`stopped`](Running::stopped) |
//! | [`Stopped`] | ran, and the device has let go of it | [`run`](Idle::run) it, or drop it |
//!
//! [`LockedDevice`] can only be had with the instance lock held, and every op takes one.
//!
//! C header: [`include/net/netdev_queues.h`](srctree/include/net/netdev_queues.h)

use super::{genetlink::ExtAck, netdevice::NetDeviceGuard};
use crate::{bindings, device::Device, error::VTABLE_DEFAULT_ERROR, prelude::*};
use core::{marker::PhantomData, mem::ManuallyDrop, ops::Deref};
use pin_init::ZeroableOption;

mod memory;
mod ops;
#[cfg(CONFIG_RUST_NETDEV_KUNIT_TEST)]
mod tests;

pub use memory::{Allocated, Fresh, History, Idle, NotStarted, NotStopped, Running, Stopped, Used};
pub use ops::QueueOps;

/// What an RX queue is to be like: `struct netdev_queue_config`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueConfig {
    /// Size in bytes of the pieces that the page pool hands out; 0 leaves it to the driver.
    pub rx_page_size: u32,
}

/// A device whose instance lock is held by the caller of an op.
///
/// It reaches what [`NetDeviceGuard`] does, and the driver's own data. Unlike the guard, it does
/// not unlock.
pub struct LockedDevice<'a, D> {
    guard: ManuallyDrop<NetDeviceGuard<'a>>,
    _data: PhantomData<&'a D>,
}

impl<'a, D> LockedDevice<'a, D> {
    /// Borrows the lock that somebody else holds.
    ///
    /// # Safety
    ///
    /// `dev` must be valid and its instance lock held for `'a`, and `netdev_priv(dev)` must be a
    /// valid `D` that is only borrowed shared meanwhile.
    pub unsafe fn from_raw(dev: *mut bindings::net_device) -> Self {
        Self {
            // SAFETY: The caller's promise. The guard is never dropped, so the lock stays.
            guard: ManuallyDrop::new(unsafe { NetDeviceGuard::assume_locked(dev) }),
            _data: PhantomData,
        }
    }

    /// What the driver keeps behind the device: `netdev_priv()`.
    pub fn data(&self) -> &D {
        // SAFETY: By the promise of `from_raw`.
        unsafe { &*bindings::netdev_priv(self.as_raw()).cast::<D>() }
    }
}

impl<'a, D> Deref for LockedDevice<'a, D> {
    type Target = NetDeviceGuard<'a>;

    fn deref(&self) -> &Self::Target {
        &self.guard
    }
}

/// What a driver does to give one of its RX queues other memory.
///
/// Every op runs in process context, may sleep, and gets the device with its instance lock held;
/// rtnl may or may not be held. None is called before the device is registered or after it is
/// unregistered. `index` is less than the number of RX queues in use.
///
/// # Memory
///
/// [`Memory`](Self::Memory) owns all that is needed to run a queue: rings, buffers, page pool.
/// Dropping it frees that.
///
/// The net core keeps it in a slot that it allocates zeroed, may move byte by byte, and frees
/// without a look at it. So the memory must not be pinned (`Unpin`), and a slot of zeroes has to
/// be an empty one ([`ZeroableOption`]): a [`KBox`] is both. The net core also owns the rollback:
/// what a driver is given in [`start`](Self::start) may be newer than what it gets back from
/// [`restart`](Self::restart), and both may end without ever running again.
#[vtable]
pub trait QueueManagement: Sized + 'static {
    /// What lies behind `netdev_priv()` of the devices that the ops are attached to.
    type Data: 'static;

    /// The memory of one RX queue.
    type Memory: ZeroableOption + Unpin + Send;

    /// Whether [`QueueConfig::rx_page_size`] may be other than what the driver prefers.
    const RX_PAGE_SIZE: bool = false;

    /// Allocates memory to run RX queue `index` with, and leaves the queue alone.
    ///
    /// A page pool that is made here draws from the provider that is installed on the queue by
    /// now, if there is one and the driver allows it: see
    /// [`PagePool::maybe_unreadable`](super::page_pool::PagePool::maybe_unreadable).
    ///
    /// Also called while the interface is down; then the memory is freed at once.
    ///
    /// Before: nothing. After: [`stop`](Self::stop) of the same queue, or the memory is freed.
    /// Errors end the reconfiguration and reach the caller, nothing else happened.
    fn alloc(
        dev: &LockedDevice<'_, Self::Data>,
        config: &QueueConfig,
        index: u32,
    ) -> Result<Self::Memory>;

    /// Stops the queue and takes its memory out of use.
    ///
    /// On success the device does not write to the memory any more, and nothing else of the driver
    /// (NAPI, timers, statistics) looks at it.
    ///
    /// Only called while the interface is up. Before: [`alloc`](Self::alloc). After:
    /// [`start`](Self::start). A failure ends the reconfiguration: the new memory is freed, and
    /// the queue has to go on with what it has, or to recover by a reset.
    fn stop(
        dev: &LockedDevice<'_, Self::Data>,
        running: Running<Self::Memory>,
    ) -> Result<Stopped<Self::Memory>, NotStopped<Self::Memory>>;

    /// Starts the queue on new memory.
    ///
    /// Only called while the interface is up. Before: a successful [`stop`](Self::stop) of the
    /// queue. After: the old memory is freed; on failure [`restart`](Self::restart) with it, and
    /// the new memory is freed if it came back.
    fn start(
        dev: &LockedDevice<'_, Self::Data>,
        config: &QueueConfig,
        memory: Allocated<Self::Memory>,
    ) -> Result<Running<Self::Memory>, NotStarted<Self::Memory, Fresh>>;

    /// Starts the queue on the memory that [`stop`](Self::stop) gave away, since it could not be
    /// [started](Self::start) on other.
    ///
    /// After a failure the queue has no memory: the driver has to see to a reset.
    fn restart(
        dev: &LockedDevice<'_, Self::Data>,
        config: &QueueConfig,
        memory: Stopped<Self::Memory>,
    ) -> Result<Running<Self::Memory>, NotStarted<Self::Memory, Used>>;

    /// The device that does DMA for RX queue `index`; without this op, the parent of the net
    /// device. `None` if the queue can't be used for zero-copy.
    ///
    /// Also called while the interface is down. Before: nothing. After: memory is mapped for the
    /// device, or, without one that has a DMA mask, the request ends with `EOPNOTSUPP`; nothing
    /// else happened.
    fn dma_device<'a>(_dev: &'a LockedDevice<'_, Self::Data>, _index: u32) -> Option<&'a Device> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The configuration of a queue that nobody asked anything special of.
    ///
    /// Also called while the interface is down. Before: nothing. After, if a queue is to get other
    /// memory: [`validate_config`](Self::validate_config) or [`alloc`](Self::alloc). It can't
    /// fail.
    fn default_config(_dev: &LockedDevice<'_, Self::Data>) -> QueueConfig {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether queues can be like this; if not, says why in `extack`.
    ///
    /// Only asked about a queue that is to get a memory provider, first with the defaults and then
    /// with what that provider wants. Also called while the interface is down.
    ///
    /// Before: [`default_config`](Self::default_config). After: [`alloc`](Self::alloc) with the
    /// same configuration. Errors reach the caller with what `extack` says, and the queue goes on
    /// as it was.
    fn validate_config(
        _dev: &LockedDevice<'_, Self::Data>,
        _config: &QueueConfig,
        _extack: ExtAck<'_>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
