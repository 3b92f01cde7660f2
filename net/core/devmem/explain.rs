// SPDX-License-Identifier: GPL-2.0

//! Why a queue can't be bound, in words that say what to do.
//!
//! The net core and drivers report some reasons themselves; those that have a remedy are said
//! again, with it. A queue that a virtual device (netkit) leases belongs to another device, whose
//! settings are what counts.

use crate::request::{BindRx, Queue};
use kernel::{device::Device, net::netdevice::NetDeviceGuard, prelude::*, sync::aref::ARef};

/// The device that does DMA for all queues of the request.
///
/// # Errors
///
/// `EOPNOTSUPP` if there is none, or not one for all of them.
pub(crate) fn common_dma_device(
    dev: &NetDeviceGuard<'_>,
    wanted: &BindRx<'_>,
) -> Result<ARef<Device>> {
    let mut common: Option<(u32, ARef<Device>)> = None;

    for queue in wanted.queues() {
        let here = dev.rx_dma_device(queue.index);
        if let Some((before, known)) = &common {
            let same = |here: &ARef<Device>| core::ptr::eq::<Device>(&**known, &**here);
            if !here.as_ref().is_some_and(same) {
                wanted.blame_queue(
                    queue,
                    fmt!(
                        "RX queues {} and {} use different DMA devices: bind them apart",
                        before,
                        queue.index
                    ),
                );
                return Err(EOPNOTSUPP);
            }
        }
        // Installing the binding refuses a queue without one, and knows more of it.
        common = here.map(|here| (queue.index, here));
    }
    match (common, wanted.queues().last()) {
        (Some((_, dma_dev)), _) => Ok(dma_dev),
        (None, Some(queue)) if dev.has_leased_away(queue.index) => {
            leased_away(dev, wanted, queue);
            Err(EOPNOTSUPP)
        }
        (None, Some(queue)) => {
            let index = queue.index;
            wanted.blame_queue(queue, fmt!("RX queue {} has no device for DMA", index));
            Err(EOPNOTSUPP)
        }
        (None, None) => {
            wanted.blame_device(fmt!("no queue to bind to"));
            Err(EOPNOTSUPP)
        }
    }
}

fn leased_away<'a>(dev: &NetDeviceGuard<'_>, wanted: &BindRx<'a>, queue: &Queue<'a>) {
    wanted.blame_queue(
        queue,
        fmt!(
            "RX queue {} of {} is leased to a virtual device: bind it there",
            queue.index,
            dev.name()
        ),
    );
}

/// Says why a queue would not take the binding.
pub(crate) fn refusal<'a>(
    dev: &NetDeviceGuard<'_>,
    wanted: &BindRx<'a>,
    queue: &Queue<'a>,
    error: Error,
) {
    if dev.has_leased_away(queue.index) {
        return leased_away(dev, wanted, queue);
    }
    match dev.leased_from(queue.index) {
        Some((real, index)) => refusal_at(&real.lock(), index, wanted, queue, error),
        None => refusal_at(dev, queue.index, wanted, queue, error),
    }
}

/// As [`refusal`], for queue `index` of the device that really has it.
fn refusal_at<'a>(
    dev: &NetDeviceGuard<'_>,
    index: u32,
    wanted: &BindRx<'a>,
    queue: &Queue<'a>,
    error: Error,
) {
    let name = dev.name();
    let split = dev.header_split().filter(|_| error == EINVAL);

    if split.is_some_and(|split| !split.enabled) {
        wanted.blame_device(fmt!(
            "tcp-data-split is off: ethtool -G {} tcp-data-split on",
            name
        ));
    } else if let Some(split) = split.filter(|split| split.threshold != 0) {
        wanted.blame_device(fmt!(
            "hds-thresh is {}: ethtool -G {} hds-thresh 0",
            split.threshold,
            name
        ));
    } else if error == EEXIST && dev.has_xdp() {
        wanted.blame_device(fmt!("XDP is attached: ip link set {} xdp off", name));
    } else if error == EEXIST {
        wanted.blame_queue(
            queue,
            fmt!("RX queue {} of {} is bound already", index, name),
        );
    } else if error == EOPNOTSUPP && wanted.asks_for_page_size() {
        wanted.blame_page_size(fmt!("{} has no choice of rx-page-size: leave it out", name));
    } else if !dev.is_running() {
        wanted.blame_device(fmt!("{} is down: ip link set {} up", name, name));
    } else {
        wanted.blame_queue_or_keep(
            queue,
            fmt!(
                "{} cannot restart RX queue {} on device memory",
                name,
                index
            ),
        );
    }
}
