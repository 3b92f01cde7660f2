// SPDX-License-Identifier: GPL-2.0

//! A mapped dma-buf on its queues.
//!
//! A [`Binding`] is alive while any of these is: the [`Bound`] of the netlink socket that made it,
//! a queue that it is installed on, a page pool between its `init` and `destroy`. The last one may
//! go in softirq; the niovs then end in a workqueue. The [mapping](Mapped) may end long before.

use crate::{
    debugfs,
    enough::Demand,
    ffi,
    genpool::{NiovPool, Niovs, PoolError},
    ids::Id,
    mapped::Mapped,
    place::Place,
    request::BindRx,
};
use kernel::{
    debugfs::Scope,
    deferred::Deferred,
    device::Device,
    dma::DataDirection,
    dma_buf::{DmaBuf, Mapping},
    net::{netdevice::NetDeviceGuard, rx_queue::Uninstalled},
    page::PAGE_SHIFT,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{ordering::Relaxed, Atomic},
        new_mutex, Arc, Mutex,
    },
    types::ScopeGuard,
};

/// Memory that the NIC writes to.
#[pin_data]
pub(crate) struct Memory {
    #[pin]
    pub(crate) pool: NiovPool,
    buf: DmaBuf,
    /// Taken inside the device's instance lock, and never around it.
    #[pin]
    pub(crate) place: Mutex<Place>,
    alloc_failures: Atomic<u64>,
}

impl Memory {
    pub(crate) fn dma_buf(&self) -> &DmaBuf {
        &self.buf
    }

    /// How often a page pool wanted niovs and got none.
    pub(crate) fn alloc_failures(&self) -> u64 {
        self.alloc_failures.load(Relaxed)
    }

    /// A page pool got none.
    #[cold]
    pub(crate) fn count_alloc_failure(&self) {
        let before = self.alloc_failures.fetch_add(1, Relaxed);

        ffi::trace_alloc_fail(self.pool.area().dmabuf_id(), before + 1);
    }
}

/// A mapped dma-buf on its queues.
pub(crate) struct Binding {
    pub(crate) memory: Deferred<Scope<Memory>>,
    mapped: Arc<Mapped>,
}

/// What a binding is made from.
pub(crate) struct Config {
    pub(crate) buf: DmaBuf,
    /// The device that does DMA for the queues.
    pub(crate) dma_dev: ARef<Device>,
    /// Size of a niov in bytes, as a power of two.
    pub(crate) niov_shift: u32,
}

impl Binding {
    /// Attaches, maps and cuts up the dma-buf.
    fn import(
        dev: &NetDeviceGuard<'_>,
        wanted: &BindRx<'_>,
        config: Config,
    ) -> Result<(Arc<Self>, Id)> {
        let buf = config.buf.clone();
        let size = buf.size() as u64;
        let mapped = Mapped::empty(dev).inspect_err(|_| wanted.out_of_memory())?;
        let mapped = ScopeGuard::new_with_data(mapped, |mapped| {
            mapped.remove_user();
            mapped.settle();
        });
        let attachment = config.buf.attach(&config.dma_dev).inspect_err(|_| {
            wanted.blame_buffer(fmt!("the dma-buf's exporter refuses the NIC's DMA device"));
        })?;
        let mapping = attachment.map(DataDirection::FromDevice).inspect_err(|_| {
            wanted.blame_buffer(fmt!(
                "the dma-buf's exporter cannot map it for the NIC's DMA device"
            ));
        })?;

        let mut reserved = None;
        // Only now, for a dma-buf that does: who is refused takes no number from those who are not.
        let id = || Ok(reserved.insert(Id::new()?).get());
        let cut = |mapping: &Mapping| {
            let runs = || {
                let entries = mapping.sg_table().iter();
                entries.map(|entry| (entry.dma_address(), entry.dma_len()))
            };
            Niovs::cut(id, config.niov_shift, size, runs)
        };
        let niovs = mapped.fill(mapping, cut).map_err(|error| match error {
            PoolError::Run { addr, len: 0 } => {
                wanted.blame_buffer(fmt!("dma-buf run {:#x}+0 has no bytes", addr));
                EINVAL
            }
            PoolError::Run { addr, len } => {
                wanted.blame_buffer(fmt!(
                    "dma-buf run {:#x}+{:#x} is not a multiple of {} byte niovs",
                    addr,
                    len,
                    1u64 << config.niov_shift
                ));
                EINVAL
            }
            PoolError::Size { mapped } => {
                wanted.blame_buffer(fmt!(
                    "the dma-buf has {} bytes, but its exporter maps {}",
                    size,
                    mapped
                ));
                EINVAL
            }
            PoolError::Other(error) => {
                wanted.blame_buffer(fmt!("cannot cut the dma-buf into niovs: out of memory?"));
                error
            }
        })?;
        let memory = Self::assemble(dev, niovs, buf).inspect_err(|_| wanted.out_of_memory())?;
        let binding = Self {
            memory,
            mapped: mapped.clone(),
        };
        let binding = Arc::new(binding, GFP_KERNEL).inspect_err(|_| wanted.out_of_memory())?;
        mapped.dismiss();
        Ok((binding, reserved.ok_or(EINVAL)?))
    }

    /// Puts together what was imported.
    fn assemble(
        dev: &NetDeviceGuard<'_>,
        niovs: Niovs,
        buf: DmaBuf,
    ) -> Result<Deferred<Scope<Memory>>> {
        let place = Place::new(dev)?;
        let folder = CString::try_from_fmt(fmt!("{}", niovs.dmabuf_id()))?;
        let memory = try_pin_init!(Memory {
            pool <- NiovPool::new(niovs),
            buf,
            place <- new_mutex!(place),
            alloc_failures: Atomic::new(0),
        }? Error);
        let memory = debugfs::publish(&folder, memory)?;

        Deferred::try_pin_init(memory, GFP_KERNEL)
    }

    /// The mapping, and who has hardware use it.
    pub(crate) fn mapped(&self) -> &Arc<Mapped> {
        &self.mapped
    }

    /// The size of niovs to ask the queues for, in bytes.
    pub(crate) fn rx_page_size(&self) -> u32 {
        let shift = self.memory.pool.area().niov_shift();
        // Zero lets the driver keep its own, which is a page.
        if shift as usize == PAGE_SHIFT {
            0
        } else {
            1 << shift
        }
    }

    /// The queue went away with its device, which may be the one that did DMA. If it is that of a
    /// lease, the queue that was leased has been restarted.
    pub(crate) fn forget_queue(&self, queue: &Uninstalled<'_>) {
        let was_last = self.memory.place.lock().forget(queue);

        if was_last && queue.hardware_leaves() {
            self.mapped.unmap();
        }
        if was_last {
            self.mapped.remove_user();
        }
    }
}

/// A binding in the hands of the netlink socket that made it.
///
/// Must end with [`unbind`](Self::unbind) or [`unbind_locked`](Self::unbind_locked), which take it
/// off its queues.
#[must_use = "a binding stays on its queues until it is unbound"]
pub(crate) struct Bound {
    binding: Arc<Binding>,
    id: Id,
}

impl Bound {
    /// Binds a dma-buf to RX queues of a device. On failure nothing is left behind.
    ///
    /// Process context.
    ///
    /// # Errors
    ///
    /// Each with a message: those of [`InstalledProvider::open`] and of the exporter, `EINVAL` for
    /// a mapping that can't be cut into niovs or into enough of them, `ENOMEM`. A dma-buf that will
    /// stall is bound, with a warning as the message.
    ///
    /// [`InstalledProvider::open`]: kernel::net::rx_queue::InstalledProvider::open
    pub(crate) fn bind(
        dev: &NetDeviceGuard<'_>,
        wanted: &BindRx<'_>,
        config: Config,
    ) -> Result<Self> {
        let (binding, id) = Binding::import(dev, wanted, config)?;
        let niovs = binding.memory.pool.area().niovs().len();
        let mut demand = Demand::of(dev, wanted);

        let installed = demand
            .refuse_too_few(niovs, wanted)
            .and_then(|()| binding.install(dev, wanted, &mut demand));
        if let Err(error) = installed {
            binding.close_queues(dev);
            binding.mapped.settle();
            return Err(error);
        }
        demand.warn(niovs, wanted);
        let queues = wanted.queues().len();
        ffi::trace_bind(dev.ifindex(), queues, binding.memory.pool.area());
        Ok(Self { binding, id })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id.get()
    }

    /// Unbinds, with the device that it was bound on locked by the caller.
    pub(crate) fn unbind_locked(self, dev: &NetDeviceGuard<'_>) {
        self.binding.close_queues(dev);
        self.trace_end();
    }

    /// Unbinds. Takes the instance lock of the device, if that is still there.
    pub(crate) fn unbind(self) {
        // The clone keeps the device while its lock is waited for.
        let dev = self.binding.memory.place.lock().device();

        match dev {
            Some(dev) => self.unbind_locked(&dev.lock()),
            None => self.trace_end(),
        }
    }

    /// The binding is on no queue any more.
    fn trace_end(&self) {
        let pool = &self.binding.memory.pool;

        ffi::trace_unbind(self.id(), pool.area().niovs().len() - pool.available());
    }
}
