// SPDX-License-Identifier: GPL-2.0

//! A mapped dma-buf on its queues.
//!
//! A [`Binding`] is alive while any of these is: the [`Bound`] of the netlink socket that made it,
//! a queue that it is installed on, a page pool between its `init` and `destroy`. The last one may
//! go in softirq; mapping and niovs then end in a workqueue.

use crate::{
    genpool::{NiovPool, Niovs, PoolError},
    ids::Id,
    provider,
};
use kernel::{
    deferred::Deferred,
    device::Device,
    dma::DataDirection,
    dma_buf::{DmaBuf, Mapping},
    net::{
        genetlink::ExtAck,
        netdevice::{NetDevice, NetDeviceGuard},
        rx_queue::{InstalledProvider, RxQueueId},
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::{aref::ARef, new_mutex, Arc, Mutex},
};

/// Memory that the NIC writes to.
///
/// The pool goes before the mapping: it checks that nothing is out any more.
#[pin_data]
pub(crate) struct Memory {
    #[pin]
    pub(crate) pool: NiovPool,
    mapping: Mapping,
}

/// Where a binding is installed.
#[derive(Default)]
struct Queues {
    /// The device, held as long as a queue of it is on the list.
    dev: Option<ARef<NetDevice>>,
    installed: KVec<InstalledProvider<Binding>>,
}

/// A mapped dma-buf on its queues.
#[pin_data]
pub(crate) struct Binding {
    pub(crate) memory: Deferred<Memory>,
    /// Taken inside the device's instance lock, and never around it.
    #[pin]
    queues: Mutex<Queues>,
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
    fn import(id: u32, config: Config, extack: ExtAck<'_>) -> Result<Arc<Self>> {
        let attachment = config.buf.attach(&config.dma_dev).inspect_err(|_| {
            extack.message(c"the exporter of the dma-buf refuses to attach the NIC's DMA device");
        })?;
        let mapping = attachment.map(DataDirection::FromDevice).inspect_err(|_| {
            extack.message(c"the exporter of the dma-buf cannot map it for the NIC's DMA device");
        })?;

        let runs = || {
            let entries = mapping.sg_table().iter();
            entries.map(|entry| (entry.dma_address(), entry.dma_len()))
        };
        let niovs = Niovs::cut(id, config.niov_shift, runs).map_err(|error| match error {
            PoolError::Misaligned { addr, len } => {
                extack.message_fmt(fmt!(
                    "dma-buf run {:#x}+{:#x} is not a multiple of {} byte niovs",
                    addr,
                    len,
                    1u64 << config.niov_shift
                ));
                EINVAL
            }
            PoolError::Other(error) => error,
        })?;
        let memory = Deferred::try_pin_init(
            try_pin_init!(Memory {
                pool <- NiovPool::new(niovs),
                mapping,
            }? Error),
            GFP_KERNEL,
        )?;
        Arc::pin_init(
            pin_init!(Self {
                memory,
                queues <- new_mutex!(Queues::default()),
            }),
            GFP_KERNEL,
        )
    }

    /// Installs the binding on `queues`, one after the other. Leaves those that were done.
    fn install(
        self: &Arc<Self>,
        dev: &NetDeviceGuard<'_>,
        queues: &[u32],
        extack: ExtAck<'_>,
    ) -> Result {
        let shift = self.memory.pool.area().niov_shift();
        // Zero lets the driver keep its own, which is a page.
        let rx_page_size = if shift as usize == PAGE_SHIFT {
            0
        } else {
            1 << shift
        };

        self.queues
            .lock()
            .installed
            .reserve(queues.len(), GFP_KERNEL)?;
        for &index in queues {
            let installed = InstalledProvider::open(
                dev,
                index,
                &provider::OPS,
                self.clone(),
                rx_page_size,
                extack,
            )
            .inspect_err(|&error| provider::explain(dev, index, error, extack))?;

            let mut state = self.queues.lock();
            state.dev.get_or_insert_with(|| ARef::from(&**dev));
            if let Err(full) = state.installed.push_within_capacity(installed) {
                drop(state);
                full.0.close(dev);
                return Err(ENOMEM);
            }
        }
        Ok(())
    }

    /// Takes the binding off all queues that it is on. They restart on ordinary memory.
    fn close_queues(&self, dev: &NetDeviceGuard<'_>) {
        let queues = core::mem::take(&mut *self.queues.lock());

        for queue in queues.installed {
            queue.close(dev);
        }
    }

    /// The queue went away with its device; with the last one, so does the hold on the device.
    pub(crate) fn forget_queue(&self, rxq: RxQueueId) {
        let mut state = self.queues.lock();

        state.installed.retain(|queue| queue.rxq() != rxq);
        if state.installed.is_empty() {
            state.dev = None;
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
    /// `queues` are indices that exist, each once. Process context.
    ///
    /// # Errors
    ///
    /// Each but `ENOMEM` with a message in `extack`: those of [`InstalledProvider::open`] and of
    /// the exporter, `EINVAL` for a mapping that can't be cut into niovs.
    pub(crate) fn bind(
        dev: &NetDeviceGuard<'_>,
        queues: &[u32],
        config: Config,
        extack: ExtAck<'_>,
    ) -> Result<Self> {
        let id = Id::new()?;
        let binding = Binding::import(id.get(), config, extack)?;

        let bound = Self { binding, id };
        match bound.binding.install(dev, queues, extack) {
            Ok(()) => Ok(bound),
            Err(error) => {
                bound.unbind_locked(dev);
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id.get()
    }

    /// Unbinds, with the device that it was bound on locked by the caller.
    pub(crate) fn unbind_locked(self, dev: &NetDeviceGuard<'_>) {
        self.binding.close_queues(dev);
    }

    /// Unbinds. Takes the instance lock of the device, if that is still there.
    pub(crate) fn unbind(self) {
        // The clone keeps the device while its lock is waited for.
        let dev = self.binding.queues.lock().dev.clone();

        if let Some(dev) = dev {
            self.unbind_locked(&dev.lock());
        }
    }
}
