// SPDX-License-Identifier: GPL-2.0
//! The guest's memory, as a device's DMA engine sees it.

use std::sync::{Mutex, PoisonError};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

/// An access to an address that is not mapped, or not mapped for it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no DMA to {length} bytes at {address:#x}")]
pub struct DmaError {
    /// Bus address.
    pub address: u64,
    /// Bytes that were asked for.
    pub length: usize,
}

/// DMA. An access either happens as a whole or fails; one that fails may
/// have moved a part.
pub trait GuestMemory: Send + Sync {
    /// Reads `into.len()` bytes.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError>;

    /// Appends `length` bytes to `out`; leaves `out` as it was on an error.
    fn append(&self, address: u64, length: usize, out: &mut Vec<u8>) -> Result<(), DmaError> {
        let old = out.len();
        out.resize(old + length, 0);
        let Some(tail) = out.get_mut(old..) else {
            return Ok(());
        };
        let result = self.read(address, tail);
        if result.is_err() {
            out.truncate(old);
        }
        result
    }

    /// Writes all of `from`.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError>;

    /// Stores a little-endian word at once, after everything that was written
    /// before. The address is a multiple of 8.
    fn publish(&self, address: u64, word: u64) -> Result<(), DmaError>;
}

impl dyn GuestMemory + '_ {
    /// Reads a structure.
    pub fn load<T: FromBytes + IntoBytes>(&self, address: u64) -> Result<T, DmaError> {
        let mut value = T::new_zeroed();
        self.read(address, value.as_mut_bytes())?;
        Ok(value)
    }
}

/// A device that nothing is mapped for.
#[derive(Debug, Default)]
pub struct NoMemory;

impl GuestMemory for NoMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        Err(DmaError {
            address,
            length: into.len(),
        })
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        Err(DmaError {
            address,
            length: from.len(),
        })
    }

    fn publish(&self, address: u64, _word: u64) -> Result<(), DmaError> {
        Err(DmaError { address, length: 8 })
    }
}

/// Memory of a test: bytes from a base address on.
#[derive(Debug)]
pub struct PlainMemory {
    base: u64,
    bytes: Mutex<Vec<u8>>,
}

impl PlainMemory {
    /// `length` zero bytes at `base`.
    pub fn new(base: u64, length: usize) -> PlainMemory {
        PlainMemory {
            base,
            bytes: Mutex::new(vec![0; length]),
        }
    }

    fn with<R>(
        &self,
        address: u64,
        length: usize,
        access: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, DmaError> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        address
            .checked_sub(self.base)
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|start| Some(start..start.checked_add(length)?))
            .and_then(|range| bytes.get_mut(range))
            .map(access)
            .ok_or(DmaError { address, length })
    }
}

impl GuestMemory for PlainMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        self.with(address, into.len(), |bytes| into.copy_from_slice(bytes))
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        self.with(address, from.len(), |bytes| bytes.copy_from_slice(from))
    }

    fn publish(&self, address: u64, word: u64) -> Result<(), DmaError> {
        if address % 8 != 0 {
            return Err(DmaError { address, length: 8 });
        }
        self.write(address, &word.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let memory = PlainMemory::new(0x1000, 16);
        assert!(memory.write(0x1000, &[1; 16]).is_ok());
        assert!(memory.write(0x1001, &[1; 16]).is_err());
        assert!(memory.write(0xfff, &[1; 1]).is_err());
        assert!(memory.write(u64::MAX, &[1; 16]).is_err());
        assert!(memory.publish(0x1004, 1).is_err());
        assert!(memory.publish(0x1008, 1).is_ok());
        let mut out = vec![9];
        assert!(memory.append(0x1008, 9, &mut out).is_err());
        assert_eq!(out, [9]);
        memory.append(0x1008, 2, &mut out).unwrap();
        assert_eq!(out, [9, 1, 0]);
    }
}
