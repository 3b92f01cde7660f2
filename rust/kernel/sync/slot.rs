// SPDX-License-Identifier: GPL-2.0

//! A place that holds at most one owned value and is exchanged atomically.

use super::atomic::{
    ordering::{Acquire, Full, Release},
    Atomic,
};
use crate::{ffi::c_void, types::ForeignOwnable};
use core::{marker::PhantomData, ptr};

/// Holds zero or one `T`, exchanged without a lock.
///
/// A value that was put is taken by exactly one caller of [`Slot::take`], however many race for
/// it. Usable in any context; what `T`'s destructor may do is `T`'s affair.
///
/// # Invariants
///
/// `ptr` is null or came from [`ForeignOwnable::into_foreign`] of a `T` that the slot owns.
pub struct Slot<T: ForeignOwnable> {
    ptr: Atomic<*mut c_void>,
    _owns: PhantomData<T>,
}

// SAFETY: A slot owns a `T` and nothing else.
unsafe impl<T: ForeignOwnable + Send> Send for Slot<T> {}

// SAFETY: Sharing a slot lets other threads take the `T` out of it, which `T: Send` allows; no
// reference to the `T` inside is ever handed out.
unsafe impl<T: ForeignOwnable + Send> Sync for Slot<T> {}

impl<T: ForeignOwnable> Slot<T> {
    /// Creates an empty slot.
    #[inline]
    pub const fn new() -> Self {
        // INVARIANT: The pointer is null.
        Self {
            ptr: Atomic::new(ptr::null_mut()),
            _owns: PhantomData,
        }
    }

    /// Puts `value` into an empty slot. Gives it back if the slot is in use.
    #[inline]
    pub fn put(&self, value: T) -> Result<(), T> {
        let raw = value.into_foreign();
        // INVARIANT: On success the slot owns what `into_foreign` gave.
        match self.ptr.cmpxchg(ptr::null_mut(), raw, Release) {
            Ok(_) => Ok(()),
            // SAFETY: `raw` comes from `into_foreign` above and went nowhere else.
            Err(_) => Err(unsafe { T::from_foreign(raw) }),
        }
    }

    /// Address that stands for the value inside ([`ForeignOwnable::into_foreign`]), zero if there
    /// is none. The value may be gone at once: only good for comparison.
    #[inline]
    pub fn addr(&self) -> usize {
        self.ptr.load(Acquire) as usize
    }

    /// Takes the value out, if there is one.
    #[inline]
    pub fn take(&self) -> Option<T> {
        let raw = self.ptr.xchg(ptr::null_mut(), Full);
        // SAFETY: By the type invariant `raw` is null or owned by the slot, and the exchange made
        // this call its only owner.
        unsafe { T::try_from_foreign(raw) }
    }
}

impl<T: ForeignOwnable> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ForeignOwnable> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
