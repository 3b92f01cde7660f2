// SPDX-License-Identifier: GPL-2.0

//! A binding as the memory provider of page pools.

use crate::binding::Binding;
use kernel::{
    device::Device,
    net::{
        genetlink::ExtAck,
        netdevice::NetDeviceGuard,
        netmem::Niov,
        page_pool::{MemoryProvider, PoolSetup, ProviderOps, Refill},
        rx_queue::RxQueueId,
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::aref::ARef,
};

/// The one vtable, by whose address the net core knows this provider.
pub(crate) static OPS: ProviderOps<Binding> = ProviderOps::new();

impl MemoryProvider for Binding {
    fn init(&self, pool: &mut PoolSetup<'_>) -> Result {
        pool.forbid_dma_sync();
        // A driver that fills its ring with other pieces would write past a niov's end.
        let shift = self.memory.pool.area().niov_shift() as usize;
        if PAGE_SHIFT.checked_add(pool.order() as usize) != Some(shift) {
            return Err(E2BIG);
        }
        Ok(())
    }

    #[inline]
    fn alloc(&self, pool: &mut Refill<'_>) {
        let room = pool.room();

        self.memory.pool.alloc(room, |niov| pool.push(niov));
        if pool.room() == room && room != 0 {
            self.memory.count_alloc_failure();
        }
    }

    #[inline]
    fn release(&self, niov: &Niov) {
        // The page pool hands back what it was given.
        kernel::warn_on!(!self.memory.pool.release(niov));
    }

    fn dmabuf_id(&self) -> u32 {
        self.memory.pool.area().dmabuf_id()
    }

    fn uninstall(&self, rxq: RxQueueId) {
        self.forget_queue(rxq);
    }
}

/// The device that does DMA for all of `queues`.
///
/// # Errors
///
/// `EOPNOTSUPP` if there is none, or not one for all of them.
pub(crate) fn common_dma_device(
    dev: &NetDeviceGuard<'_>,
    queues: &[u32],
    extack: ExtAck<'_>,
) -> Result<ARef<Device>> {
    let mut common: Option<(u32, ARef<Device>)> = None;

    for &index in queues {
        let Some(dma_dev) = dev.rx_dma_device(index) else {
            extack.message_fmt(fmt!("RX queue {} has no device for DMA", index));
            return Err(EOPNOTSUPP);
        };
        match &common {
            Some((first, known)) if !core::ptr::eq::<Device>(&**known, &*dma_dev) => {
                extack.message_fmt(fmt!(
                    "RX queues {} and {} use different DMA devices: bind them apart",
                    first,
                    index
                ));
                return Err(EOPNOTSUPP);
            }
            Some(_) => {}
            None => common = Some((index, dma_dev)),
        }
    }
    common.map(|(_, dma_dev)| dma_dev).ok_or(EOPNOTSUPP)
}

/// Says what to do about a queue that would not take the binding.
///
/// The net core and drivers report some reasons themselves; those that have a remedy are said
/// again, with it.
pub(crate) fn explain(dev: &NetDeviceGuard<'_>, index: u32, error: Error, extack: ExtAck<'_>) {
    let name = dev.name();
    let split = dev.header_split();

    if error == EINVAL && !split.enabled {
        extack.message_fmt(fmt!(
            "tcp-data-split is off: ethtool -G {} tcp-data-split on",
            name
        ));
    } else if error == EINVAL && split.threshold != 0 {
        extack.message_fmt(fmt!(
            "hds-thresh is {}: ethtool -G {} hds-thresh 0",
            split.threshold,
            name
        ));
    } else if error == EEXIST && dev.has_xdp() {
        extack.message_fmt(fmt!("XDP is attached: ip link set {} xdp off", name));
    } else if error == EEXIST {
        extack.message_fmt(fmt!("RX queue {} of {} is bound already", index, name));
    } else if !extack.has_message() {
        extack.message_fmt(fmt!(
            "{} cannot restart RX queue {} on device memory",
            name,
            index
        ));
    }
}
