// SPDX-License-Identifier: GPL-2.0
//! PCI configuration space, and what is in which BAR.

use gve_device::config::BAR_BYTES;
use gve_wire::{CLASS_CODE, DEVICE_ID, SUBSYSTEM_ID, VENDOR_ID};

/// BAR of the registers.
pub const REGISTER_BAR: u32 = 0;
/// BAR of the MSI-X table and its pending bits.
pub const MSIX_BAR: u32 = 1;
/// BAR of the doorbells.
pub const DOORBELL_BAR: u32 = 2;
/// Bytes of configuration space.
pub const CONFIG_BYTES: u64 = 256;

/// With a revision above 0 the driver resets the device by an explicit
/// handshake, and tells addresses rather than page frame numbers.
const REVISION: u8 = 1;

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BAR: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;

const MSIX: usize = 0x40;
const MSIX_CAPABILITY: u8 = 0x11;
const EXPRESS: usize = 0x50;
const EXPRESS_CAPABILITY: u8 = 0x10;
/// Device control, in the express capability.
const DEVICE_CONTROL: usize = EXPRESS + 8;
/// Function level reset, in the upper byte of device control.
const FLR: u8 = 0x80;

/// How the MSI-X BAR is laid out.
#[derive(Clone, Copy, Debug)]
pub struct MsixLayout {
    /// Vectors.
    pub vectors: u32,
    /// Where the pending bits are.
    pub pending: u64,
    /// Bytes of the BAR.
    pub bytes: u64,
}

impl MsixLayout {
    /// Bytes of a table entry.
    const ENTRY: u64 = 16;

    /// A table, then its pending bits.
    pub fn new(vectors: u32) -> MsixLayout {
        let pending = u64::from(vectors) * Self::ENTRY;
        let pending_bytes = u64::from(vectors).div_ceil(64) * 8;
        MsixLayout {
            vectors,
            pending,
            bytes: (pending + pending_bytes).next_power_of_two().max(4096),
        }
    }
}

/// The configuration space of one port.
#[derive(Debug)]
pub struct ConfigSpace {
    bytes: [u8; CONFIG_BYTES as usize],
    /// Bits that can be written.
    mask: [u8; CONFIG_BYTES as usize],
}

impl ConfigSpace {
    /// As after power on.
    pub fn new(msix: MsixLayout) -> ConfigSpace {
        let mut config = ConfigSpace {
            bytes: [0; CONFIG_BYTES as usize],
            mask: [0; CONFIG_BYTES as usize],
        };
        config.set(0x00, &VENDOR_ID.to_le_bytes());
        config.set(0x02, &DEVICE_ID.to_le_bytes());
        config.set(STATUS, &0x0010u16.to_le_bytes()); // has capabilities
        let [_, class @ ..] = CLASS_CODE.to_be_bytes();
        let [base, sub, interface] = class;
        config.set(0x08, &[REVISION, interface, sub, base]);
        config.set(0x2c, &VENDOR_ID.to_le_bytes());
        config.set(0x2e, &SUBSYSTEM_ID.to_le_bytes());
        config.set(CAPABILITIES, &[MSIX as u8]);
        config.allow(COMMAND, &0x0546u16.to_le_bytes());
        config.allow(INTERRUPT_LINE, &[0xff]);
        for (bar, bytes) in [
            (REGISTER_BAR, BAR_BYTES),
            (MSIX_BAR, msix.bytes),
            (DOORBELL_BAR, BAR_BYTES),
        ] {
            // 32 bit, not prefetchable: the type bits are zero.
            let address = !(bytes as u32 - 1);
            config.allow(BAR + 4 * bar as usize, &address.to_le_bytes());
        }
        config.set(MSIX, &[MSIX_CAPABILITY, EXPRESS as u8]);
        config.set(MSIX + 2, &(msix.vectors as u16 - 1).to_le_bytes());
        config.set(MSIX + 4, &MSIX_BAR.to_le_bytes());
        config.set(MSIX + 8, &(msix.pending as u32 | MSIX_BAR).to_le_bytes());
        config.allow(MSIX + 2, &0xc000u16.to_le_bytes());
        config.add_express();
        config
    }

    /// PCI Express endpoint, version 2: 8 GT/s, 8 lanes.
    fn add_express(&mut self) {
        self.set(EXPRESS, &[EXPRESS_CAPABILITY, 0]);
        self.set(EXPRESS + 2, &0x0002u16.to_le_bytes());
        // Role-based error reporting, function level reset.
        self.set(EXPRESS + 4, &0x1000_8001u32.to_le_bytes());
        self.allow(DEVICE_CONTROL, &0x78ffu16.to_le_bytes());
        self.set(EXPRESS + 0x0c, &0x0000_0083u32.to_le_bytes());
        self.set(EXPRESS + 0x12, &0x0083u16.to_le_bytes());
    }

    fn set(&mut self, offset: usize, value: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(offset..offset + value.len()) {
            bytes.copy_from_slice(value);
        }
    }

    fn allow(&mut self, offset: usize, value: &[u8]) {
        if let Some(mask) = self.mask.get_mut(offset..offset + value.len()) {
            mask.copy_from_slice(value);
        }
    }

    /// Reads any bytes; there are none beyond the end.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        into.fill(0xff);
        let source = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes.get(offset..))
            .unwrap_or(&[]);
        for (byte, value) in into.iter_mut().zip(source) {
            *byte = *value;
        }
    }

    /// Writes what can be written. Returns whether it asked for a reset.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> bool {
        let Ok(offset) = usize::try_from(offset) else {
            return false;
        };
        let mut reset = false;
        for (index, value) in data.iter().enumerate() {
            let Some(at) = offset.checked_add(index) else {
                break;
            };
            reset |= at == DEVICE_CONTROL + 1 && value & FLR != 0;
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.mask.get(at)) {
                *byte = (*byte & !mask) | (value & mask);
            }
        }
        reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(config: &ConfigSpace, offset: u64) -> u32 {
        let mut raw = [0; 4];
        config.read(offset, &mut raw);
        u32::from_le_bytes(raw)
    }

    #[test]
    fn identity() {
        let config = ConfigSpace::new(MsixLayout::new(33));
        assert_eq!(word(&config, 0x00), 0x0042_1ae0);
        assert_eq!(word(&config, 0x08), 0x0200_0001);
        assert_eq!(word(&config, 0x2c), 0x0058_1ae0);
    }

    #[test]
    fn bars_tell_their_size() {
        let mut config = ConfigSpace::new(MsixLayout::new(33));
        for (bar, expected) in [(0, 0xffff_f000), (1, 0xffff_f000), (2, 0xffff_f000), (3, 0)] {
            config.write(0x10 + 4 * bar, &[0xff; 4]);
            assert_eq!(word(&config, 0x10 + 4 * bar), expected);
        }
    }

    #[test]
    fn capabilities_can_be_walked() {
        let config = ConfigSpace::new(MsixLayout::new(257));
        let mut at = u64::from(word(&config, 0x34) as u8);
        let mut found = Vec::new();
        while at != 0 {
            let header = word(&config, at);
            found.push(header as u8);
            if header as u8 == MSIX_CAPABILITY {
                assert_eq!((header >> 16) & 0x7ff, 256);
                let pending = word(&config, at + 8);
                assert_eq!(pending & 7, MSIX_BAR);
                let end = u64::from(pending & !7) + 257u64.div_ceil(64) * 8;
                assert!(end <= MsixLayout::new(257).bytes);
                assert!(u64::from(pending & !7) >= 257 * 16);
            }
            at = u64::from((header >> 8) & 0xff);
        }
        assert_eq!(found, [MSIX_CAPABILITY, EXPRESS_CAPABILITY]);
    }

    #[test]
    fn reset_by_configuration_write() {
        let mut config = ConfigSpace::new(MsixLayout::new(33));
        assert!(!config.write(DEVICE_CONTROL as u64, &[0x0f, 0x20]));
        assert!(config.write(DEVICE_CONTROL as u64, &[0x0f, 0xa0]));
        assert_eq!(word(&config, DEVICE_CONTROL as u64) & 0x8000, 0);
    }

    #[test]
    fn beyond_the_end() {
        let mut config = ConfigSpace::new(MsixLayout::new(33));
        assert!(!config.write(u64::MAX, &[1; 8]));
        assert!(!config.write(254, &[1; 8]));
        let mut raw = [0; 4];
        config.read(254, &mut raw);
        assert_eq!(raw[2..], [0xff, 0xff]);
        config.read(u64::MAX, &mut raw);
        assert_eq!(raw, [0xff; 4]);
    }
}
