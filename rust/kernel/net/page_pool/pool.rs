// SPDX-License-Identifier: GPL-2.0

//! Page pools that a driver takes its receive buffers from.

use crate::{
    bindings, device::Device, dma::DataDirection, error::from_err_ptr, ffi::c_int,
    net::netdevice::NetDeviceGuard, page::PAGE_SHIFT, prelude::*, sync::aref::ARef,
};
use core::ptr::{self, NonNull};

/// What a page pool is to be like.
#[derive(Clone, Copy)]
pub struct PagePoolParams<'a> {
    /// How many pieces the pool keeps for reuse at most.
    pub size: u32,
    /// Size of a piece, as a power of two of pages.
    pub order: u32,
    /// NUMA node to allocate from.
    pub node: Option<u32>,
    /// The device that memory is mapped for. Without one the driver maps it, and no memory
    /// provider can be used.
    pub device: Option<&'a Device>,
    /// Where data goes to.
    pub direction: DataDirection,
}

/// A page pool of an RX queue: `struct page_pool`.
///
/// Dropping it lets go of it; it lives on until its last piece has come back. Its NAPI instance,
/// if it was given one, must not run any more by then.
///
/// # Invariants
///
/// The pool is valid, and this owns the reference that its creator has. Until that is given up, the
/// device that memory is mapped for is held.
pub struct PagePool {
    raw: NonNull<bindings::page_pool>,
    _device: Option<ARef<Device>>,
}

// SAFETY: Any thread may destroy a pool.
unsafe impl Send for PagePool {}

impl PagePool {
    /// A pool whose memory the CPU may always read: pages.
    ///
    /// `dev` is who the pool is shown to belong to. Context: process; sleeps.
    pub fn readable(dev: &NetDeviceGuard<'_>, params: PagePoolParams<'_>) -> Result<Self> {
        Self::new(dev, params, None)
    }

    /// A pool that draws from the memory provider that is installed on RX queue `index`, and from
    /// host memory if there is none.
    ///
    /// Only for a driver that does not look at the payload of what it receives: it splits headers
    /// off, and copies nothing out of its buffers.
    ///
    /// # Errors
    ///
    /// `ERANGE` no such queue; `EOPNOTSUPP` there is a provider, but no device to map for; `EINVAL`
    /// pieces of that order can't be; and what the provider says.
    ///
    /// Context: process; sleeps. The provider is that of the moment, which the lock keeps.
    pub fn maybe_unreadable(
        dev: &NetDeviceGuard<'_>,
        index: u32,
        params: PagePoolParams<'_>,
    ) -> Result<Self> {
        if index >= dev.rx_queues() {
            return Err(ERANGE);
        }
        Self::new(dev, params, Some(index))
    }

    fn new(
        dev: &NetDeviceGuard<'_>,
        params: PagePoolParams<'_>,
        unreadable: Option<u32>,
    ) -> Result<Self> {
        // More bytes than a `u32` counts, which C does not check for.
        if params.order as usize + PAGE_SHIFT >= u32::BITS as usize {
            return Err(EINVAL);
        }
        // SAFETY: Net device and device are valid, and the former is locked. The pool forgets the
        // former when that goes, and uses the latter until it is destroyed: then it unmaps what
        // is out.
        let pool = from_err_ptr(unsafe {
            bindings::page_pool_create_for_rxq(
                dev.as_raw(),
                params.device.map_or(ptr::null_mut(), Device::as_raw),
                params.size,
                params.order,
                params
                    .node
                    .map_or(Ok(bindings::NUMA_NO_NODE), c_int::try_from)?,
                params.direction.into(),
                unreadable.map_or(Ok(-1), c_int::try_from)?,
            )
        })?;
        // INVARIANT: It was just made, for us.
        Ok(Self {
            raw: NonNull::new(pool).ok_or(ENOMEM)?,
            _device: params.device.map(ARef::from),
        })
    }

    /// The raw pointer.
    #[cfg(CONFIG_RUST_NETDEV_KUNIT_TEST)]
    pub(in crate::net) fn as_raw(&self) -> *mut bindings::page_pool {
        self.raw.as_ptr()
    }

    /// Whether the pool's memory is a provider's, which the CPU must not read.
    pub fn is_unreadable(&self) -> bool {
        // SAFETY: By the type invariant; what is read never changes.
        unsafe { bindings::page_pool_is_unreadable(self.raw.as_ptr()) }
    }
}

impl Drop for PagePool {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::page_pool_destroy(self.raw.as_ptr()) };
    }
}
