// SPDX-License-Identifier: GPL-2.0

//! How many have hardware use something.

use kernel::{
    prelude::*,
    sync::atomic::{
        ordering::{Full, Relaxed},
        Atomic,
    },
};

/// A count that is over for good once it comes to zero.
pub(crate) struct Users(Atomic<u32>);

impl Users {
    /// One user.
    pub(crate) fn one() -> Self {
        Self(Atomic::new(1))
    }

    /// One user more.
    ///
    /// # Errors
    ///
    /// `ENODEV` once there is none left.
    pub(crate) fn add(&self) -> Result {
        let mut count = self.0.load(Relaxed);

        loop {
            if count == 0 {
                return Err(ENODEV);
            }
            let more = count.checked_add(1).ok_or(EOVERFLOW)?;
            match self.0.cmpxchg(count, more, Full) {
                Ok(_) => return Ok(()),
                Err(now) => count = now,
            }
        }
    }

    /// One user less. True if it was the last, for one caller.
    pub(crate) fn remove(&self) -> bool {
        self.0.fetch_sub(1, Full) == 1
    }

    /// Whether there is none left.
    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_users)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_told() {
        let users = Users::one();
        assert_eq!(users.add(), Ok(()));
        assert!(!users.remove());
        assert!(!users.is_none());
        assert!(users.remove());
        assert!(users.is_none());
    }

    #[test]
    fn none_comes_back() {
        let users = Users::one();
        assert!(users.remove());
        assert_eq!(users.add(), Err(ENODEV));
        assert!(users.is_none());
    }
}
