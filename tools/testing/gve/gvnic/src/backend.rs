// SPDX-License-Identifier: GPL-2.0
//! One vfio-user connection.

use crate::dma::DmaMap;
use crate::pci::{CONFIG_BYTES, ConfigSpace, DOORBELL_BAR, MSIX_BAR, MsixLayout, REGISTER_BAR};
use crate::timer::Timer;
use crate::vectors::Vectors;
use gve_device::config::BAR_BYTES;
use gve_device::memory::NoMemory;
use gve_device::{Hub, InterruptSink, Port};
use gve_net::PortId;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion};

/// What the client is told of the regions.
pub fn regions(msix: MsixLayout) -> Vec<ServerRegion> {
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let size = match index {
                REGISTER_BAR | DOORBELL_BAR => BAR_BYTES,
                MSIX_BAR => msix.bytes,
                VFIO_PCI_CONFIG_REGION_INDEX => CONFIG_BYTES,
                _ => 0,
            };
            let flags = match size {
                0 => 0,
                _ => VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
            };
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    index,
                    flags,
                    size,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            }
        })
        .collect()
}

/// What the client is told of the interrupts: MSI-X and nothing else.
pub fn irqs(vectors: u32) -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| match index {
            VFIO_PCI_MSIX_IRQ_INDEX => IrqInfo {
                index,
                flags: VFIO_IRQ_INFO_EVENTFD,
                count: vectors,
            },
            _ => IrqInfo {
                index,
                flags: 0,
                count: 0,
            },
        })
        .collect()
}

/// One port, as its client sees it.
pub struct Backend {
    hub: Arc<Hub>,
    timer: Arc<Timer>,
    id: PortId,
    port: Arc<Port>,
    config: ConfigSpace,
    msix: MsixLayout,
    dma: DmaMap,
    vectors: Arc<Vectors>,
}

impl Backend {
    /// A port as after power on, with nothing mapped.
    pub fn new(
        hub: Arc<Hub>,
        timer: Arc<Timer>,
        id: PortId,
        port: Arc<Port>,
        msix: MsixLayout,
    ) -> Backend {
        let vectors = Arc::new(Vectors::new(msix.vectors));
        port.connect_interrupts(vectors.clone());
        Backend {
            hub,
            timer,
            id,
            port,
            config: ConfigSpace::new(msix),
            msix,
            dma: DmaMap::default(),
            vectors,
        }
    }

    /// The client is gone, and its memory with it.
    pub fn disconnect(&mut self) {
        self.port.set_memory(Arc::new(NoMemory));
        self.vectors.clear();
        self.port.reset();
        self.dma.clear();
        self.config = ConfigSpace::new(self.msix);
    }

    fn remap(&mut self) -> io::Result<()> {
        self.port.set_memory(Arc::new(self.dma.memory()?));
        Ok(())
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region {
            REGISTER_BAR => self.port.read_registers(offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX => self.config.read(offset, data),
            // Doorbells are only written, and the client keeps the MSI-X
            // table and its pending bits itself.
            _ => data.fill(0),
        }
        tracing::trace!(port = self.id, region, offset, ?data, "read");
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        tracing::trace!(port = self.id, region, offset, ?data, "write");
        match region {
            DOORBELL_BAR => {
                let due = self
                    .hub
                    .write_doorbell(self.id, offset, data, Instant::now());
                self.timer.schedule(due);
            }
            REGISTER_BAR => {
                let todo = self.port.write_registers(offset, data, Instant::now());
                self.timer.schedule(todo.tick);
            }
            VFIO_PCI_CONFIG_REGION_INDEX => {
                let reset = self.config.write(offset, data);
                if reset {
                    self.port.reset();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        file: Option<File>,
    ) -> io::Result<()> {
        tracing::debug!(
            port = self.id,
            address = format_args!("{address:#x}"),
            size = format_args!("{size:#x}"),
            ?flags,
            file = file.is_some(),
            "map"
        );
        // Without a file there is nothing to map; such a range is not memory
        // that a driver would have the device use.
        let Some(file) = file else {
            return Ok(());
        };
        self.dma.map(flags, offset, address, size, file)?;
        self.remap()
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        tracing::debug!(
            port = self.id,
            address = format_args!("{address:#x}"),
            size = format_args!("{size:#x}"),
            "unmap"
        );
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            self.dma.clear();
        } else {
            self.dma.unmap(address, size);
        }
        self.remap()
    }

    fn reset(&mut self) -> io::Result<()> {
        tracing::debug!(port = self.id, "bus reset");
        self.port.reset();
        self.config = ConfigSpace::new(self.msix);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        files: Vec<File>,
    ) -> io::Result<()> {
        tracing::debug!(
            port = self.id,
            index,
            flags,
            start,
            count,
            files = files.len(),
            "irqs"
        );
        // The client masks vectors itself, so only triggers matter here.
        if index != VFIO_PCI_MSIX_IRQ_INDEX || flags & VFIO_IRQ_SET_ACTION_TRIGGER == 0 {
            return Ok(());
        }
        if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            self.vectors.set(start, count, files);
        } else if flags & VFIO_IRQ_SET_DATA_NONE != 0 {
            if count == 0 {
                self.vectors.clear();
            }
            for vector in (start..self.msix.vectors).take(count as usize) {
                self.vectors.fire(vector);
            }
        }
        Ok(())
    }
}
