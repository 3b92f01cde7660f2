// SPDX-License-Identifier: GPL-2.0
//! BAR 0: the registers, and the handshakes that start and release the admin
//! queue. Releasing it resets the device.

use gve_wire::adminq::RING_BYTES;
use gve_wire::registers::{
    ADMINQ_BASE_HI, ADMINQ_BASE_LO, ADMINQ_DOORBELL, ADMINQ_EVENT_COUNTER, ADMINQ_LENGTH,
    ADMINQ_PFN, DEVICE_STATUS, DRIVER_STATUS, DRIVER_VERSION, MAX_RX_QUEUES, MAX_TX_QUEUES,
    REGISTER_BYTES, driver_status, status,
};

/// Bytes of a page, for the page frame number of revision 0.
const PAGE_BYTES: u64 = 4096;
/// Longest driver version that is kept.
const MAX_VERSION: usize = 128;

/// What a register write asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Nothing beyond what was stored.
    None,
    /// Start the admin queue at this address.
    Start(u64),
    /// Reset the device, then report it.
    Release,
    /// Run admin commands up to this count.
    Commands(u32),
    /// The driver has told its version.
    Version(String),
    /// No such register, or not of this width.
    Unknown,
}

/// The register file.
#[derive(Debug, Default)]
pub struct Registers {
    queues: u32,
    adminq_pfn: u32,
    base_hi: u32,
    base_lo: u32,
    length: u16,
    /// Commands that are completed.
    pub event_counter: u32,
    /// The link is up.
    pub link_up: bool,
    /// The device wants to be reset.
    pub reset_request: bool,
    /// The device has been reset and not started since.
    pub is_reset: bool,
    version: Vec<u8>,
}

impl Registers {
    /// Registers of a device with this many queues of each kind.
    pub fn new(queues: u16) -> Registers {
        Registers {
            queues: queues.into(),
            link_up: true,
            ..Registers::default()
        }
    }

    /// `device_status` as the driver reads it.
    pub fn device_status(&self) -> u32 {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        bit(self.reset_request, status::RESET_REQUEST)
            | bit(self.link_up, status::LINK_UP)
            | bit(self.is_reset, status::IS_RESET)
    }

    /// Bytes of the admin queue's ring.
    pub fn adminq_bytes(&self) -> u64 {
        match u64::from(self.length) {
            length if length.is_power_of_two() && (64..=RING_BYTES).contains(&length) => length,
            _ => RING_BYTES,
        }
    }

    /// Reads any bytes; what is not a register reads as zero. Returns false
    /// if some of it is outside of the registers.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        let mut image = [0u8; REGISTER_BYTES as usize];
        for (at, value) in [
            (DEVICE_STATUS, self.device_status()),
            (MAX_TX_QUEUES, self.queues),
            (MAX_RX_QUEUES, self.queues),
            (ADMINQ_PFN, self.adminq_pfn),
            (ADMINQ_EVENT_COUNTER, self.event_counter),
        ] {
            if let Some(register) = image.get_mut(at as usize..at as usize + 4) {
                register.copy_from_slice(&value.to_be_bytes());
            }
        }
        let mut inside = true;
        for (index, byte) in into.iter_mut().enumerate() {
            let found = usize::try_from(offset)
                .ok()
                .and_then(|offset| image.get(offset.checked_add(index)?));
            inside &= found.is_some();
            *byte = found.copied().unwrap_or(0);
        }
        inside
    }

    /// Writes a register.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Request {
        match (offset, data) {
            (DRIVER_VERSION, &[byte]) => self.version_byte(byte),
            (ADMINQ_LENGTH, &[a, b]) => {
                self.length = u16::from_be_bytes([a, b]);
                Request::None
            }
            (_, &[a, b, c, d]) => self.write_word(offset, u32::from_be_bytes([a, b, c, d])),
            _ => Request::Unknown,
        }
    }

    fn write_word(&mut self, offset: u64, value: u32) -> Request {
        match offset {
            DRIVER_STATUS if value & driver_status::RESET != 0 => Request::Release,
            DRIVER_STATUS if value & driver_status::RUN != 0 => {
                Request::Start((u64::from(self.base_hi) << 32) | u64::from(self.base_lo))
            }
            DRIVER_STATUS => Request::None,
            ADMINQ_PFN => {
                self.adminq_pfn = value;
                match value {
                    0 => Request::Release,
                    pfn => Request::Start(u64::from(pfn) * PAGE_BYTES),
                }
            }
            ADMINQ_DOORBELL => Request::Commands(value),
            ADMINQ_BASE_HI => {
                self.base_hi = value;
                Request::None
            }
            ADMINQ_BASE_LO => {
                self.base_lo = value;
                Request::None
            }
            _ => Request::Unknown,
        }
    }

    fn version_byte(&mut self, byte: u8) -> Request {
        if byte != b'\n' {
            if self.version.len() < MAX_VERSION {
                self.version.push(byte);
            }
            return Request::None;
        }
        let version = std::mem::take(&mut self.version);
        Request::Version(String::from_utf8_lossy(&version).escape_debug().to_string())
    }

    /// What a reset does to registers: the queue is gone, the request served,
    /// the link as it was.
    pub fn reset(&mut self) {
        *self = Registers {
            queues: self.queues,
            link_up: self.link_up,
            is_reset: true,
            ..Registers::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(registers: &Registers, offset: u64) -> u32 {
        let mut raw = [0; 4];
        assert!(registers.read(offset, &mut raw));
        u32::from_be_bytes(raw)
    }

    #[test]
    fn start_and_release_of_revision_1() {
        let mut registers = Registers::new(16);
        assert_eq!(word(&registers, MAX_TX_QUEUES), 16);
        assert_eq!(word(&registers, MAX_RX_QUEUES), 16);
        registers.write(ADMINQ_LENGTH, &4096u16.to_be_bytes());
        registers.write(ADMINQ_BASE_HI, &1u32.to_be_bytes());
        registers.write(ADMINQ_BASE_LO, &0x2000u32.to_be_bytes());
        let run = registers.write(DRIVER_STATUS, &1u32.to_be_bytes());
        assert_eq!(run, Request::Start(0x1_0000_2000));
        assert_eq!(word(&registers, DEVICE_STATUS), status::LINK_UP);
        let release = registers.write(DRIVER_STATUS, &2u32.to_be_bytes());
        assert_eq!(release, Request::Release);
        registers.event_counter = 5;
        registers.reset_request = true;
        registers.reset();
        assert_eq!(
            word(&registers, DEVICE_STATUS),
            status::LINK_UP | status::IS_RESET
        );
        assert_eq!(word(&registers, ADMINQ_EVENT_COUNTER), 0);
    }

    #[test]
    fn start_and_release_of_revision_0() {
        let mut registers = Registers::new(1);
        let start = registers.write(ADMINQ_PFN, &0x1234u32.to_be_bytes());
        assert_eq!(start, Request::Start(0x123_4000));
        assert_eq!(word(&registers, ADMINQ_PFN), 0x1234);
        let release = registers.write(ADMINQ_PFN, &0u32.to_be_bytes());
        assert_eq!(release, Request::Release);
        assert_eq!(word(&registers, ADMINQ_PFN), 0);
    }

    #[test]
    fn version_is_a_stream() {
        let mut registers = Registers::new(1);
        for byte in b"GVE-1.0\x1b" {
            assert_eq!(registers.write(DRIVER_VERSION, &[*byte]), Request::None);
        }
        assert_eq!(
            registers.write(DRIVER_VERSION, b"\n"),
            Request::Version("GVE-1.0\\u{1b}".into())
        );
    }

    #[test]
    fn wild_accesses() {
        let mut registers = Registers::new(1);
        let mut raw = [9; 16];
        assert!(!registers.read(0x28, &mut raw));
        assert!(!registers.read(u64::MAX - 2, &mut raw[..2]));
        assert_eq!(raw[..2], [0, 0]);
        for (offset, data) in [
            (0x00, &[0u8; 4][..]),
            (0x04, &[0; 2]),
            (0x1f, &[0; 2]),
            (0x28, &[0; 8]),
            (u64::MAX, &[0; 4]),
            (0x14, &[]),
        ] {
            assert_eq!(registers.write(offset, data), Request::Unknown);
        }
    }
}
