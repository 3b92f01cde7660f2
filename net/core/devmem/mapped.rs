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
    net::netdevice::NetDevice,
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
    nic: Option<Nic>,
    #[pin]
    unmap: Work<Mapped>,
}

/// Which NIC it is, as long as that is there: an address to compare.
#[derive(PartialEq)]
struct Nic(usize);

impl Nic {
    /// The device, if it is a NIC.
    fn of(dev: &NetDevice) -> Option<Self> {
        dev.is_hardware().then(|| Self(ptr::from_ref(dev).addr()))
    }
}

/// Those that have not ended. The lock is the innermost.
type All = Mutex<KVec<Arc<Mapped>>>;

static ALL: SetOnce<Pin<KBox<All>>> = SetOnce::new();

/// Called once, before there is any.
pub(crate) fn init() -> Result {
    ALL.populate(KBox::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?);
    Ok(())
}

/// A device leaves, which nobody can find any more, and its driver is next: unmaps what a workqueue
/// has been told to unmap for it, and has not. Process context.
pub(crate) fn unmap_unused(dev: &NetDevice) {
    let (Some(all), Some(nic)) = (ALL.as_ref(), Nic::of(dev)) else {
        return;
    };
    let next = || {
        let all = all.lock();
        let mut unused = all.iter().filter(|mapped| mapped.users.is_none());
        unused.find(|mapped| mapped.may_be_for(&nic)).cloned()
    };

    // Others may be added meanwhile, for leased queues of other NICs.
    let most = all.lock().len();
    for _ in 0..most {
        let Some(mapped) = next() else {
            return;
        };
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
    /// A place for a mapping that `dev` is bound with, with one user.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn empty(dev: &NetDevice) -> Result<Arc<Self>> {
        let mapped = Arc::pin_init(
            pin_init!(Self {
                mapping <- new_mutex!(None),
                users: Users::one(),
                nic: Nic::of(dev),
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

    /// Whether it may be for a NIC. A device that is none has leased the queues of one, which the
    /// binding does not know.
    fn may_be_for(&self, nic: &Nic) -> bool {
        self.nic.as_ref().is_none_or(|own| own == nic)
    }

    /// A bind has failed. With the lock of a device that has only leased its queues, their NIC may
    /// leave now and has to wait for the caller, but not for a work item. Process context.
    pub(crate) fn settle(&self) {
        if self.nic.is_none() && self.users.is_none() {
            self.unmap();
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
