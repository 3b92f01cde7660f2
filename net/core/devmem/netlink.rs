// SPDX-License-Identifier: GPL-2.0

//! `bind-rx` and `bind-tx` of the `netdev` generic netlink family.
//!
//! A binding lives as long as the netlink socket that made it.

use crate::{
    binding::{Bound, Config},
    explain::common_dma_device,
    request::BindRx,
};
use kernel::{
    bindings,
    dma_buf::DmaBuf,
    net::genetlink::Request,
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
    let mut wanted = BindRx::read(&request)?;
    let mut reply = request.reply().inspect_err(|_| wanted.out_of_memory())?;
    let node = KBox::new_uninit(GFP_KERNEL).inspect_err(|_| wanted.out_of_memory())?;

    let mut head = socket.head.lock();
    let Some(dev) = request.net().lock_device(wanted.ifindex()) else {
        wanted.blame_device(fmt!("no such interface in this network namespace"));
        return Err(ENODEV);
    };
    if !dev.is_present() {
        wanted.blame_device(fmt!(
            "{} is detached (suspended, in reset or being removed)",
            dev.name()
        ));
        return Err(ENODEV);
    }
    if !dev.has_queue_management() {
        wanted.blame_device(fmt!(
            "the driver of {} has no queue management, which this needs",
            dev.name()
        ));
        return Err(EOPNOTSUPP);
    }
    wanted.read_queues(&request, &dev)?;

    let config = Config {
        dma_dev: common_dma_device(&dev, &wanted)?,
        buf: DmaBuf::from_fd(wanted.fd()).inspect_err(|&error| {
            let what = if error == EBADF { "open" } else { "a dma-buf" };
            wanted.blame_buffer(fmt!("fd {} is not {}", wanted.fd() as i32, what));
        })?,
        niov_shift: wanted.niov_shift(),
    };
    let bound = Bound::bind(&dev, &wanted, config)?;
    // An id that nobody learns would leave queues bound to memory that nobody can use.
    let sent = reply
        .put_u32(bindings::NETDEV_A_DMABUF_ID, bound.id())
        .and_then(|()| reply.send());
    if let Err(error) = sent {
        bound.unbind_locked(&dev);
        let extack = request.extack();
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
