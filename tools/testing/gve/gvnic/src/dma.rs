// SPDX-License-Identifier: GPL-2.0
//! The guest's memory. The client passes a file descriptor for each range
//! that a device may reach; ranges without one can't be reached from here and
//! read as not mapped.

use gve_device::GuestMemory;
use gve_device::memory::DmaError;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vfio_user::DmaMapFlags;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

/// `PROT_READ | PROT_WRITE` of mmap(2).
const PROT_READ_WRITE: i32 = 3;
/// `PROT_READ` of mmap(2).
const PROT_READ: i32 = 1;
/// `MAP_SHARED | MAP_NORESERVE` of mmap(2).
const MAP_SHARED_NORESERVE: i32 = 0x4001;

struct Range {
    address: u64,
    size: u64,
    flags: DmaMapFlags,
    region: Arc<GuestRegionMmap>,
}

/// Ranges that are mapped, sorted by address.
#[derive(Default)]
pub struct DmaMap {
    ranges: Vec<Range>,
}

impl DmaMap {
    /// Maps a range.
    pub fn map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: File,
    ) -> io::Result<()> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
        let end = address
            .checked_add(size)
            .ok_or_else(|| invalid("range wraps around"))?;
        let overlaps = |range: &Range| range.address < end && address < range.address + range.size;
        if self.ranges.iter().any(overlaps) {
            return Err(invalid("range overlaps another one"));
        }
        let prot = if flags.contains(DmaMapFlags::WRITE) {
            PROT_READ_WRITE
        } else {
            PROT_READ
        };
        let length = usize::try_from(size).map_err(|_| invalid("range is too big"))?;
        let mapping = MmapRegionBuilder::new(length)
            .with_mmap_prot(prot)
            .with_mmap_flags(MAP_SHARED_NORESERVE)
            .with_file_offset(FileOffset::new(file, offset))
            .build()
            .map_err(io::Error::other)?;
        let region = GuestRegionMmap::new(mapping, GuestAddress(address))
            .ok_or_else(|| invalid("range wraps around"))?;
        self.ranges.push(Range {
            address,
            size,
            flags,
            region: Arc::new(region),
        });
        self.ranges.sort_by_key(|range| range.address);
        Ok(())
    }

    /// Forgets every range that lies in this one.
    pub fn unmap(&mut self, address: u64, size: u64) {
        let end = address.saturating_add(size);
        self.ranges
            .retain(|range| range.address < address || range.address + range.size > end);
    }

    /// Forgets every range.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// The memory as it is mapped now.
    pub fn memory(&self) -> io::Result<MappedMemory> {
        Ok(MappedMemory {
            readable: self.collect(DmaMapFlags::READ)?,
            writable: self.collect(DmaMapFlags::WRITE)?,
        })
    }

    fn collect(&self, flag: DmaMapFlags) -> io::Result<GuestMemoryMmap> {
        let regions: Vec<_> = self
            .ranges
            .iter()
            .filter(|range| range.flags.contains(flag))
            .map(|range| range.region.clone())
            .collect();
        if regions.is_empty() {
            return Ok(GuestMemoryMmap::new());
        }
        GuestMemoryMmap::from_arc_regions(regions).map_err(io::Error::other)
    }
}

/// A state of the guest's memory: what may be read, and what written.
pub struct MappedMemory {
    readable: GuestMemoryMmap,
    writable: GuestMemoryMmap,
}

impl GuestMemory for MappedMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DmaError> {
        let length = into.len();
        self.readable
            .read_slice(into, GuestAddress(address))
            .map_err(|_| DmaError { address, length })
    }

    fn append(&self, address: u64, length: usize, out: &mut Vec<u8>) -> Result<(), DmaError> {
        let old = out.len();
        self.readable
            .write_all_volatile_to(GuestAddress(address), out, length)
            .map_err(|_| {
                out.truncate(old);
                DmaError { address, length }
            })
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), DmaError> {
        self.writable
            .write_slice(from, GuestAddress(address))
            .map_err(|_| DmaError {
                address,
                length: from.len(),
            })
    }

    fn publish(&self, address: u64, word: u64) -> Result<(), DmaError> {
        self.writable
            .store(word.to_le(), GuestAddress(address), Ordering::Release)
            .map_err(|_| DmaError { address, length: 8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes as u64).unwrap();
        file
    }

    #[test]
    fn ranges_come_and_go() {
        let mut map = DmaMap::default();
        let both = DmaMapFlags::READ_WRITE;
        map.map(both, 0, 0x10000, 0x2000, file(0x2000)).unwrap();
        map.map(both, 0x1000, 0x12000, 0x1000, file(0x2000))
            .unwrap();
        assert!(map.map(both, 0, 0x11000, 0x1000, file(0x1000)).is_err());
        assert!(
            map.map(both, 0, u64::MAX - 1, 0x1000, file(0x1000))
                .is_err()
        );
        let memory = map.memory().unwrap();
        // Across the seam of two ranges.
        memory.write(0x11ffe, b"abcd").unwrap();
        let mut raw = [0; 4];
        memory.read(0x11ffe, &mut raw).unwrap();
        assert_eq!(&raw, b"abcd");
        let mut out = vec![b'>'];
        memory.append(0x11ffe, 4, &mut out).unwrap();
        assert_eq!(out, b">abcd");
        assert!(memory.append(0x12ffe, 4, &mut out).is_err());
        assert_eq!(out, b">abcd");
        memory.publish(0x12ff8, 7).unwrap();
        assert!(memory.publish(0x12ffc, 7).is_err());
        assert!(memory.write(0xffff, &[0]).is_err());
        map.unmap(0x12000, 0x1000);
        let memory = map.memory().unwrap();
        assert!(memory.write(0x12000, &[0]).is_err());
        assert!(memory.write(0x11fff, &[0]).is_ok());
        map.clear();
        assert!(map.memory().unwrap().write(0x10000, &[0]).is_err());
    }

    #[test]
    fn read_only_ranges_are_not_written() {
        let mut map = DmaMap::default();
        map.map(DmaMapFlags::READ, 0, 0x1000, 0x1000, file(0x1000))
            .unwrap();
        let memory = map.memory().unwrap();
        assert!(memory.read(0x1000, &mut [0; 8]).is_ok());
        assert!(memory.write(0x1000, &[0]).is_err());
        assert!(memory.publish(0x1000, 1).is_err());
    }
}
