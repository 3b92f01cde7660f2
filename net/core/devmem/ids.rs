// SPDX-License-Identifier: GPL-2.0

//! The ids that user space knows bindings by.

use kernel::{
    deferred::cond_resched,
    prelude::*,
    rbtree::RBTree,
    sync::{new_mutex, Arc, Mutex, SetOnce},
};

/// Ids in use, and where to look for the next one.
#[pin_data]
struct Registry {
    #[pin]
    state: Mutex<State>,
}

struct State {
    used: RBTree<u32, ()>,
    last: u32,
}

static REGISTRY: SetOnce<Arc<Registry>> = SetOnce::new();

fn registry() -> Result<&'static Registry> {
    loop {
        if let Some(registry) = REGISTRY.as_ref() {
            return Ok(registry);
        }
        let registry = Arc::pin_init(
            pin_init!(Registry {
                state <- new_mutex!(State {
                    used: RBTree::new(),
                    last: 0,
                }),
            }),
            GFP_KERNEL,
        )?;
        // Whoever comes second uses what the first one made, as soon as it is there.
        if !REGISTRY.populate(registry) {
            cond_resched();
        }
    }
}

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
        let mut state = registry()?.state.lock();

        // There can't be 2^32 bindings, so this ends.
        let id = loop {
            state.last = state.last.wrapping_add(1);
            if state.last != 0 && state.used.get(&state.last).is_none() {
                break state.last;
            }
        };
        state.used.try_create_and_insert(id, (), GFP_KERNEL)?;
        Ok(Self(id))
    }

    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        if let Some(registry) = REGISTRY.as_ref() {
            registry.state.lock().used.remove(&self.0);
        }
    }
}
