// SPDX-License-Identifier: GPL-2.0

//! Where a binding is installed: its device and its queues.

use crate::{binding::Binding, enough::Demand, explain, provider, request::BindRx};
use core::mem;
use kernel::{
    fmt,
    net::{
        netdevice::{NetDevice, NetDeviceGuard},
        rx_queue::{InstalledProvider, Uninstalled},
    },
    prelude::*,
    str::CString,
    sync::{aref::ARef, Arc},
};

/// The queues that a binding is on.
pub(crate) struct Place {
    /// The device, held as long as a queue of it is on the list.
    dev: Option<ARef<NetDevice>>,
    installed: KVec<InstalledProvider<Binding>>,
    /// Whether the binding is, or is going to be, on a queue: a user of its mapping.
    is_user: bool,
    /// What the device was called when the binding was made, for those who look later.
    name: CString,
    ifindex: u32,
    netns: u32,
}

impl Place {
    /// On `dev`, but on no queue yet.
    pub(crate) fn new(dev: &NetDevice) -> Result<Self> {
        Ok(Self {
            dev: None,
            installed: KVec::new(),
            is_user: true,
            name: CString::try_from_fmt(fmt!("{}", dev.name()))?,
            ifindex: dev.ifindex(),
            netns: dev.netns_inode(),
        })
    }

    /// The device, if the binding is on a queue of it.
    pub(crate) fn device(&self) -> Option<ARef<NetDevice>> {
        self.dev.clone()
    }

    /// Takes all queues off the list, for the caller to close. Also returns whether the binding is
    /// still a user of its mapping, which ends with that.
    fn take(&mut self) -> (KVec<InstalledProvider<Binding>>, bool) {
        self.dev = None;
        (
            mem::take(&mut self.installed),
            mem::replace(&mut self.is_user, false),
        )
    }

    /// The queue went away with its device; with the last one, so does the hold on the device.
    ///
    /// Returns whether it was the last, and the binding's use of its mapping ends with it.
    pub(crate) fn forget(&mut self, gone: &Uninstalled<'_>) -> bool {
        let place = self.installed.iter().position(|queue| queue.is_on(gone));
        if let Some(queue) = place.and_then(|place| self.installed.remove(place).ok()) {
            // It is on no other queue.
            let _ = queue.forget(gone);
        }
        if !self.installed.is_empty() {
            return false;
        }
        self.dev = None;
        mem::replace(&mut self.is_user, false)
    }

    /// Writes what it is, a `key: value` a line.
    pub(crate) fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = !self.installed.is_empty();
        writeln!(f, "state: {}", if bound { "bound" } else { "unbound" })?;
        let (netns, ifindex) = match &self.dev {
            Some(dev) => (dev.netns_inode(), dev.ifindex()),
            None => (self.netns, self.ifindex),
        };
        writeln!(f, "netns: {netns}\nifindex: {ifindex}")?;
        match &self.dev {
            Some(dev) => f.write_fmt(fmt!("device: {}\n", dev.name()))?,
            None => f.write_fmt(fmt!("device: {}\n", &*self.name))?,
        }
        write!(f, "queues:")?;
        for queue in &self.installed {
            write!(f, " {}", queue.index())?;
        }
        writeln!(f)
    }
}

impl Binding {
    /// Installs the binding on the queues of the request, in order. Leaves those that were done.
    pub(crate) fn install(
        self: &Arc<Self>,
        dev: &NetDeviceGuard<'_>,
        wanted: &BindRx<'_>,
        demand: &mut Demand,
    ) -> Result {
        let room = {
            let mut place = self.memory.place.lock();
            place.installed.reserve(wanted.queues().len(), GFP_KERNEL)
        };
        room.inspect_err(|_| wanted.out_of_memory())?;

        for queue in wanted.queues() {
            demand.before_queue(queue.index, self.memory.pool.available());
            let installed = InstalledProvider::open(
                dev,
                queue.index,
                &provider::OPS,
                self.clone(),
                self.rx_page_size(),
                wanted.extack(),
            )
            .inspect_err(|&error| explain::refusal(dev, wanted, queue, error))?;

            let mut place = self.memory.place.lock();
            place.dev.get_or_insert_with(|| ARef::from(&**dev));
            if let Err(full) = place.installed.push_within_capacity(installed) {
                drop(place);
                close(full.0, dev);
                return Err(ENOMEM);
            }
        }
        Ok(())
    }

    /// Takes the binding off all queues that it is on. They restart on ordinary memory; those that
    /// fail to go on with what they have, and are users of the mapping until they end.
    pub(crate) fn close_queues(self: &Arc<Self>, dev: &NetDeviceGuard<'_>) {
        let (queues, is_user) = self.memory.place.lock().take();

        for queue in queues {
            close(queue, dev);
        }
        if is_user {
            self.mapped().remove_user();
        }
    }
}

/// `dev` is the device that the queue belongs to, so this can't fail.
fn close(queue: InstalledProvider<Binding>, dev: &NetDeviceGuard<'_>) {
    kernel::warn_on!(queue.close(dev).is_err());
}
