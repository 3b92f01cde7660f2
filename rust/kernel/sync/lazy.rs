// SPDX-License-Identifier: GPL-2.0

//! Statics that are made on first use.

use super::{Arc, SetOnce};
use crate::{deferred::cond_resched, error::Error, prelude::*};

/// A value for a `static` that needs memory or a lock class, and so can't be made at compile time.
///
/// Lives until the kernel ends.
///
/// # Examples
///
/// ```
/// use kernel::sync::{lazy::Lazy, new_mutex, Mutex};
///
/// static COUNT: Lazy<Mutex<u32>> = Lazy::new();
///
/// *COUNT.get_or_init(new_mutex!(0))?.lock() += 1;
/// assert_eq!(*COUNT.get().ok_or(EINVAL)?.lock(), 1);
/// # Ok::<(), Error>(())
/// ```
pub struct Lazy<T>(SetOnce<Arc<T>>);

impl<T> Lazy<T> {
    /// Declares a value that is not there yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(SetOnce::new())
    }

    /// The value, if somebody made it.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref().map(|value| &**value)
    }

    /// The value, made from `init` if it is not there yet. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `init`.
    pub fn get_or_init<E>(&self, init: impl PinInit<T, E>) -> Result<&T>
    where
        Error: From<E>,
    {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        self.0.populate(Arc::pin_init(init, GFP_KERNEL)?);
        loop {
            if let Some(value) = self.get() {
                return Ok(value);
            }
            // Another thread came first and is about to store its own.
            cond_resched();
        }
    }
}
