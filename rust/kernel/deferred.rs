// SPDX-License-Identifier: GPL-2.0

//! Destructors that need process context, for values that may die anywhere.

use crate::{
    alloc::Flags,
    error::Error,
    ffi::c_void,
    prelude::*,
    types::ForeignOwnable,
    workqueue::{impl_has_work, new_work, Queue, Work, WorkItem},
};
use core::{mem::ManuallyDrop, ops::Deref, pin::Pin, ptr};

/// Lets the scheduler run something else, if it wants to.
///
/// For long loops in process context. Must not be called with a spinlock held.
#[inline]
pub fn cond_resched() {
    // SAFETY: Has no requirement but the context, which a debug kernel checks.
    unsafe { bindings::cond_resched() };
}

/// The system's queue whose workers run on any CPU.
///
/// [`workqueue::system_unbound`](crate::workqueue::system_unbound) is its predecessor, and the
/// first use of that is complained about in the log.
pub fn unbound_queue() -> &'static Queue {
    // SAFETY: The queue is there since early boot, and for ever.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}

#[pin_data]
struct Inner<T> {
    #[pin]
    work: Work<Inner<T>>,
    #[pin]
    value: T,
}

impl_has_work! {
    impl{T} HasWork<Self> for Inner<T> { self.work }
}

impl<T: Send + 'static> WorkItem for Inner<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Pin<KBox<Self>>) {
        drop(this);
    }
}

/// A box whose content is dropped by a workqueue.
///
/// Dropping the box is allowed in any context, softirq and spinlocks included, allocates nothing
/// and does not sleep. The destructor of `T` runs soon after in process context and may sleep.
///
/// # Invariants
///
/// The inner box is valid until `drop`.
pub struct Deferred<T: Send + 'static>(ManuallyDrop<Pin<KBox<Inner<T>>>>);

impl<T: Send + 'static> Deferred<T> {
    /// Allocates a box and initialises its content in place.
    ///
    /// Context: as `flags` allow.
    pub fn try_pin_init(init: impl PinInit<T, Error>, flags: Flags) -> Result<Self> {
        let inner = KBox::try_pin_init(
            try_pin_init!(Inner {
                work <- new_work!("Deferred::work"),
                value <- init,
            }? Error),
            flags,
        )?;
        Ok(Self(ManuallyDrop::new(inner)))
    }
}

impl<T: Send + 'static> Deref for Deferred<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Send + 'static> Drop for Deferred<T> {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and nothing uses the field after it.
        let inner = unsafe { ManuallyDrop::take(&mut self.0) };

        unbound_queue().enqueue(inner);
    }
}

// SAFETY: `into_foreign` gives the pointer of a live `KBox<Inner<T>>`, which is not null and
// aligned for `Inner<T>`.
unsafe impl<T: Send + 'static> ForeignOwnable for Deferred<T> {
    const FOREIGN_ALIGN: usize = core::mem::align_of::<Inner<T>>();
    type Borrowed<'a> = &'a T;
    type BorrowedMut<'a> = &'a T;

    fn into_foreign(self) -> *mut c_void {
        let this = ManuallyDrop::new(self);

        ptr::from_ref::<Inner<T>>(&this.0).cast_mut().cast()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: The caller passes what `into_foreign` gave, once; so this is the pointer of a
        // pinned `KBox` whose ownership comes back here.
        let inner = unsafe { Pin::new_unchecked(KBox::from_raw(ptr.cast::<Inner<T>>())) };
        Self(ManuallyDrop::new(inner))
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a T {
        // SAFETY: The caller promises that the box lives for `'a`.
        unsafe { &(*ptr.cast::<Inner<T>>()).value }
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a T {
        // SAFETY: As for `borrow`; the content is pinned, so only a shared reference is given.
        unsafe { Self::borrow(ptr) }
    }
}
