// SPDX-License-Identifier: GPL-2.0
//! What a gVNIC and its driver exchange, as plain data.
//!
//! Every structure is a `zerocopy` type without padding whose fields carry
//! their byte order: registers and everything the admin queue moves are big
//! endian, the DQO rings and the doorbells are little endian. Nothing here
//! has behaviour beyond packing and unpacking bit fields, so a driver could
//! use the crate as well as a device does.
//!
//! | module | what |
//! | --- | --- |
//! | [`registers`] | BAR 0, and the status bits |
//! | [`doorbell`] | the words written to BAR 2 |
//! | [`adminq`] | admin queue commands and their status |
//! | [`describe`] | the device descriptor and its options |
//! | [`steering`] | RSS and flow rules |
//! | [`report`] | the statistics report |
//! | [`tx`], [`rx`] | DQO descriptors and completions |
//! | [`ptype`] | the packet type map |

pub mod adminq;
pub mod describe;
pub mod doorbell;
pub mod ptype;
pub mod registers;
pub mod report;
pub mod rx;
pub mod steering;
pub mod tx;

/// PCI vendor of the gVNIC.
pub const VENDOR_ID: u16 = 0x1ae0;
/// PCI device of the gVNIC.
pub const DEVICE_ID: u16 = 0x0042;
/// PCI subsystem device of the gVNIC; its subsystem vendor is [`VENDOR_ID`].
pub const SUBSYSTEM_ID: u16 = 0x0058;
/// PCI class code: network controller, Ethernet.
pub const CLASS_CODE: u32 = 0x02_00_00;
