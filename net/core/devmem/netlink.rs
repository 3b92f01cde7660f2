// SPDX-License-Identifier: GPL-2.0

//! `bind-rx` and `bind-tx` of the `netdev` generic netlink family.
//!
//! A binding lives as long as the netlink socket that made it.

use crate::{
    binding::{Bound, Config},
    ffi::queue_id_policy,
    provider,
};
use kernel::{
    bindings,
    dma_buf::DmaBuf,
    net::{
        genetlink::{Attr, Request},
        netdevice::NetDeviceGuard,
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::{new_mutex, Mutex},
};

/// The bindings of a netlink socket, newest first.
#[pin_data]
pub(crate) struct SocketBindings {
    /// Taken before the instance lock of any device.
    #[pin]
    head: Mutex<Option<KBox<Node>>>,
}

struct Node {
    bound: Bound,
    next: Option<KBox<Node>>,
}

impl SocketBindings {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            head <- new_mutex!(None),
        })
    }

    /// Unbinds all of them. Process context; takes the instance locks of their devices.
    pub(crate) fn unbind_all(&self) {
        let mut head = self.head.lock();

        while let Some(node) = head.take() {
            let Node { bound, next } = KBox::into_inner(node);
            *head = next;
            bound.unbind();
        }
    }
}

/// Handles `bind-rx`: binds a dma-buf to RX queues, and replies with the id.
///
/// # Errors
///
/// In this order: `EINVAL` attribute missing or page size wrong, `ENODEV`, `EOPNOTSUPP`, `EINVAL`
/// queues, and those of [`Bound::bind`]. Each has a message, and nothing is left behind.
pub(crate) fn bind_rx(request: Request<'_>, socket: &SocketBindings) -> Result {
    let extack = request.extack();
    let ifindex = request.require(
        bindings::NETDEV_A_DMABUF_IFINDEX,
        c"bind-rx needs ifindex, the interface to bind on",
    )?;
    let fd = request.require(
        bindings::NETDEV_A_DMABUF_FD,
        c"bind-rx needs fd, the dma-buf to bind",
    )?;
    request.require(
        bindings::NETDEV_A_DMABUF_QUEUES,
        c"bind-rx needs queues, the RX queues to bind to",
    )?;
    let niov_shift = niov_shift(&request)?;
    let mut reply = request.reply()?;
    let node = KBox::new_uninit(GFP_KERNEL)?;

    let mut head = socket.head.lock();
    let Some(dev) = request.net().lock_device(ifindex.u32()) else {
        extack.bad_attr(ifindex);
        extack.message(c"no such interface in this network namespace");
        return Err(ENODEV);
    };
    if !dev.is_present() {
        extack.bad_attr(ifindex);
        extack.message(c"the interface is detached (suspended, in reset or being removed)");
        return Err(ENODEV);
    }
    if !dev.has_queue_management() {
        extack.bad_attr(ifindex);
        extack.message(c"the driver has no queue management, which device memory needs");
        return Err(EOPNOTSUPP);
    }
    let queues = read_queues(&request, &dev)?;

    let config = Config {
        dma_dev: provider::common_dma_device(&dev, &queues, extack)?,
        buf: DmaBuf::from_fd(fd.u32()).inspect_err(|&error| {
            let what = if error == EBADF { "open" } else { "a dma-buf" };
            extack.bad_attr(fd);
            extack.message_fmt(fmt!("fd {} is not {}", fd.u32() as i32, what));
        })?,
        niov_shift,
    };
    let bound = Bound::bind(&dev, &queues, config, extack)?;
    // An id that nobody learns would leave queues bound to memory that nobody can use.
    let sent = reply
        .put_u32(bindings::NETDEV_A_DMABUF_ID, bound.id())
        .and_then(|()| reply.send());
    if let Err(error) = sent {
        bound.unbind_locked(&dev);
        extack.message(c"the reply does not fit in the socket's receive buffer; nothing is bound");
        return Err(error);
    }
    let next = head.take();
    *head = Some(node.write(Node { bound, next }));
    Ok(())
}

/// Handles `bind-tx`, which this implementation does not have yet.
pub(crate) fn bind_tx(request: Request<'_>) -> Result {
    request
        .extack()
        .message(c"device memory TCP in Rust cannot send yet: NET_DEVMEM_RUST=n has bind-tx");
    Err(EOPNOTSUPP)
}

/// Size of the niovs that the request asks for, as a power of two; a page if it does not say.
fn niov_shift(request: &Request<'_>) -> Result<u32> {
    let Some(attr) = request.attr(bindings::NETDEV_A_DMABUF_RX_PAGE_SIZE) else {
        return Ok(PAGE_SHIFT as u32);
    };
    let size = attr.u32();
    if !size.is_power_of_two() {
        request.extack().bad_attr(attr);
        request
            .extack()
            .message(c"rx-page-size must be a power of 2");
        return Err(EINVAL);
    }
    Ok(size.trailing_zeros())
}

/// The queues that the request names: in order, each once.
fn read_queues(request: &Request<'_>, dev: &NetDeviceGuard<'_>) -> Result<KVec<u32>> {
    let mut queues: KVec<u32> = KVec::new();

    for nest in request.attrs_of(bindings::NETDEV_A_DMABUF_QUEUES) {
        let index = read_queue(request, dev, nest)?;
        let place = queues.partition_point(|&known| known < index);

        if queues.get(place) != Some(&index) {
            queues.reserve(1, GFP_KERNEL)?;
            queues
                .insert_within_capacity(place, index)
                .map_err(|_| ENOMEM)?;
        }
    }
    Ok(queues)
}

fn read_queue(request: &Request<'_>, dev: &NetDeviceGuard<'_>, nest: Attr<'_>) -> Result<u32> {
    let extack = request.extack();
    let attrs = nest.nested(queue_id_policy(), extack)?;
    let get = |kind: u32, message: &'static CStr| {
        attrs.get(kind as usize).copied().flatten().ok_or_else(|| {
            extack.missing(Some(nest), kind);
            extack.message(message);
            EINVAL
        })
    };
    let id = get(bindings::NETDEV_A_QUEUE_ID, c"each of queues needs an id")?;
    let kind = get(
        bindings::NETDEV_A_QUEUE_TYPE,
        c"each of queues needs a type, which is rx",
    )?;

    if kind.u32() != bindings::netdev_queue_type_NETDEV_QUEUE_TYPE_RX {
        extack.bad_attr(kind);
        extack.message(c"bind-rx takes queues of type rx only");
        return Err(EINVAL);
    }
    if id.u32() >= dev.rx_queues() {
        extack.bad_attr(id);
        extack.message_fmt(fmt!(
            "{} has no RX queue {}: it has {}",
            dev.name(),
            id.u32(),
            dev.rx_queues()
        ));
        return Err(EINVAL);
    }
    Ok(id.u32())
}
