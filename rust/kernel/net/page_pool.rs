// SPDX-License-Identifier: GPL-2.0

//! Page pools, and the providers that their memory may come from.
//!
//! A driver that allows unreadable memory gets niovs from its page pools instead of pages when a
//! memory provider is installed on the queue. [`MemoryProvider`] is what a provider implements, and
//! [`ProviderOps`] makes the C vtable from it.
//!
//! C headers: [`include/net/page_pool/types.h`](srctree/include/net/page_pool/types.h),
//! [`memory_provider.h`](srctree/include/net/page_pool/memory_provider.h)

use super::{netmem::Niov, rx_queue::Uninstalled};
use crate::{
    bindings,
    error::to_result,
    ffi::{c_int, c_void},
    page::PAGE_SHIFT,
    prelude::*,
    sync::{Arc, ArcBorrow},
};
use core::marker::PhantomData;

#[cfg(CONFIG_NET_DEVMEM_RUST)]
mod live;
mod pool;
#[cfg(CONFIG_NET_DEVMEM_RUST)]
pub use live::PoolUsage;
pub use pool::{PagePool, PagePoolParams};

/// Where a page pool gets its niovs from.
///
/// The object behind it is one binding. Each page pool that uses it owns a counted reference from a
/// successful [`init`](Self::init) until the pool's last niov has come back; the implementation
/// need not count.
pub trait MemoryProvider: Send + Sync + Sized + 'static {
    /// Checks whether `pool` can use this memory.
    ///
    /// Cache maintenance is off for such a pool: that of memory of another device is its
    /// exporter's.
    ///
    /// Context: process, the device's instance lock held. An error fails the pool's creation;
    /// nothing undoes what was done before it.
    fn init(&self, pool: &PoolSetup<'_>) -> Result;

    /// The driver lets go of a pool for which [`init`](Self::init) succeeded: the pool asks for no
    /// more niovs, and those that are out are with packets and their readers, not with hardware.
    /// The net core says so with `CONFIG_NET_DEVMEM_RUST` only.
    ///
    /// Context: as the driver's `page_pool_destroy`, mostly process with the instance lock held.
    fn let_go(this: ArcBorrow<'_, Self>);

    /// Gives niovs to the pool with [`Refill::push`], none if there are none left.
    ///
    /// `'a` is the time for which the pool has its reference on the provider: a niov that lives
    /// for it, in an area of the provider's, can't be gone before the pool gives it back.
    ///
    /// Context: NAPI, or process with bottom halves enabled when a driver fills a fresh ring.
    fn alloc<'a>(&'a self, pool: &mut Refill<'_, 'a>);

    /// Takes a niov back that the pool no longer uses.
    ///
    /// Context: softirq, or process with bottom halves disabled or enabled; atomic.
    fn release(&self, niov: &Niov);

    /// The id to report in dumps of queues and page pools.
    ///
    /// Context: process, the instance lock or the list of page pools locked: take no device lock.
    fn dmabuf_id(&self) -> u32;

    /// The device that a queue belongs to goes away, and the queue with it; or the lease by which
    /// it had the queue. [`InstalledProvider::forget`] ends what was installed there.
    ///
    /// Context: process, rtnl and instance lock held.
    ///
    /// [`InstalledProvider::forget`]: super::rx_queue::InstalledProvider::forget
    fn uninstall(this: ArcBorrow<'_, Self>, queue: &Uninstalled<'_>);
}

/// A page pool that is being created.
///
/// # Invariants
///
/// `pool` is valid for `'a`, and nobody else has it.
pub struct PoolSetup<'a> {
    pool: *mut bindings::page_pool,
    _pool: PhantomData<&'a mut bindings::page_pool>,
}

impl PoolSetup<'_> {
    /// Size of the pool's pieces, as a power of two of pages.
    pub fn order(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { bindings::net_mp_pool_order(self.pool) }
    }
}

/// A page pool whose cache is empty and wants niovs, which have to live for `'mem`.
///
/// # Invariants
///
/// The cache of `pool` has space for `room` more niovs, and the caller is its only user. The pool
/// keeps its provider for `'mem`.
pub struct Refill<'pool, 'mem> {
    pool: *mut bindings::page_pool,
    room: usize,
    /// Size of the pool's pieces in bytes, as a power of two.
    shift: usize,
    _pool: PhantomData<&'pool mut bindings::page_pool>,
    // Neither longer nor shorter will do.
    _mem: PhantomData<fn(&'mem Niov) -> &'mem Niov>,
}

impl<'mem> Refill<'_, 'mem> {
    /// How many niovs the pool takes at once.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Gives a niov to the pool, which owns it until [`MemoryProvider::release`].
    ///
    /// Refuses one that is in a pool already, one that is not as large as the pool's pieces, and
    /// any beyond [`room`](Self::room).
    #[inline]
    pub fn push(&mut self, niov: &'mem Niov) -> bool {
        // A driver would have its device write past the end of one that is smaller.
        if self.room == 0 || niov.area().niov_shift() as usize != self.shift {
            return false;
        }
        // SAFETY: By the type invariant there is space in the cache, which is ours. The pool does
        // not end, and let go of its provider, before all niovs are back, and `niov` lives as long
        // as it has that.
        let taken = unsafe { bindings::net_mp_niov_place_in_cache(self.pool, niov.as_raw()) };
        // INVARIANT: `room` and the count of the cache move together.
        self.room -= usize::from(taken);
        taken
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
                #[cfg(CONFIG_NET_DEVMEM_RUST)]
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
    /// `pool` must be one that C calls these operations for, from the start of `init` to the end of
    /// `destroy`, and `'a` end before its provider does.
    unsafe fn provider<'a>(pool: *const bindings::page_pool) -> &'a P {
        // SAFETY: The caller's promise.
        unsafe { &*bindings::net_mp_pool_priv(pool).cast_const().cast::<P>() }
    }

    /// # Safety
    ///
    /// C calls it with a pool whose `mp_priv` is the provider that is installed on its queue.
    unsafe extern "C" fn init(pool: *mut bindings::page_pool) -> c_int {
        // SAFETY: The instance lock, which is held here, keeps the queue's provider installed, and
        // what is installed keeps the provider.
        let provider = unsafe { Self::provider(pool) };
        // SAFETY: The pool is being created.
        unsafe { bindings::net_mp_pool_disable_dma_sync(pool) };
        // INVARIANT: As above.
        let setup = PoolSetup {
            pool,
            _pool: PhantomData,
        };

        match provider.init(&setup) {
            Ok(()) => {
                // SAFETY: `mp_priv` came from an `Arc<P>`.
                let provider: Arc<P> = unsafe { ArcBorrow::from_raw(provider) }.into();
                // The pool's own reference; `destroy` takes it back.
                let _ = Arc::into_raw(provider);
                0
            }
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// C calls it once for a pool for which `init` succeeded, before `destroy`.
    #[cfg(CONFIG_NET_DEVMEM_RUST)]
    unsafe extern "C" fn detached(pool: *mut bindings::page_pool) {
        // SAFETY: As the caller promises.
        let provider = unsafe { bindings::net_mp_pool_priv(pool) };
        // SAFETY: The pool has the reference that `init` left with it.
        P::let_go(unsafe { ArcBorrow::from_raw(provider.cast::<P>()) });
    }

    /// # Safety
    ///
    /// C calls it once for a pool for which `init` succeeded, as the last callback.
    unsafe extern "C" fn destroy(pool: *mut bindings::page_pool) {
        // SAFETY: As the caller promises.
        let provider = unsafe { bindings::net_mp_pool_priv(pool) };
        // SAFETY: `init` left a reference with the pool for this.
        drop(unsafe { Arc::from_raw(provider.cast_const().cast::<P>()) });
    }

    /// # Safety
    ///
    /// C calls it between `init` and `destroy`, from the one user of the pool's cache.
    unsafe extern "C" fn alloc_netmems(
        pool: *mut bindings::page_pool,
        _gfp: bindings::gfp_t,
    ) -> bindings::netmem_ref {
        // SAFETY: The pool holds a reference on its provider until `destroy`.
        let provider = unsafe { Self::provider(pool) };
        // SAFETY: The cache belongs to the caller.
        let room = unsafe { bindings::net_mp_cache_room(pool) } as usize;
        // SAFETY: The pool is valid.
        let order = unsafe { bindings::net_mp_pool_order(pool) } as usize;
        // INVARIANT: As C says. The borrow of `provider` lasts until `destroy`.
        let mut refill = Refill {
            pool,
            room,
            shift: PAGE_SHIFT + order,
            _pool: PhantomData,
            _mem: PhantomData,
        };
        provider.alloc(&mut refill);

        // SAFETY: The cache still belongs to the caller.
        unsafe { bindings::net_mp_netmem_take_from_cache(pool) }
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
        // SAFETY: The niov is valid; the pool that owns it is the only one to change this.
        let unused = unsafe { bindings::net_mp_niov_is_unused(pool, raw) };
        if crate::warn_on!(!unused) {
            return false;
        }
        // SAFETY: The niov is this pool's, with no reference but the pool's own.
        unsafe { bindings::net_mp_niov_clear_page_pool(raw) };
        // SAFETY: The pool holds a reference on its provider.
        unsafe { Self::provider(pool) }.release(niov);
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
        // SAFETY: The pool has a reference, and what is installed on a queue has one; neither can
        // go now.
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
        // SAFETY: What is installed has a reference. The one that is taken here keeps the provider
        // when `uninstall` drops that.
        let provider: Arc<P> = unsafe { ArcBorrow::from_raw(mp_priv.cast::<P>()) }.into();
        // SAFETY: The queue is valid and leaves, its device locked.
        let queue = unsafe { Uninstalled::new(mp_priv, rxq) };
        P::uninstall(provider.as_arc_borrow(), &queue);
    }
}
