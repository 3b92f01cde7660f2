// SPDX-License-Identifier: GPL-2.0

//! The ids that user space knows bindings by.

use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::{lazy::Lazy, new_mutex, Mutex},
};

/// Ids in use, and where to look for the next one.
struct Ids {
    used: RBTree<u32, ()>,
    last: u32,
}

static IDS: Lazy<Mutex<Ids>> = Lazy::new();

/// An id that no other binding has. Free again when dropped.
///
/// Ids go up and wrap around, so one is not used again soon after its binding has ended. Zero is
/// never given.
pub(crate) struct Id(u32);

impl Id {
    /// Reserves an id. Process context.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let ids = IDS.get_or_init(new_mutex!(Ids {
            used: RBTree::new(),
            last: 0,
        }))?;
        let mut ids = ids.lock();

        // There can't be 2^32 bindings, so this ends.
        let id = loop {
            ids.last = ids.last.wrapping_add(1);
            if ids.last != 0 && ids.used.get(&ids.last).is_none() {
                break ids.last;
            }
        };
        ids.used.try_create_and_insert(id, (), GFP_KERNEL)?;
        Ok(Self(id))
    }

    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        if let Some(ids) = IDS.get() {
            ids.lock().used.remove(&self.0);
        }
    }
}
