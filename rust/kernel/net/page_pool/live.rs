// SPDX-License-Identifier: GPL-2.0

//! Which page pools draw from which provider, for those who want to look.

#[cfg(doc)]
use super::MemoryProvider;
use crate::{
    bindings,
    prelude::*,
    sync::{lazy::Lazy, new_mutex, Mutex},
};
use core::{mem, ptr::NonNull};

/// A page pool between its provider's `init` and `destroy`.
///
/// # Invariants
///
/// While it is on the list, the pool and its ring are valid.
struct LivePool {
    pool: NonNull<bindings::page_pool>,
    /// [`MemoryProvider::dmabuf_id`] of its provider.
    dmabuf_id: u32,
    /// Whether its driver takes buffers from it.
    in_use: bool,
}

// SAFETY: The pointer is only followed under the lock of the list, to read counters of a pool that
// any CPU may read.
unsafe impl Send for LivePool {}

/// The lock is taken inside the instance lock of a device, and takes no other lock inside it.
static LIVE: Lazy<Mutex<KVec<LivePool>>> = Lazy::new();

/// Puts a pool on the list.
///
/// # Safety
///
/// The pool and its ring must stay valid until [`leave`].
pub(super) unsafe fn enter(pool: *mut bindings::page_pool, dmabuf_id: u32) -> Result {
    let live = LIVE.get_or_init(new_mutex!(KVec::new()))?;
    // INVARIANT: The caller's promise.
    live.lock().push(
        LivePool {
            pool: NonNull::new(pool).ok_or(EINVAL)?,
            dmabuf_id,
            in_use: true,
        },
        GFP_KERNEL,
    )?;
    Ok(())
}

/// The pool's driver lets go of it. True if it had not before. Process context.
pub(super) fn let_go(pool: *mut bindings::page_pool) -> bool {
    let Some(live) = LIVE.get() else {
        return false;
    };
    let mut live = live.lock();
    let entry = live.iter_mut().find(|entry| entry.pool.as_ptr() == pool);

    entry.is_some_and(|entry| mem::replace(&mut entry.in_use, false))
}

/// Takes a pool off the list. True if its driver had not let go of it. Process context.
pub(super) fn leave(pool: *mut bindings::page_pool) -> bool {
    let was_in_use = let_go(pool);

    if let Some(live) = LIVE.get() {
        live.lock().retain(|entry| entry.pool.as_ptr() != pool);
    }
    was_in_use
}

/// What the page pools of a provider have, at about this moment.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// How many pools there are: one a bound queue, and those of former bindings of a queue that
    /// wait for their niovs.
    pub pools: usize,
    /// Niovs that wait in them for the next packet.
    pub idle: usize,
}

/// Looks at the page pools that draw from the provider with this id. Process context.
pub fn usage(dmabuf_id: u32) -> PoolUsage {
    let mut usage = PoolUsage::default();
    let Some(live) = LIVE.get() else {
        return usage;
    };

    for entry in live.lock().iter().filter(|e| e.dmabuf_id == dmabuf_id) {
        usage.pools += 1;
        // SAFETY: By the type invariant, since the list is locked.
        usage.idle += unsafe { bindings::page_pool_idle(entry.pool.as_ptr()) } as usize;
    }
    usage
}
