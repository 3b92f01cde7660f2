// SPDX-License-Identifier: GPL-2.0

//! Memory providers on RX queues.
//!
//! C headers: [`include/net/netdev_rx_queue.h`](srctree/include/net/netdev_rx_queue.h),
//! [`include/net/page_pool/memory_provider.h`](srctree/include/net/page_pool/memory_provider.h)

use super::{
    genetlink::ExtAck,
    netdevice::NetDeviceGuard,
    page_pool::{MemoryProvider, ProviderOps},
};
use crate::{bindings, error::to_result, ffi::c_void, prelude::*, sync::Arc};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
};

/// A provider that is installed on an RX queue.
///
/// Ends with [`close`](Self::close), which restarts the queue on ordinary memory, or with
/// [`forget`](Self::forget) once the queue is gone. If it is just dropped, the provider stays where
/// it is, on the queue, and is never freed.
///
/// # Invariants
///
/// Nobody but the queue `rxq`, or the queue `real` that it stands for, has `provider` installed by
/// this object. `provider` is a reference that is only given up when neither has it any more.
#[must_use = "a provider stays installed until `close`"]
pub struct InstalledProvider<P: MemoryProvider> {
    ops: &'static ProviderOps<P>,
    provider: ManuallyDrop<Arc<P>>,
    index: u32,
    /// Only good for comparison.
    rxq: NonNull<bindings::netdev_rx_queue>,
    /// The queue that has the memory: that of the physical device, if `rxq` leases it.
    real: NonNull<bindings::netdev_rx_queue>,
}

// SAFETY: The queues are only compared, and an `Arc<P>` may be sent.
unsafe impl<P: MemoryProvider> Send for InstalledProvider<P> {}

// SAFETY: As above; nothing can be changed through `&InstalledProvider`.
unsafe impl<P: MemoryProvider> Sync for InstalledProvider<P> {}

impl<P: MemoryProvider> InstalledProvider<P> {
    /// Installs `provider` on queue `index` of `dev` and restarts the queue on its memory.
    ///
    /// `rx_page_size` asks for niovs of another size than a page, in bytes; 0 for a page.
    ///
    /// # Errors
    ///
    /// `ERANGE` no such queue, `EINVAL` header split is off or has a threshold, `EEXIST` XDP is
    /// attached or the queue has a provider, `EBUSY` AF_XDP or a lease has the queue, `EOPNOTSUPP`
    /// no queue management or another page size, `EFAULT` the operations are not in read-only data
    /// of the kernel proper; and what the driver says.
    ///
    /// Context: process; sleeps.
    pub fn open(
        dev: &NetDeviceGuard<'_>,
        index: u32,
        ops: &'static ProviderOps<P>,
        provider: Arc<P>,
        rx_page_size: u32,
        extack: ExtAck<'_>,
    ) -> Result<Self> {
        let params = Self::params(ops, &provider, rx_page_size);
        // SAFETY: The device is locked, `ops` is static and `mp_priv` an `Arc<P>` as the callbacks
        // in `ops` want it. That lives until the queue does not have it any more: C takes it off
        // again on failure, and on success the result keeps it.
        to_result(unsafe {
            bindings::netif_mp_open_rxq(dev.as_raw(), index, &params, extack.as_raw())
        })?;
        // SAFETY: The call above checked that the queue exists, and that the lease, which the lock
        // keeps, may be followed.
        let (rxq, real) = unsafe {
            let (mut other, mut at) = (dev.as_raw(), index);
            let rxq = bindings::__netif_get_rx_queue(other, index);
            let direction = bindings::netif_lease_dir_NETIF_VIRT_TO_PHYS;
            let real = bindings::__netif_get_rx_queue_lease(&mut other, &mut at, direction);
            (
                NonNull::new_unchecked(rxq),
                NonNull::new(real).unwrap_or(NonNull::new_unchecked(rxq)),
            )
        };
        // INVARIANT: C installed it on `real`.
        Ok(Self {
            ops,
            provider: ManuallyDrop::new(provider),
            index,
            rxq,
            real,
        })
    }

    /// Takes the provider off the queue and restarts it on ordinary memory.
    ///
    /// Gives it back, and does nothing, if `dev` is another device than it was
    /// [installed](Self::open) on.
    ///
    /// Context: process; sleeps.
    pub fn close(self, dev: &NetDeviceGuard<'_>) -> Result<(), Self> {
        if self.index >= dev.rx_queues() {
            return Err(self);
        }
        // SAFETY: The device is locked and has the queue.
        let rxq = unsafe { bindings::__netif_get_rx_queue(dev.as_raw(), self.index) };
        if !ptr::eq(rxq, self.rxq.as_ptr()) {
            return Err(self);
        }
        let params = Self::params(self.ops, &self.provider, 0);
        // SAFETY: The device is locked. If the provider is not on the queue any more, since the
        // device leaves or the lease is over, C finds that out by the parameters, and does nothing.
        unsafe { bindings::netif_mp_close_rxq(dev.as_raw(), self.index, &params) };
        // SAFETY: The queue does not have it any more.
        unsafe { self.release() };
        Ok(())
    }

    /// Ends with a queue that went away.
    ///
    /// Gives it back, and does nothing, if it is on another queue.
    pub fn forget(self, queue: &Uninstalled<'_>) -> Result<(), Self> {
        if !self.is_on(queue) {
            return Err(self);
        }
        // SAFETY: By the invariant of `Uninstalled` the queue does not have it any more.
        unsafe { self.release() };
        Ok(())
    }

    /// Whether that queue is the one.
    pub fn is_on(&self, queue: &Uninstalled<'_>) -> bool {
        let here = queue.rxq == self.rxq || queue.rxq == self.real;
        here && ptr::eq(queue.provider, Arc::as_ptr(&self.provider).cast())
    }

    /// # Safety
    ///
    /// The provider must not be on the queue any more.
    unsafe fn release(mut self) {
        // SAFETY: `self` ends here, and has no destructor that would use it again.
        unsafe { ManuallyDrop::drop(&mut self.provider) };
    }

    /// Index of the queue in its device.
    pub fn index(&self) -> u32 {
        self.index
    }

    fn params(
        ops: &'static ProviderOps<P>,
        provider: &Arc<P>,
        rx_page_size: u32,
    ) -> bindings::pp_memory_provider_params {
        bindings::pp_memory_provider_params {
            mp_priv: Arc::as_ptr(provider).cast_mut().cast(),
            mp_ops: ops.as_raw(),
            rx_page_size,
        }
    }
}

/// A queue that a provider was taken off, since it goes away.
///
/// # Invariants
///
/// `provider` was installed on `rxq`, or on the queue that `rxq` leased, and is not any more. The
/// device of the former is locked for `'a`.
pub struct Uninstalled<'a> {
    rxq: NonNull<bindings::netdev_rx_queue>,
    provider: *const c_void,
    hardware_leaves: bool,
    _device: PhantomData<&'a bindings::netdev_rx_queue>,
}

impl Uninstalled<'_> {
    /// Takes `provider` off `rxq`. One that had the queue by a lease was taken off before.
    ///
    /// # Safety
    ///
    /// As for C's call of `memory_provider_ops::uninstall`: `rxq` has to be a queue of a device
    /// that is locked for the lifetime of the result, and `provider` installed there.
    pub(super) unsafe fn new(provider: *const c_void, rxq: *mut bindings::netdev_rx_queue) -> Self {
        // SAFETY: The queue is valid, its device locked.
        let hardware_leaves = unsafe {
            bindings::rx_queue_clear_provider(rxq, provider);
            bindings::rx_queue_is_leaving(rxq)
        };
        // INVARIANT: It was just taken off.
        Self {
            // SAFETY: A valid pointer is not null.
            rxq: unsafe { NonNull::new_unchecked(rxq) },
            provider,
            hardware_leaves,
            _device: PhantomData,
        }
    }

    /// Whether it is the device that did the DMA that goes. It is down, and does none from here on.
    pub fn hardware_leaves(&self) -> bool {
        self.hardware_leaves
    }
}
