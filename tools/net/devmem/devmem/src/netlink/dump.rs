// SPDX-License-Identifier: GPL-2.0
//! `queue-get`, `page-pool-get` and `qstats-get`: who is bound to what, and
//! what came by which queue.

use std::result::Result as StdResult;

use netlink_bindings::netdev::{IterablePagePool, IterableQstats, IterableQueue, Request};
use netlink_bindings::utils::ErrorContext;
use netlink_socket2::NetlinkSocket;
use serde::Serialize;

use super::QueueType;
use super::request::{ask, uint};
use crate::error::Result;

/// A queue of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Number among the queues of its type.
    pub id: u32,
    /// The interface.
    pub ifindex: u32,
    /// Direction.
    #[serde(rename = "type")]
    pub kind: QueueType,
    /// The NAPI instance that serves it; nothing while the interface is down.
    pub napi_id: Option<u32>,
    /// The binding that is installed on it.
    pub dmabuf: Option<u32>,
    /// io_uring receives into memory of its own through it.
    pub io_uring: bool,
    /// An AF_XDP socket has it.
    pub xsk: bool,
    /// It is lent to, or from, another interface.
    pub leased: bool,
}

/// What came by an RX queue since the driver began to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RxCount {
    /// The interface.
    pub ifindex: u32,
    /// The RX queue.
    pub queue: u32,
    /// Bytes of all packets, headers among them.
    pub bytes: Option<u64>,
    /// Packets.
    pub packets: Option<u64>,
}

/// A page pool, also one that waits for its last pages after its queue is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PagePool {
    /// The kernel's number for it.
    pub id: u64,
    /// The interface; nothing if it is gone.
    pub ifindex: Option<u32>,
    /// The NAPI instance that it serves.
    pub napi_id: Option<u32>,
    /// Pages, or niovs, that are out: in the ring, in packets, with users.
    pub inflight: Option<u64>,
    /// The same in bytes.
    pub inflight_mem: Option<u64>,
    /// Seconds since boot when its driver let go of it.
    pub detach_time: Option<u64>,
    /// The binding that its memory comes from.
    pub dmabuf: Option<u32>,
}

impl Queue {
    fn decode(attributes: &IterableQueue<'_>) -> StdResult<Option<Self>, ErrorContext> {
        let Some(kind) = QueueType::from_number(attributes.get_type()?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            id: attributes.get_id()?,
            ifindex: attributes.get_ifindex()?,
            kind,
            napi_id: attributes.get_napi_id().ok(),
            dmabuf: attributes.get_dmabuf().ok(),
            io_uring: attributes.get_io_uring().is_ok(),
            xsk: attributes.get_xsk().is_ok(),
            leased: attributes.get_lease().is_ok(),
        }))
    }
}

impl RxCount {
    fn decode(attributes: &IterableQstats<'_>) -> StdResult<Option<Self>, ErrorContext> {
        if QueueType::from_number(attributes.get_queue_type()?) != Some(QueueType::Rx) {
            return Ok(None);
        }
        let uint = |kind| uint(attributes.get_buf(), kind);
        Ok(Some(Self {
            ifindex: attributes.get_ifindex()?,
            queue: attributes.get_queue_id()?,
            bytes: uint(qstats::RX_BYTES),
            packets: uint(qstats::RX_PACKETS),
        }))
    }
}

impl PagePool {
    fn decode(attributes: &IterablePagePool<'_>) -> StdResult<Option<Self>, ErrorContext> {
        // For the error only: the number may have 8 bytes.
        attributes.get_id()?;
        let uint = |kind| uint(attributes.get_buf(), kind);
        Ok(Some(Self {
            id: uint(page_pool::ID).unwrap_or_default(),
            ifindex: attributes.get_ifindex().ok(),
            napi_id: attributes.get_napi_id().ok(),
            inflight: uint(page_pool::INFLIGHT),
            inflight_mem: uint(page_pool::INFLIGHT_MEM),
            detach_time: uint(page_pool::DETACH_TIME),
            dmabuf: attributes.get_dmabuf().ok(),
        }))
    }
}

/// `NETDEV_A_PAGE_POOL_*` of the specification's type `uint`.
mod page_pool {
    pub const ID: u16 = 1;
    pub const INFLIGHT: u16 = 4;
    pub const INFLIGHT_MEM: u16 = 5;
    pub const DETACH_TIME: u16 = 6;
}

/// `NETDEV_A_QSTATS_*` of that type, and the scope to ask for.
mod qstats {
    pub const RX_PACKETS: u16 = 8;
    pub const RX_BYTES: u16 = 9;
    pub const SCOPE_QUEUE: u32 = 1;
}

/// A connection to the `netdev` family, for looking only. It sees the network
/// namespace it was made in.
#[derive(Default)]
pub struct Netdev {
    socket: NetlinkSocket,
}

impl Netdev {
    /// Makes one. The socket is opened by the first request.
    pub fn new() -> Self {
        Self::default()
    }

    /// The queues of an interface.
    ///
    /// # Errors
    /// [`NetlinkError`](super::NetlinkError) with what the kernel says.
    pub fn queues(&mut self, ifindex: u32) -> Result<Vec<Queue>> {
        let mut request = Request::new().op_queue_get_dump();
        request.encode().push_ifindex(ifindex);
        ask(&mut self.socket, "queue-get", &request, Queue::decode)
    }

    /// The queues of all interfaces of the network namespace that are up.
    ///
    /// # Errors
    /// As [`queues`](Self::queues).
    pub fn all_queues(&mut self) -> Result<Vec<Queue>> {
        let request = Request::new().op_queue_get_dump();
        ask(&mut self.socket, "queue-get", &request, Queue::decode)
    }

    /// All page pools of the network namespace, those that wait for their last
    /// pages too.
    ///
    /// # Errors
    /// As [`queues`](Self::queues).
    pub fn page_pools(&mut self) -> Result<Vec<PagePool>> {
        let request = Request::new().op_page_pool_get_dump();
        ask(
            &mut self.socket,
            "page-pool-get",
            &request,
            PagePool::decode,
        )
    }

    /// What came by each RX queue of an interface. Empty if its driver does
    /// not count by queue.
    ///
    /// # Errors
    /// As [`queues`](Self::queues); `EOPNOTSUPP` from a driver that does not
    /// count at all.
    pub fn rx_counts(&mut self, ifindex: u32) -> Result<Vec<RxCount>> {
        let mut request = Request::new().op_qstats_get_dump();
        request
            .encode()
            .push_ifindex(ifindex)
            .push_scope(qstats::SCOPE_QUEUE);
        ask(&mut self.socket, "qstats-get", &request, RxCount::decode)
    }
}

#[cfg(test)]
mod tests {
    use netlink_bindings::netdev::{OpPagePoolGetDump, OpQstatsGetDump, OpQueueGetDump};

    use netlink_bindings::traits::NetlinkRequest;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn decodes_a_queue() {
        #[rustfmt::skip]
        let message = [
            10, 1, 0, 0,
            8, 0, 1, 0,  2, 0, 0, 0,
            8, 0, 3, 0,  0, 0, 0, 0,
            8, 0, 2, 0,  4, 0, 0, 0,
            8, 0, 4, 0,  0x05, 0x20, 0, 0,
            8, 0, 5, 0,  7, 0, 0, 0,
        ];
        let queue = Queue::decode(&OpQueueGetDump::decode_reply(&message)).unwrap();
        assert_eq!(
            queue,
            Some(Queue {
                id: 2,
                ifindex: 4,
                kind: QueueType::Rx,
                napi_id: Some(0x2005),
                dmabuf: Some(7),
                io_uring: false,
                xsk: false,
                leased: false,
            })
        );
        // Without its id it is no queue.
        let cut = [&message[..4], &message[12..]].concat();
        assert!(Queue::decode(&OpQueueGetDump::decode_reply(&cut)).is_err());
        // A type of a later kernel is left out.
        let mut later = message;
        later[16] = 9;
        assert_eq!(
            Queue::decode(&OpQueueGetDump::decode_reply(&later)).unwrap(),
            None
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn decodes_a_detached_page_pool() {
        // The family's "uint" attributes are 4 or 8 bytes, as the value needs.
        #[rustfmt::skip]
        let message = [
            5, 1, 0, 0,
            8, 0, 1, 0,  0x21, 0, 0, 0,
            8, 0, 2, 0,  4, 0, 0, 0,
            8, 0, 4, 0,  0, 2, 0, 0,
            12, 0, 5, 0,  0, 0, 0x20, 0, 1, 0, 0, 0,
            8, 0, 6, 0,  99, 0, 0, 0,
            8, 0, 7, 0,  7, 0, 0, 0,
        ];
        let pool = PagePool::decode(&OpPagePoolGetDump::decode_reply(&message)).unwrap();
        assert_eq!(
            pool,
            Some(PagePool {
                id: 0x21,
                ifindex: Some(4),
                napi_id: None,
                inflight: Some(512),
                inflight_mem: Some(0x1_0020_0000),
                detach_time: Some(99),
                dmabuf: Some(7),
            })
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn decodes_what_came_by_a_queue() {
        #[rustfmt::skip]
        let message = [
            12, 1, 0, 0,
            8, 0, 1, 0,  4, 0, 0, 0,
            8, 0, 2, 0,  0, 0, 0, 0,
            8, 0, 3, 0,  3, 0, 0, 0,
            8, 0, 8, 0,  10, 0, 0, 0,
            12, 0, 9, 0,  0, 0, 0, 0, 1, 0, 0, 0,
        ];
        let decode = |message: &[u8]| RxCount::decode(&OpQstatsGetDump::decode_reply(message));
        assert_eq!(
            decode(&message).unwrap(),
            Some(RxCount {
                ifindex: 4,
                queue: 3,
                bytes: Some(1 << 32),
                packets: Some(10),
            })
        );
        let mut tx = message;
        tx[16] = 1;
        assert_eq!(decode(&tx).unwrap(), None);
    }
}
