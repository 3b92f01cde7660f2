// SPDX-License-Identifier: GPL-2.0

//! What page pools have from their providers, for those who want to look.

use super::{MemoryProvider, ProviderOps};
use crate::{bindings, ffi::c_void};

/// What the page pools of a provider have, at about this moment.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// How many pools there are: one a bound queue, and those of former bindings of a queue that
    /// wait for their niovs.
    pub pools: usize,
    /// How many of them a driver still takes buffers from, for hardware to write to.
    pub in_use: usize,
    /// Niovs that wait in them for the next packet.
    pub idle: usize,
}

/// What [`ProviderOps::visit`] adds up, and for whom.
struct Count {
    dmabuf_id: u32,
    usage: PoolUsage,
}

impl<P: MemoryProvider> ProviderOps<P> {
    /// Looks at the page pools that draw from the provider with this
    /// [id](MemoryProvider::dmabuf_id).
    ///
    /// Context: process; waits while a page pool comes or goes. A device's instance lock may be
    /// held, and rtnl.
    pub fn usage(&'static self, dmabuf_id: u32) -> PoolUsage {
        let mut count = Count {
            dmabuf_id,
            usage: PoolUsage::default(),
        };

        // SAFETY: `visit` takes what it is called with: pools of these operations, and `count`.
        unsafe {
            bindings::net_mp_walk_pools(self.as_raw(), Some(Self::visit), (&raw mut count).cast())
        };
        count.usage
    }

    /// # Safety
    ///
    /// C calls it for a pool of these operations, with a [`Count`] that nobody else uses.
    unsafe extern "C" fn visit(pool: *const bindings::net_mp_pool_usage, count: *mut c_void) {
        // SAFETY: The caller's promise.
        let (pool, count) = unsafe { (&*pool, &mut *count.cast::<Count>()) };
        // SAFETY: The pool has a reference on its provider as long as it is visited.
        let provider = unsafe { &*pool.mp_priv.cast_const().cast::<P>() };

        if provider.dmabuf_id() == count.dmabuf_id {
            count.usage.pools += 1;
            count.usage.in_use += usize::from(!pool.detached);
            count.usage.idle += pool.idle as usize;
        }
    }
}
