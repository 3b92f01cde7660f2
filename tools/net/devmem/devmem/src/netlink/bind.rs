// SPDX-License-Identifier: GPL-2.0
//! `bind-rx`: tying a dma-buf to RX queues.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use netlink_bindings::netdev::{PushDmabuf, Request};

use super::exchange::exchange;
use super::{QueueType, interface_index};
use crate::error::Result;

const FAMILY: &[u8] = b"netdev";
const OPERATION: &str = "bind-rx";

/// An attribute of `bind-rx` that a test of the kernel may want to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingAttribute {
    /// `ifindex`.
    Ifindex,
    /// `fd`.
    Fd,
    /// All of `queues`.
    Queues,
    /// `id` in each of `queues`.
    QueueId,
    /// `type` in each of `queues`.
    QueueType,
}

/// A request to bind a dma-buf.
///
/// Nothing is checked here: the kernel is the judge, and its answer, with the
/// attribute it objects to, comes back as a
/// [`NetlinkError`](super::NetlinkError).
#[derive(Debug, Clone)]
pub struct BindRx {
    ifindex: u32,
    queues: Vec<(u32, u32)>,
    rx_page_size: Option<u32>,
    omitted: Vec<BindingAttribute>,
}

impl BindRx {
    /// Binds to the interface with this index.
    pub fn to_ifindex(ifindex: u32) -> Self {
        Self {
            ifindex,
            queues: Vec::new(),
            rx_page_size: None,
            omitted: Vec::new(),
        }
    }

    /// Binds to the interface of this name in the caller's network namespace.
    ///
    /// # Errors
    /// [`Error::NoInterface`](crate::Error::NoInterface).
    pub fn to_interface(name: &str) -> Result<Self> {
        interface_index(name).map(Self::to_ifindex)
    }

    /// Adds RX queues.
    #[must_use]
    pub fn rx_queues(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        let rx = QueueType::Rx.number();
        self.queues.extend(ids.into_iter().map(|id| (rx, id)));
        self
    }

    /// Adds a queue with a type number of any kind.
    #[must_use]
    pub fn queue(mut self, kind: u32, id: u32) -> Self {
        self.queues.push((kind, id));
        self
    }

    /// The size of the buffers that the NIC gets, in bytes; the page size
    /// unless set.
    #[must_use]
    pub fn rx_page_size(mut self, bytes: u32) -> Self {
        self.rx_page_size = Some(bytes);
        self
    }

    /// Leaves an attribute out, which the kernel has to refuse.
    #[must_use]
    pub fn without(mut self, attribute: BindingAttribute) -> Self {
        self.omitted.push(attribute);
        self
    }

    /// Binds.
    ///
    /// # Errors
    /// [`NetlinkError`](super::NetlinkError) with what the kernel says.
    pub fn bind(&self, dmabuf: impl AsFd) -> Result<Binding> {
        self.bind_descriptor(dmabuf.as_fd().as_raw_fd())
    }

    /// Binds a descriptor by its number, valid or not.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_descriptor(&self, fd: RawFd) -> Result<Binding> {
        let mut request = Request::new().op_bind_rx_do();
        self.encode(request.encode(), fd);

        let granted = exchange(OPERATION, FAMILY, &request, |reply| Ok(reply.get_id()?))?;
        Ok(Binding {
            socket: granted.socket,
            id: granted.value,
            ifindex: self.ifindex,
            warning: granted.warning,
        })
    }

    fn has(&self, attribute: BindingAttribute) -> bool {
        !self.omitted.contains(&attribute)
    }

    fn encode(&self, mut attributes: PushDmabuf<&mut Vec<u8>>, fd: RawFd) {
        if self.has(BindingAttribute::Ifindex) {
            attributes = attributes.push_ifindex(self.ifindex);
        }
        if self.has(BindingAttribute::Fd) {
            attributes = attributes.push_fd(u32::from_ne_bytes(fd.to_ne_bytes()));
        }
        if self.has(BindingAttribute::Queues) {
            for &(kind, id) in &self.queues {
                let mut queue = attributes.nested_queues();
                if self.has(BindingAttribute::QueueType) {
                    queue = queue.push_type(kind);
                }
                if self.has(BindingAttribute::QueueId) {
                    queue = queue.push_id(id);
                }
                attributes = queue.end_nested();
            }
        }
        if let Some(bytes) = self.rx_page_size {
            attributes.push_rx_page_size(bytes);
        }
    }
}

/// A dma-buf that is bound. Dropping this unbinds it: the kernel ties a
/// binding to the netlink socket that made it, and this is that socket's
/// owner. It also ends with the process.
///
/// Unbinding restarts the queues. Frags that are still held stay valid; the
/// kernel lets the dma-buf go after the last.
pub struct Binding {
    #[expect(dead_code, reason = "held for its drop")]
    socket: OwnedFd,
    id: u32,
    ifindex: u32,
    warning: Option<String>,
}

impl Binding {
    /// The kernel's number for the binding, which frags, queues and page pools
    /// carry.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The interface that it was made on.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// What the kernel thinks of it, if it thinks that it will not work well:
    /// the dma-buf is too small for the queues.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("id", &self.id)
            .field("ifindex", &self.ifindex)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use netlink_bindings::netdev::OpBindRxDo;
    use netlink_bindings::traits::NetlinkRequest;

    use super::*;

    fn encoded(bind: &BindRx, fd: RawFd) -> Vec<u8> {
        let mut request = Request::new().op_bind_rx_do();
        bind.encode(request.encode(), fd);
        request.payload().to_vec()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn encodes_as_the_uapi_header_says() {
        let bind = BindRx::to_ifindex(0x0102)
            .rx_queues([1, 2])
            .rx_page_size(8192);
        #[rustfmt::skip]
        let expected = [
            // genlmsghdr: NETDEV_CMD_BIND_RX, version 1.
            13, 1, 0, 0,
            // NETDEV_A_DMABUF_IFINDEX.
            8, 0, 1, 0,  2, 1, 0, 0,
            // NETDEV_A_DMABUF_FD.
            8, 0, 3, 0,  9, 0, 0, 0,
            // NETDEV_A_DMABUF_QUEUES, nested: NETDEV_A_QUEUE_TYPE, _ID; twice.
            20, 0, 2, 0x80,  8, 0, 3, 0,  0, 0, 0, 0,  8, 0, 1, 0,  1, 0, 0, 0,
            20, 0, 2, 0x80,  8, 0, 3, 0,  0, 0, 0, 0,  8, 0, 1, 0,  2, 0, 0, 0,
            // NETDEV_A_DMABUF_RX_PAGE_SIZE.
            8, 0, 5, 0,  0, 32, 0, 0,
        ];
        assert_eq!(encoded(&bind, 9), expected);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_negative_descriptor_is_sent_as_it_is() {
        let bytes = encoded(&BindRx::to_ifindex(1), -1);
        assert_eq!(bytes[12..20], [8, 0, 3, 0, 255, 255, 255, 255]);
    }

    #[test]
    fn what_is_left_out_is_not_sent() {
        use BindingAttribute::*;
        let full = BindRx::to_ifindex(1).queue(1, 5);
        let len = |bind: &BindRx| encoded(bind, 3).len();
        assert_eq!(len(&full), 4 + 8 + 8 + 20);
        for (attribute, bytes) in [
            (Ifindex, 8),
            (Fd, 8),
            (Queues, 20),
            (QueueId, 8),
            (QueueType, 8),
        ] {
            let less = full.clone().without(attribute);
            assert_eq!(len(&full) - len(&less), bytes, "{attribute:?}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn decodes_a_reply() {
        // genlmsghdr, NETDEV_A_DMABUF_ID 3.
        let reply = [13, 1, 0, 0, 8, 0, 4, 0, 3, 0, 0, 0];
        assert_eq!(OpBindRxDo::decode_reply(&reply).get_id().unwrap(), 3);
        assert!(OpBindRxDo::decode_reply(&reply[..4]).get_id().is_err());
    }
}
