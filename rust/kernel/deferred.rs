// SPDX-License-Identifier: GPL-2.0

//! Destructors that need process context, for values that may die anywhere.

use crate::{
    alloc::Flags,
    error::Error,
    ffi::c_void,
    prelude::*,
    sync::static_lock_class,
    types::ForeignOwnable,
    workqueue::{impl_has_work, Queue, Work, WorkItem},
};
use core::{mem::ManuallyDrop, ops::Deref, pin::Pin};

/// Name of the lock class of all works here.
///
/// The class is a static in a generic function, of which there is one. A literal would be there
/// once for each crate that uses the function, and lockdep compares addresses.
static WORK_NAME: &CStr = c"Deferred::work";

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
/// [`workqueue::Queue::try_spawn`](crate::workqueue::Queue::try_spawn) would have to allocate where
/// the box dies, which may fail there; this has its work item from the beginning, as a type that
/// [`impl_has_work!`] is called for has. Nobody waits for the destructor: `T` has to be a type of
/// the kernel proper, or of a module that is never unloaded.
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
                work <- Work::new(WORK_NAME, static_lock_class!()),
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

// SAFETY: The foreign form is that of the inner box.
unsafe impl<T: Send + 'static> ForeignOwnable for Deferred<T> {
    const FOREIGN_ALIGN: usize = <Pin<KBox<Inner<T>>>>::FOREIGN_ALIGN;
    type Borrowed<'a> = &'a T;
    type BorrowedMut<'a> = &'a T;

    fn into_foreign(self) -> *mut c_void {
        let mut this = ManuallyDrop::new(self);

        // SAFETY: Nothing uses the field after this: `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }.into_foreign()
    }

    unsafe fn from_foreign(ptr: *mut c_void) -> Self {
        // SAFETY: The caller passes what `into_foreign` gave, once, which is what the box gave.
        Self(ManuallyDrop::new(unsafe {
            ForeignOwnable::from_foreign(ptr)
        }))
    }

    unsafe fn borrow<'a>(ptr: *mut c_void) -> &'a T {
        // SAFETY: The caller promises that the box lives for `'a`.
        let inner: &'a Inner<T> = unsafe { &*ptr.cast::<Inner<T>>() };

        &inner.value
    }

    unsafe fn borrow_mut<'a>(ptr: *mut c_void) -> &'a T {
        // SAFETY: As for `borrow`; the content is pinned, so only a shared reference is given.
        unsafe { Self::borrow(ptr) }
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_deferred)]
mod tests {
    use super::*;
    use crate::{
        interrupt::local_interrupt_disable,
        sync::{Arc, Completion},
    };

    /// Says when it is dropped.
    struct Last(Arc<Completion>);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.complete_all();
        }
    }

    fn deferred() -> Result<(Deferred<Last>, Arc<Completion>)> {
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let value = Deferred::try_pin_init(Ok::<_, Error>(Last(done.clone())), GFP_KERNEL)?;
        Ok((value, done))
    }

    #[test]
    fn dropped_where_nothing_may_sleep() -> Result {
        let (value, done) = deferred()?;
        let quiet = local_interrupt_disable();
        drop(value);
        drop(quiet);
        done.wait_for_completion();
        Ok(())
    }

    #[test]
    fn comes_back_from_its_foreign_form() -> Result {
        let (value, done) = deferred()?;
        let place = core::ptr::from_ref(&*value);
        let raw = value.into_foreign();
        // SAFETY: It comes from `into_foreign`, and is not taken back yet.
        assert!(core::ptr::eq(place, unsafe {
            Deferred::<Last>::borrow(raw)
        }));
        // SAFETY: As above, once.
        let value = unsafe { Deferred::<Last>::from_foreign(raw) };
        assert!(core::ptr::eq(place, &*value));
        drop(value);
        done.wait_for_completion();
        Ok(())
    }
}
