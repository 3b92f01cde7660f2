// SPDX-License-Identifier: GPL-2.0

//! The mapping of a dma-buf, for as long as hardware has a use for it.
//!
//! It ends with the last of its [users](Users), which are the bind until unbind and each page pool
//! that a driver takes buffers from. A workqueue ends it: an exporter may wait for others then, and
//! whoever was the last user has locks. If the driver is about to go, it ends at once.

use crate::users::Users;
use core::ptr;
use kernel::{
    deferred::unbound_queue,
    dma_buf::Mapping,
    prelude::*,
    sync::{new_mutex, Arc, Mutex, SetOnce},
    workqueue::{impl_has_work, new_work, Work, WorkItem},
};

/// A mapping that ends with its last user.
#[pin_data]
pub(crate) struct Mapped {
    /// Taken out when it ends.
    #[pin]
    mapping: Mutex<Option<Mapping>>,
    users: Users,
    #[pin]
    unmap: Work<Mapped>,
}

/// Those that have not ended. The lock is the innermost.
type All = Mutex<KVec<Arc<Mapped>>>;

static ALL: SetOnce<Pin<KBox<All>>> = SetOnce::new();

/// Called once, before there is any.
pub(crate) fn init() -> Result {
    ALL.populate(KBox::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?);
    Ok(())
}

/// Unmaps what a workqueue has been told to unmap and has not. Process context.
pub(crate) fn unmap_unused() {
    let Some(all) = ALL.as_ref() else {
        return;
    };
    let next = || {
        let all = all.lock();
        all.iter().find(|mapped| mapped.users.is_none()).cloned()
    };

    while let Some(mapped) = next() {
        mapped.unmap();
    }
}

impl_has_work! {
    impl HasWork<Self> for Mapped { self.unmap }
}

impl WorkItem for Mapped {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.unmap();
    }
}

impl Mapped {
    /// A place for a mapping, with one user. What may fail has not failed then.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn empty() -> Result<Arc<Self>> {
        let mapped = Arc::pin_init(
            pin_init!(Self {
                mapping <- new_mutex!(None),
                users: Users::one(),
                unmap <- new_work!("Mapped::unmap"),
            }),
            GFP_KERNEL,
        )?;
        let all = ALL.as_ref().ok_or(ENOMEM)?;
        all.lock().push(mapped.clone(), GFP_KERNEL)?;
        Ok(mapped)
    }

    /// Puts a mapping there, and looks at it. Process context.
    pub(crate) fn fill<R>(&self, mapping: Mapping, look: impl FnOnce(&Mapping) -> R) -> R {
        look(self.mapping.lock().insert(mapping))
    }

    /// Somebody more has hardware use it. Any context.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it has ended, or is about to.
    pub(crate) fn add_user(&self) -> Result {
        self.users.add()
    }

    /// Somebody has hardware use it no more, and hardware has nothing of it left. Any context.
    pub(crate) fn remove_user(self: &Arc<Self>) {
        if self.users.remove() {
            // If it is there already, so much the better.
            let _ = unbound_queue().enqueue(self.clone());
        }
    }

    /// Ends it, whoever uses it: no hardware writes there any more, or it is about to lose its
    /// driver, which a mapping must not outlive. Tokens are good for as long as the buffer itself.
    ///
    /// Process context; waits for the exporter, also if somebody else ends it.
    pub(crate) fn unmap(&self) {
        let mut mapping = self.mapping.lock();

        drop(mapping.take());
        drop(mapping);
        if let Some(all) = ALL.as_ref() {
            all.lock().retain(|known| !ptr::eq(&**known, self));
        }
    }
}
