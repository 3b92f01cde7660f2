// SPDX-License-Identifier: GPL-2.0
//! The admin queue: a ring of 64-byte commands, all big endian.

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the ring.
pub const RING_BYTES: u64 = 4096;
/// Bytes of one command.
pub const COMMAND_BYTES: u64 = 64;
/// Commands in the ring.
pub const SLOTS: u32 = (RING_BYTES / COMMAND_BYTES) as u32;
/// Where in a command the device writes the [`Status`].
pub const STATUS_OFFSET: u64 = 4;
/// The queue page list id that means "raw addressing".
pub const RAW_ADDRESSING_QPL: u32 = u32::MAX;
/// Queue format number of DQO with raw addressing.
pub const FORMAT_DQO_RDA: u8 = 3;
/// Inner opcode of [`Opcode::Extended`] that configures a flow rule.
pub const EXTENDED_CONFIGURE_FLOW_RULE: u32 = 0x101;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Opcode {
    /// Fill in the device descriptor.
    DescribeDevice = 0x1,
    /// Where event counters and interrupt doorbell indices live.
    ConfigureDeviceResources = 0x2,
    /// Create one transmit queue.
    CreateTxQueue = 0x5,
    /// Create one receive queue.
    CreateRxQueue = 0x6,
    /// Destroy one transmit queue.
    DestroyTxQueue = 0x7,
    /// Destroy one receive queue.
    DestroyRxQueue = 0x8,
    /// Forget what `ConfigureDeviceResources` said.
    DeconfigureDeviceResources = 0x9,
    /// Set RSS key, table and hash types.
    ConfigureRss = 0xa,
    /// Where to write statistics.
    ReportStats = 0xc,
    /// Write the link's speed.
    ReportLinkSpeed = 0xd,
    /// Write the packet type map.
    GetPtypeMap = 0xe,
    /// Is this driver one that the device can work with?
    VerifyDriverCompatibility = 0xf,
    /// Read flow rules back.
    QueryFlowRules = 0x10,
    /// Read the device's clock.
    ReportNicTimestamp = 0x11,
    /// Read the RSS configuration back.
    QueryRss = 0x12,
    /// A command too big for a slot.
    Extended = 0xff,
}

impl Opcode {
    /// Every opcode with the name that the driver's header gives it.
    pub const NAMES: [(Opcode, &'static str); 16] = [
        (Opcode::DescribeDevice, "DESCRIBE_DEVICE"),
        (
            Opcode::ConfigureDeviceResources,
            "CONFIGURE_DEVICE_RESOURCES",
        ),
        (Opcode::CreateTxQueue, "CREATE_TX_QUEUE"),
        (Opcode::CreateRxQueue, "CREATE_RX_QUEUE"),
        (Opcode::DestroyTxQueue, "DESTROY_TX_QUEUE"),
        (Opcode::DestroyRxQueue, "DESTROY_RX_QUEUE"),
        (
            Opcode::DeconfigureDeviceResources,
            "DECONFIGURE_DEVICE_RESOURCES",
        ),
        (Opcode::ConfigureRss, "CONFIGURE_RSS"),
        (Opcode::ReportStats, "REPORT_STATS"),
        (Opcode::ReportLinkSpeed, "REPORT_LINK_SPEED"),
        (Opcode::GetPtypeMap, "GET_PTYPE_MAP"),
        (
            Opcode::VerifyDriverCompatibility,
            "VERIFY_DRIVER_COMPATIBILITY",
        ),
        (Opcode::QueryFlowRules, "QUERY_FLOW_RULES"),
        (Opcode::ReportNicTimestamp, "REPORT_NIC_TIMESTAMP"),
        (Opcode::QueryRss, "QUERY_RSS"),
        (Opcode::Extended, "EXTENDED_COMMAND"),
    ];

    /// The opcode with this number, if there is one.
    pub fn from_raw(raw: u32) -> Option<Opcode> {
        Self::NAMES
            .into_iter()
            .map(|(op, _)| op)
            .find(|&op| op as u32 == raw)
    }

    /// The opcode with this name, in any case.
    pub fn from_name(name: &str) -> Option<Opcode> {
        Self::NAMES
            .into_iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(name))
            .map(|(op, _)| op)
    }

    /// The name in capitals.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .into_iter()
            .find(|&(op, _)| op == self)
            .map_or("?", |(_, name)| name)
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// All well.
    Passed = 0x1,
    /// Aborted.
    Aborted = 0xffff_fff0,
    /// What was to be made is there.
    AlreadyExists = 0xffff_fff1,
    /// Cancelled.
    Cancelled = 0xffff_fff2,
    /// Data was lost.
    Dataloss = 0xffff_fff3,
    /// Too late; the driver answers this one with a reset.
    DeadlineExceeded = 0xffff_fff4,
    /// Not in this state.
    FailedPrecondition = 0xffff_fff5,
    /// The device's own error.
    Internal = 0xffff_fff6,
    /// An argument makes no sense.
    InvalidArgument = 0xffff_fff7,
    /// What was named is not there.
    NotFound = 0xffff_fff8,
    /// A number is out of range.
    OutOfRange = 0xffff_fff9,
    /// Not allowed.
    PermissionDenied = 0xffff_fffa,
    /// Who is asking?
    Unauthenticated = 0xffff_fffb,
    /// Full.
    ResourceExhausted = 0xffff_fffc,
    /// Try again.
    Unavailable = 0xffff_fffd,
    /// The device has no such command.
    Unimplemented = 0xffff_fffe,
    /// Any other error.
    Unknown = 0xffff_ffff,
}

impl Status {
    /// Every status with its name.
    pub const NAMES: [(Status, &'static str); 17] = [
        (Status::Passed, "PASSED"),
        (Status::Aborted, "ABORTED"),
        (Status::AlreadyExists, "ALREADY_EXISTS"),
        (Status::Cancelled, "CANCELLED"),
        (Status::Dataloss, "DATALOSS"),
        (Status::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Status::FailedPrecondition, "FAILED_PRECONDITION"),
        (Status::Internal, "INTERNAL"),
        (Status::InvalidArgument, "INVALID_ARGUMENT"),
        (Status::NotFound, "NOT_FOUND"),
        (Status::OutOfRange, "OUT_OF_RANGE"),
        (Status::PermissionDenied, "PERMISSION_DENIED"),
        (Status::Unauthenticated, "UNAUTHENTICATED"),
        (Status::ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (Status::Unavailable, "UNAVAILABLE"),
        (Status::Unimplemented, "UNIMPLEMENTED"),
        (Status::Unknown, "UNKNOWN"),
    ];

    /// The status with this name, in any case.
    pub fn from_name(name: &str) -> Option<Status> {
        Self::NAMES
            .into_iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(name))
            .map(|(status, _)| status)
    }
}

macro_rules! wire {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty,)* }
    };
}
pub(crate) use wire;

wire! {
    /// One slot of the ring.
    Command {
        /// Number of an [`Opcode`].
        opcode: U32,
        /// Zero until the device writes a [`Status`].
        status: U32,
        /// One of the bodies below, from its first byte.
        body: [u8; 56],
    }
}

impl Command {
    /// The body as one of the structures below.
    pub fn body<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(&self.body).ok().map(|(body, _)| body)
    }
}

wire! {
    /// Body of `VerifyDriverCompatibility`.
    VerifyDriverCompatibility {
        /// Bytes of the structure at `address`.
        length: U64,
        /// Address of a [`DriverInfo`].
        address: U64,
    }
}

wire! {
    /// What the driver says of itself.
    DriverInfo {
        /// 1 is Linux.
        os_type: u8,
        /// Driver version.
        driver_major: u8,
        /// Driver version.
        driver_minor: u8,
        /// Driver version.
        driver_sub: u8,
        /// Version of the operating system.
        os_version: [U32; 3],
        /// What the driver can do, first word bits 0 to 63.
        capabilities: [U64; 4],
        /// Text.
        os_version_str1: [u8; 128],
        /// Text.
        os_version_str2: [u8; 128],
    }
}

/// Bit in [`DriverInfo::capabilities`] of a driver that speaks DQO-RDA.
pub const CAPABILITY_DQO_RDA: u64 = 1 << 3;

wire! {
    /// Body of `DescribeDevice`.
    DescribeDevice {
        /// Where the descriptor goes.
        address: U64,
        /// Version the driver asks for.
        version: U32,
        /// Bytes at `address`.
        available: U32,
    }
}

wire! {
    /// Body of `ConfigureDeviceResources`.
    ConfigureDeviceResources {
        /// Event counters, `BE32` each. Kept.
        counter_array: U64,
        /// Interrupt doorbell indices. Kept.
        irq_db_address: U64,
        /// Entries of `counter_array`.
        num_counters: U32,
        /// Notification blocks, also the number of the management vector.
        num_irq_dbs: U32,
        /// Bytes from one doorbell index to the next.
        irq_db_stride: U32,
        /// MSI-X vector of the first block.
        ntfy_blk_msix_base: U32,
        /// Queue format that the driver chose.
        queue_format: u8,
        /// Padding.
        reserved: [u8; 7],
    }
}

wire! {
    /// Body of `CreateTxQueue`.
    CreateTxQueue {
        /// Id of the queue.
        queue_id: U32,
        /// Padding.
        reserved: U32,
        /// Address of a [`QueueResources`]. Kept.
        queue_resources: U64,
        /// Descriptor ring. Kept.
        tx_ring: U64,
        /// [`RAW_ADDRESSING_QPL`].
        queue_page_list_id: U32,
        /// Notification block.
        ntfy_id: U32,
        /// Completion ring. Kept.
        completion_ring: U64,
        /// Entries of the descriptor ring.
        tx_ring_size: U16,
        /// Entries of the completion ring.
        completion_ring_size: U16,
        /// Padding.
        padding: [u8; 4],
    }
}

wire! {
    /// Body of `CreateRxQueue`.
    CreateRxQueue {
        /// Id of the queue.
        queue_id: U32,
        /// Not used by this format.
        index: U32,
        /// Padding.
        reserved: U32,
        /// Notification block.
        ntfy_id: U32,
        /// Address of a [`QueueResources`]. Kept.
        queue_resources: U64,
        /// The driver's "descriptor ring". Kept.
        completion_ring: U64,
        /// The driver's "data ring". Kept.
        buffer_ring: U64,
        /// [`RAW_ADDRESSING_QPL`].
        queue_page_list_id: U32,
        /// Entries of the completion ring.
        completion_ring_size: U16,
        /// Bytes of a packet buffer.
        packet_buffer_size: U16,
        /// Entries of the buffer ring.
        buffer_ring_size: U16,
        /// Whether segments may be coalesced.
        enable_rsc: u8,
        /// Padding.
        padding1: u8,
        /// Bytes of a header buffer, 0 for no header split.
        header_buffer_size: U16,
        /// Padding.
        padding2: [u8; 2],
    }
}

wire! {
    /// Body of `DestroyTxQueue` and `DestroyRxQueue`.
    DestroyQueue {
        /// Id of the queue.
        queue_id: U32,
    }
}

wire! {
    /// What the device tells about a queue, in the driver's memory.
    QueueResources {
        /// Index of the queue's doorbell in BAR 2.
        db_index: U32,
        /// Index of the queue's event counter.
        counter_index: U32,
        /// Padding.
        reserved: [u8; 56],
    }
}

wire! {
    /// Body of `ConfigureRss`. A zero field leaves that part as it is.
    ConfigureRss {
        /// Bits of `steering::hash_type`.
        hash_types: U16,
        /// 1 is Toeplitz.
        hash_alg: u8,
        /// Padding.
        reserved: u8,
        /// Bytes of the key.
        hash_key_size: U16,
        /// Entries of the table, `BE32` each.
        hash_lut_size: U16,
        /// Address of the key.
        hash_key: U64,
        /// Address of the table.
        hash_lut: U64,
    }
}

wire! {
    /// Body of `ReportStats`.
    ReportStats {
        /// Bytes at `address`; 0 detaches.
        length: U64,
        /// Where the report goes. Kept.
        address: U64,
        /// Milliseconds between reports.
        interval: U64,
    }
}

wire! {
    /// Body of `ReportLinkSpeed`.
    ReportLinkSpeed {
        /// Where to write the speed in Mbit/s, `BE64`.
        address: U64,
    }
}

wire! {
    /// Body of `GetPtypeMap` and `ReportNicTimestamp`.
    Buffer {
        /// Bytes at `address`.
        length: U64,
        /// Where the answer goes.
        address: U64,
    }
}

wire! {
    /// Body of `QueryRss`.
    QueryRss {
        /// Bytes at `address`.
        available: U64,
        /// Where the answer goes.
        address: U64,
    }
}

wire! {
    /// Body of `QueryFlowRules`.
    QueryFlowRules {
        /// Number of a `steering::FlowQuery`.
        query: U16,
        /// Padding.
        reserved: U16,
        /// Lowest location to report.
        start_id: U32,
        /// Bytes at `address`.
        available: U64,
        /// Where the answer goes.
        address: U64,
    }
}

wire! {
    /// Body of `Extended`.
    Extended {
        /// Opcode of the inner command.
        inner_opcode: U32,
        /// Bytes of the inner command.
        inner_length: U32,
        /// Where the inner command is.
        inner_address: U64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn opcodes_round_trip() {
        for (op, name) in Opcode::NAMES {
            assert_eq!(Opcode::from_raw(op as u32), Some(op));
            assert_eq!(Opcode::from_name(&name.to_lowercase()), Some(op));
            assert_eq!(op.name(), name);
        }
        assert_eq!(Opcode::from_raw(0x3), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(size_of::<Command>(), 64);
        assert_eq!(size_of::<DriverInfo>(), 304);
        assert_eq!(size_of::<QueueResources>(), 64);
        assert_eq!(size_of::<ConfigureDeviceResources>(), 40);
        assert_eq!(size_of::<CreateTxQueue>(), 48);
        assert_eq!(size_of::<CreateRxQueue>(), 56);
    }

    /// Offsets inside a slot, which are those inside the body plus 8.
    #[test]
    fn offsets_in_a_slot() {
        let body = offset_of!(Command, body);
        assert_eq!(offset_of!(Command, status) as u64, STATUS_OFFSET);
        assert_eq!(body, 8);
        assert_eq!(
            body + offset_of!(ConfigureDeviceResources, irq_db_address),
            16
        );
        assert_eq!(
            body + offset_of!(ConfigureDeviceResources, num_counters),
            24
        );
        assert_eq!(
            body + offset_of!(ConfigureDeviceResources, irq_db_stride),
            32
        );
        assert_eq!(
            body + offset_of!(ConfigureDeviceResources, queue_format),
            40
        );
        assert_eq!(body + offset_of!(CreateTxQueue, queue_resources), 16);
        assert_eq!(body + offset_of!(CreateTxQueue, tx_ring), 24);
        assert_eq!(body + offset_of!(CreateTxQueue, queue_page_list_id), 32);
        assert_eq!(body + offset_of!(CreateTxQueue, ntfy_id), 36);
        assert_eq!(body + offset_of!(CreateTxQueue, completion_ring), 40);
        assert_eq!(body + offset_of!(CreateTxQueue, tx_ring_size), 48);
        assert_eq!(body + offset_of!(CreateTxQueue, completion_ring_size), 50);
        assert_eq!(body + offset_of!(CreateRxQueue, index), 12);
        assert_eq!(body + offset_of!(CreateRxQueue, ntfy_id), 20);
        assert_eq!(body + offset_of!(CreateRxQueue, queue_resources), 24);
        assert_eq!(body + offset_of!(CreateRxQueue, completion_ring), 32);
        assert_eq!(body + offset_of!(CreateRxQueue, buffer_ring), 40);
        assert_eq!(body + offset_of!(CreateRxQueue, queue_page_list_id), 48);
        assert_eq!(body + offset_of!(CreateRxQueue, completion_ring_size), 52);
        assert_eq!(body + offset_of!(CreateRxQueue, packet_buffer_size), 54);
        assert_eq!(body + offset_of!(CreateRxQueue, buffer_ring_size), 56);
        assert_eq!(body + offset_of!(CreateRxQueue, enable_rsc), 58);
        assert_eq!(body + offset_of!(CreateRxQueue, header_buffer_size), 60);
        assert_eq!(body + offset_of!(ConfigureRss, hash_alg), 10);
        assert_eq!(body + offset_of!(ConfigureRss, hash_key_size), 12);
        assert_eq!(body + offset_of!(ConfigureRss, hash_lut_size), 14);
        assert_eq!(body + offset_of!(ConfigureRss, hash_key), 16);
        assert_eq!(body + offset_of!(ConfigureRss, hash_lut), 24);
        assert_eq!(body + offset_of!(QueryFlowRules, start_id), 12);
        assert_eq!(body + offset_of!(QueryFlowRules, available), 16);
        assert_eq!(body + offset_of!(QueryFlowRules, address), 24);
        assert_eq!(body + offset_of!(Extended, inner_length), 12);
        assert_eq!(body + offset_of!(Extended, inner_address), 16);
        assert_eq!(offset_of!(DriverInfo, capabilities), 16);
        assert_eq!(offset_of!(DriverInfo, os_version_str1), 48);
        assert_eq!(offset_of!(DriverInfo, os_version_str2), 176);
    }
}
