// SPDX-License-Identifier: GPL-2.0

//! Page pools, and the providers that their memory may come from.
//!
//! A driver that allows unreadable memory gets niovs from its page pools instead of pages when a
//! memory provider is installed on the queue. [`MemoryProvider`] is what a provider implements, and
//! [`ProviderOps`] makes the C vtable from it.
//!
//! C headers: [`include/net/page_pool/types.h`](srctree/include/net/page_pool/types.h),
//! [`memory_provider.h`](srctree/include/net/page_pool/memory_provider.h)

use super::{netmem::Niov, rx_queue::RxQueueId};
use crate::{
    bindings,
    error::to_result,
    ffi::{c_int, c_void},
    prelude::*,
    sync::{Arc, ArcBorrow},
};
use core::marker::PhantomData;

mod live;
mod pool;
pub use live::{usage, PoolUsage};
pub use pool::{PagePool, PagePoolParams};

/// Where a page pool gets its niovs from.
///
/// The object behind it is one binding. Each page pool that uses it owns a counted reference from a
/// successful [`init`](Self::init) until the pool's last niov has come back; the implementation
/// need not count.
pub trait MemoryProvider: Send + Sync + Sized + 'static {
    /// Checks whether `pool` can use this memory, and sets it up for it.
    ///
    /// Context: process, the device's instance lock held. An error fails the pool's creation;
    /// nothing undoes what was done before it.
    fn init(&self, pool: &mut PoolSetup<'_>) -> Result;

    /// The driver lets go of a pool for which [`init`](Self::init) succeeded: the pool asks for no
    /// more niovs, and those that are out are with packets and their readers, not with hardware.
    ///
    /// Context: as the driver's `page_pool_destroy`, mostly process with the instance lock held.
    fn let_go(this: ArcBorrow<'_, Self>);

    /// Gives niovs to the pool with [`Refill::push`], none if there are none left.
    ///
    /// Context: NAPI, or process with bottom halves enabled when a driver fills a fresh ring.
    fn alloc(&self, pool: &mut Refill<'_>);

    /// Takes a niov back that the pool no longer uses.
    ///
    /// Context: softirq, or process with bottom halves disabled or enabled; atomic.
    fn release(&self, niov: &Niov);

    /// The id to report in dumps of queues and page pools.
    ///
    /// Context: process, the instance lock or the list of page pools locked: take no device lock.
    fn dmabuf_id(&self) -> u32;

    /// The device that `rxq` belongs to goes away, and the queue with it; or the lease by which it
    /// had the queue.
    ///
    /// `hardware_leaves` says that it is the device that did the DMA. It is down, and does none
    /// from here on.
    ///
    /// Context: process, rtnl and instance lock held.
    fn uninstall(this: ArcBorrow<'_, Self>, rxq: RxQueueId, hardware_leaves: bool);
}

/// A page pool that is being created.
pub struct PoolSetup<'a> {
    pool: *mut bindings::page_pool,
    _pool: PhantomData<&'a mut bindings::page_pool>,
}

impl PoolSetup<'_> {
    /// Size of the pool's pieces, as a power of two of pages.
    pub fn order(&self) -> u32 {
        // SAFETY: The pool is being created, and nobody else has it.
        unsafe { bindings::page_pool_order(self.pool) }
    }

    /// Turns off cache maintenance, which memory of another device must not get.
    pub fn forbid_dma_sync(&mut self) {
        // SAFETY: The pool is being created, and nobody else has it.
        unsafe { bindings::page_pool_forbid_dma_sync(self.pool) };
    }
}

/// A page pool whose cache is empty and wants niovs.
///
/// # Invariants
///
/// The cache of `pool` has space for `room` more niovs, and the caller is its only user.
pub struct Refill<'a> {
    pool: *mut bindings::page_pool,
    room: usize,
    _pool: PhantomData<&'a mut bindings::page_pool>,
}

impl Refill<'_> {
    /// How many niovs the pool takes at once.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Gives a niov to the pool, which owns it until [`MemoryProvider::release`].
    ///
    /// Refuses one that is in a pool already, and any beyond [`room`](Self::room).
    #[inline]
    pub fn push(&mut self, niov: &Niov) -> bool {
        let raw = niov.as_raw();
        // SAFETY: Only the pool that owns a niov writes this field.
        let owner = unsafe { (*raw).desc.pp };
        if self.room == 0 || !owner.is_null() {
            return false;
        }
        // SAFETY: By the type invariant the cache is ours.
        let cache = unsafe { &mut *bindings::page_pool_alloc_cache(self.pool) };
        let Some(entry) = cache.cache.get_mut(cache.count as usize) else {
            return false;
        };
        *entry = niov.as_netmem();
        // INVARIANT: `room` and the count of the cache move together.
        cache.count += 1;
        self.room -= 1;
        // SAFETY: The niov is in no pool.
        unsafe { bindings::net_mp_niov_set_page_pool(self.pool, raw) };
        true
    }
}

/// The C vtable of a [`MemoryProvider`].
///
/// Has to stand in a `static` of built-in code: the net core compares the address and refuses one
/// that is not in the kernel's read-only data.
#[repr(transparent)]
pub struct ProviderOps<P: MemoryProvider> {
    ops: bindings::memory_provider_ops,
    _provider: PhantomData<fn(P)>,
}

// SAFETY: Function pointers only, never written.
unsafe impl<P: MemoryProvider> Sync for ProviderOps<P> {}

impl<P: MemoryProvider> ProviderOps<P> {
    /// Makes the vtable.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            ops: bindings::memory_provider_ops {
                alloc_netmems: Some(Self::alloc_netmems),
                release_netmem: Some(Self::release_netmem),
                init: Some(Self::init),
                detached: Some(Self::detached),
                destroy: Some(Self::destroy),
                nl_fill: Some(Self::nl_fill),
                uninstall: Some(Self::uninstall),
            },
            _provider: PhantomData,
        }
    }

    pub(super) fn as_raw(&'static self) -> *const bindings::memory_provider_ops {
        &self.ops
    }

    /// # Safety
    ///
    /// C calls it with a pool whose `mp_priv` is the provider that is installed on its queue.
    unsafe extern "C" fn init(pool: *mut bindings::page_pool) -> c_int {
        // SAFETY: `mp_priv` came from an `Arc<P>` that the installed queue owns, and the instance
        // lock, which is held here, keeps the queue installed.
        let provider =
            unsafe { ArcBorrow::from_raw(bindings::page_pool_mp_priv(pool).cast::<P>()) };
        let mut setup = PoolSetup {
            pool,
            _pool: PhantomData,
        };

        let entered = provider.init(&mut setup).and_then(|()| {
            // SAFETY: After a successful `init` the pool and its ring stay until `destroy`.
            unsafe { live::enter(pool, provider.dmabuf_id()) }.inspect_err(|_| P::let_go(provider))
        });
        match entered {
            Ok(()) => {
                // The pool's own reference; `destroy` takes it back.
                let _ = Arc::into_raw(Arc::from(provider));
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// C calls it at most once for a pool for which `init` succeeded, before `destroy`.
    unsafe extern "C" fn detached(pool: *mut bindings::page_pool) {
        if live::let_go(pool) {
            // SAFETY: The pool has the reference that `init` left with it.
            P::let_go(unsafe { ArcBorrow::from_raw(bindings::page_pool_mp_priv(pool).cast()) });
        }
    }

    /// # Safety
    ///
    /// C calls it once for a pool for which `init` succeeded, as the last callback.
    unsafe extern "C" fn destroy(pool: *mut bindings::page_pool) {
        // SAFETY: `init` left a reference with the pool for this.
        let provider =
            unsafe { Arc::from_raw(bindings::page_pool_mp_priv(pool).cast_const().cast::<P>()) };

        // A pool that waits for nothing goes at once.
        if live::leave(pool) {
            P::let_go(provider.as_arc_borrow());
        }
    }

    /// # Safety
    ///
    /// C calls it between `init` and `destroy`, from the one user of the pool's cache.
    unsafe extern "C" fn alloc_netmems(
        pool: *mut bindings::page_pool,
        _gfp: bindings::gfp_t,
    ) -> bindings::netmem_ref {
        // SAFETY: The pool holds a reference on its provider.
        let provider = unsafe { &*bindings::page_pool_mp_priv(pool).cast_const().cast::<P>() };
        // SAFETY: The cache belongs to the caller.
        let filled = unsafe { (*bindings::page_pool_alloc_cache(pool)).count } as usize;
        // INVARIANT: The cache is twice as large as one refill.
        let mut refill = Refill {
            pool,
            room: (bindings::PP_ALLOC_CACHE_REFILL as usize).saturating_sub(filled),
            _pool: PhantomData,
        };
        provider.alloc(&mut refill);

        // SAFETY: The cache still belongs to the caller.
        let cache = unsafe { &mut *bindings::page_pool_alloc_cache(pool) };
        let Some(last) = cache.count.checked_sub(1) else {
            return 0;
        };
        cache.count = last;
        cache.cache.get(last as usize).copied().unwrap_or(0)
    }

    /// # Safety
    ///
    /// C calls it between `init` and `destroy` with a netmem that this pool was given.
    ///
    /// Always returns false: the pool must not put what is no page.
    unsafe extern "C" fn release_netmem(
        pool: *mut bindings::page_pool,
        netmem: bindings::netmem_ref,
    ) -> bool {
        let tag = bindings::NET_IOV as bindings::netmem_ref;
        if crate::warn_on!(netmem & tag == 0) {
            return false;
        }
        let raw = (netmem & !tag) as *mut bindings::net_iov;
        // SAFETY: The tag says that it is a niov.
        let Some(niov) = (unsafe { Niov::from_raw(raw) }) else {
            crate::warn_on!(true);
            return false;
        };
        // SAFETY: The niov is valid; the pool that owns it is the only one to change these.
        let (owner, count) = unsafe { ((*raw).desc.pp, bindings::net_iov_ref_read(raw)) };
        if crate::warn_on!(owner != pool || count != 1) {
            return false;
        }
        // SAFETY: The niov is this pool's, with no reference but the pool's own.
        unsafe { bindings::net_mp_niov_clear_page_pool(raw) };
        // SAFETY: The pool holds a reference on its provider.
        let provider = unsafe { &*bindings::page_pool_mp_priv(pool).cast_const().cast::<P>() };
        provider.release(niov);
        false
    }

    /// # Safety
    ///
    /// C calls it with the provider of a live page pool, or of a queue whose device is locked.
    unsafe extern "C" fn nl_fill(
        mp_priv: *mut c_void,
        rsp: *mut bindings::sk_buff,
        rxq: *mut bindings::netdev_rx_queue,
    ) -> c_int {
        // SAFETY: Pool and installed queue each own a reference, and neither can go now.
        let provider = unsafe { &*mp_priv.cast_const().cast::<P>() };
        let attr = if rxq.is_null() {
            bindings::NETDEV_A_PAGE_POOL_DMABUF
        } else {
            bindings::NETDEV_A_QUEUE_DMABUF
        };
        // SAFETY: `rsp` is a message that is being filled.
        let put = unsafe { bindings::nla_put_u32(rsp, attr as c_int, provider.dmabuf_id()) };

        match to_result(put) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// C calls it for a queue on which the provider is installed, its device locked.
    unsafe extern "C" fn uninstall(mp_priv: *mut c_void, rxq: *mut bindings::netdev_rx_queue) {
        // SAFETY: The installed queue owned a reference; holding one more here keeps the provider
        // alive when `uninstall` drops that.
        let provider: Arc<P> = unsafe { ArcBorrow::from_raw(mp_priv.cast::<P>()) }.into();
        // SAFETY: The queue is valid, its device locked.
        let leaving = unsafe { bindings::rx_queue_is_leaving(rxq) };
        P::uninstall(provider.as_arc_borrow(), RxQueueId::new(rxq), leaving);
    }
}
