// SPDX-License-Identifier: GPL-2.0
//! BAR 2: doorbells, little endian 32-bit words. The device chooses which
//! word is which and tells the driver.

/// An interrupt doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqDoorbell(pub u32);

impl IrqDoorbell {
    const ENABLE: u32 = 1 << 0;
    const ITR_SHIFT: u32 = 3;
    const ITR_KEEP: u32 = 3;
    const INTERVAL_SHIFT: u32 = 5;

    /// Whether the block may interrupt from now on.
    pub fn enable(self) -> bool {
        self.0 & Self::ENABLE != 0
    }

    /// The new interrupt interval in µs, or `None` to keep the present one.
    pub fn interval_us(self) -> Option<u32> {
        if (self.0 >> Self::ITR_SHIFT) & 3 == Self::ITR_KEEP {
            return None;
        }
        Some(((self.0 >> Self::INTERVAL_SHIFT) & 0xfff) * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_the_driver_writes() {
        let tx = IrqDoorbell(0x321);
        assert!(tx.enable());
        assert_eq!(tx.interval_us(), Some(50));
        let rx = IrqDoorbell(0x141);
        assert!(rx.enable());
        assert_eq!(rx.interval_us(), Some(20));
        let napi = IrqDoorbell(0x19);
        assert!(napi.enable());
        assert_eq!(napi.interval_us(), None);
        assert!(!IrqDoorbell(0).enable());
    }
}
