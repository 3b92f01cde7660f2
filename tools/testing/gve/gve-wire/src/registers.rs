// SPDX-License-Identifier: GPL-2.0
//! BAR 0: the register file. All registers are big endian.

/// `device_status`, 32 bit, read only: see [`status`].
pub const DEVICE_STATUS: u64 = 0x00;
/// `driver_status`, 32 bit: [`driver_status::RUN`] or [`driver_status::RESET`].
pub const DRIVER_STATUS: u64 = 0x04;
/// Most transmit queues the device has, 32 bit, read only.
pub const MAX_TX_QUEUES: u64 = 0x08;
/// Most receive queues the device has, 32 bit, read only.
pub const MAX_RX_QUEUES: u64 = 0x0c;
/// Page frame number of the admin queue (revision 0), 32 bit; 0 releases it.
pub const ADMINQ_PFN: u64 = 0x10;
/// Count of admin commands submitted so far, 32 bit.
pub const ADMINQ_DOORBELL: u64 = 0x14;
/// Count of admin commands completed so far, 32 bit, read only.
pub const ADMINQ_EVENT_COUNTER: u64 = 0x18;
/// Byte stream with the driver's version, ended by a newline.
pub const DRIVER_VERSION: u64 = 0x1f;
/// Upper half of the admin queue's address, 32 bit.
pub const ADMINQ_BASE_HI: u64 = 0x20;
/// Lower half of the admin queue's address, 32 bit.
pub const ADMINQ_BASE_LO: u64 = 0x24;
/// Length of the admin queue in bytes, 16 bit.
pub const ADMINQ_LENGTH: u64 = 0x28;
/// Bytes of BAR 0 that hold registers.
pub const REGISTER_BYTES: u64 = 0x2c;

/// Bits of [`DEVICE_STATUS`].
pub mod status {
    /// The device asks the driver to reset it.
    pub const RESET_REQUEST: u32 = 1 << 1;
    /// The link is up.
    pub const LINK_UP: u32 = 1 << 2;
    /// The device asks for a statistics report.
    pub const REPORT_STATS: u32 = 1 << 3;
    /// The device has finished the reset that the driver asked for.
    pub const IS_RESET: u32 = 1 << 4;
}

/// Bits of [`DRIVER_STATUS`].
pub mod driver_status {
    /// The admin queue registers are valid: start.
    pub const RUN: u32 = 1 << 0;
    /// Stop everything and forget the admin queue.
    pub const RESET: u32 = 1 << 1;
}
