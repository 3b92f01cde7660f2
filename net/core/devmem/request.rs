// SPDX-License-Identifier: GPL-2.0

//! What a `bind-rx` request asks for, and which part of it to blame for a failure.
//!
//! A failure that is somebody's doing points at an attribute and says what to do about it.

use crate::ffi::queue_id_policy;
use kernel::{
    bindings, fmt,
    net::{
        genetlink::{Attr, ExtAck, Request},
        netdevice::NetDeviceGuard,
    },
    page::PAGE_SHIFT,
    prelude::*,
};

/// A queue that the request names.
pub(crate) struct Queue<'a> {
    /// Its index in the device, which has it.
    pub(crate) index: u32,
    /// The attribute that named it first.
    attr: Attr<'a>,
}

/// An attribute, and the number in it.
struct Number<'a> {
    value: u32,
    attr: Attr<'a>,
}

impl<'a> Number<'a> {
    fn read(attr: Attr<'a>) -> Result<Self> {
        let value = attr.u32()?;
        Ok(Self { value, attr })
    }
}

/// The attributes of a `bind-rx` request.
pub(crate) struct BindRx<'a> {
    extack: ExtAck<'a>,
    ifindex: Number<'a>,
    fd: Number<'a>,
    page_size: Option<Attr<'a>>,
    niov_shift: u32,
    queues: KVec<Queue<'a>>,
}

impl<'a> BindRx<'a> {
    /// Reads all but the queues.
    ///
    /// # Errors
    ///
    /// `EINVAL` attribute missing, page size not a power of two.
    pub(crate) fn read(request: &Request<'a>) -> Result<Self> {
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
        let mut this = Self {
            extack: request.extack(),
            ifindex: Number::read(ifindex)?,
            fd: Number::read(fd)?,
            page_size: request.attr(bindings::NETDEV_A_DMABUF_RX_PAGE_SIZE),
            niov_shift: PAGE_SHIFT as u32,
            queues: KVec::new(),
        };
        if let Some(attr) = this.page_size {
            let size = attr.u32()?;
            if !size.is_power_of_two() {
                this.blame(attr, fmt!("rx-page-size must be a power of 2"));
                return Err(EINVAL);
            }
            this.niov_shift = size.trailing_zeros();
        }
        Ok(this)
    }

    /// Reads the queues, of `dev`: in order, each once.
    ///
    /// # Errors
    ///
    /// `EINVAL` not an RX queue that there is, `ENOMEM`; what the policy says.
    pub(crate) fn read_queues(
        &mut self,
        request: &Request<'a>,
        dev: &NetDeviceGuard<'_>,
    ) -> Result {
        for nest in request.attrs_of(bindings::NETDEV_A_DMABUF_QUEUES) {
            let queue = self.read_queue(dev, nest)?;
            let place = self.queues.partition_point(|q| q.index < queue.index);

            if self.queues.get(place).map(|q| q.index) != Some(queue.index) {
                let room = self.queues.reserve(1, GFP_KERNEL);
                room.inspect_err(|_| self.out_of_memory())?;
                self.queues
                    .insert_within_capacity(place, queue)
                    .map_err(|_| ENOMEM)?;
            }
        }
        Ok(())
    }

    fn read_queue(&self, dev: &NetDeviceGuard<'_>, nest: Attr<'a>) -> Result<Queue<'a>> {
        let attrs = nest.nested(queue_id_policy(), self.extack)?;
        let get = |kind: u32, message: &'static CStr| {
            attrs.get(kind as usize).copied().flatten().ok_or_else(|| {
                self.extack.missing(Some(nest), kind);
                self.extack.message(message);
                EINVAL
            })
        };
        let id = get(bindings::NETDEV_A_QUEUE_ID, c"each of queues needs an id")?;
        let kind = get(
            bindings::NETDEV_A_QUEUE_TYPE,
            c"each of queues needs a type, which is rx",
        )?;

        if kind.u32()? != bindings::netdev_queue_type_NETDEV_QUEUE_TYPE_RX {
            self.blame(kind, fmt!("bind-rx takes queues of type rx only"));
            return Err(EINVAL);
        }
        let (index, count) = (id.u32()?, dev.rx_queues());
        if index >= count {
            self.blame(
                id,
                fmt!("{} has no RX queue {}: it has {}", dev.name(), index, count),
            );
            return Err(EINVAL);
        }
        Ok(Queue { index, attr: id })
    }

    pub(crate) fn ifindex(&self) -> u32 {
        self.ifindex.value
    }

    pub(crate) fn fd(&self) -> u32 {
        self.fd.value
    }

    /// Size of the niovs that it asks for, as a power of two; a page if it does not say.
    pub(crate) fn niov_shift(&self) -> u32 {
        self.niov_shift
    }

    pub(crate) fn queues(&self) -> &[Queue<'a>] {
        &self.queues
    }

    /// Whether it asks for niovs of another size than a page.
    pub(crate) fn asks_for_page_size(&self) -> bool {
        self.niov_shift != PAGE_SHIFT as u32
    }

    pub(crate) fn extack(&self) -> ExtAck<'a> {
        self.extack
    }

    fn blame(&self, attr: Attr<'a>, why: fmt::Arguments<'_>) {
        self.extack.bad_attr(attr);
        self.extack.message_fmt(why);
    }

    /// It is about the interface.
    pub(crate) fn blame_device(&self, why: fmt::Arguments<'_>) {
        self.blame(self.ifindex.attr, why);
    }

    /// It is about the dma-buf.
    pub(crate) fn blame_buffer(&self, why: fmt::Arguments<'_>) {
        self.blame(self.fd.attr, why);
    }

    /// It is about the page size, if the request asks for one; else about the interface.
    pub(crate) fn blame_page_size(&self, why: fmt::Arguments<'_>) {
        self.blame(self.page_size.unwrap_or(self.ifindex.attr), why);
    }

    /// It is about one of the queues.
    pub(crate) fn blame_queue(&self, queue: &Queue<'a>, why: fmt::Arguments<'_>) {
        self.blame(queue.attr, why);
    }

    /// It is about one of the queues, and the core or the driver said what. If not, `why` does.
    pub(crate) fn blame_queue_or_keep(&self, queue: &Queue<'a>, why: fmt::Arguments<'_>) {
        self.extack.bad_attr(queue.attr);
        if !self.extack.has_message() {
            self.extack.message_fmt(why);
        }
    }

    /// It is nobody's fault.
    pub(crate) fn out_of_memory(&self) {
        self.extack.message(c"out of memory; nothing is bound");
    }
}
