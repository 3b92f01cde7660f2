// SPDX-License-Identifier: GPL-2.0
//! One vfio-user connection.

use crate::dma::DmaMap;
use crate::pci::{CONFIG_BYTES, ConfigSpace, DOORBELL_BAR, MSIX_BAR, MsixLayout, REGISTER_BAR};
use crate::record::Recorder;
use crate::timer::Timer;
use crate::vectors::Vectors;
use gve_device::config::BAR_BYTES;
use gve_device::memory::NoMemory;
use gve_device::record::{Access, RecordedInterrupts, RecordedMemory};
use gve_device::{GuestMemory, Hub, InterruptSink, Port};
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

/// What all ports have in common.
pub struct Machine {
    /// The ports and what joins them.
    pub hub: Arc<Hub>,
    /// Told when something is due.
    pub timer: Arc<Timer>,
    /// Told of everything, if anybody wants to know.
    pub recorder: Option<Arc<Recorder>>,
}

/// One port, as its client sees it.
pub struct Backend {
    machine: Machine,
    id: PortId,
    port: Arc<Port>,
    config: ConfigSpace,
    msix: MsixLayout,
    dma: DmaMap,
    vectors: Arc<Vectors>,
}

impl Backend {
    /// A port as after power on, with nothing mapped.
    pub fn new(machine: Machine, id: PortId, port: Arc<Port>, msix: MsixLayout) -> Backend {
        let vectors = Arc::new(Vectors::new(msix.vectors));
        port.connect_interrupts(match &machine.recorder {
            None => vectors.clone(),
            Some(recorder) => Arc::new(RecordedInterrupts {
                inner: vectors.clone(),
                port: id,
                log: recorder.clone(),
            }),
        });
        Backend {
            machine,
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
        self.reset_port();
        self.dma.clear();
        self.config = ConfigSpace::new(self.msix);
    }

    fn remap(&mut self) -> io::Result<()> {
        let memory: Arc<dyn GuestMemory> = Arc::new(self.dma.memory()?);
        self.port.set_memory(match &self.machine.recorder {
            None => memory,
            Some(recorder) => Arc::new(RecordedMemory {
                inner: memory,
                port: self.id,
                log: recorder.clone(),
            }),
        });
        Ok(())
    }

    fn reset_port(&self) {
        self.access(|| Access::Reset, |_| self.port.reset());
    }

    /// Does what the guest asks for, and has it written down.
    fn access<R>(&self, what: impl FnOnce() -> Access, act: impl FnOnce(Instant) -> R) -> R {
        let now = Instant::now();
        let Some(recorder) = &self.machine.recorder else {
            return act(now);
        };
        let _turn = recorder.turn();
        recorder.guest(self.id, now, what());
        act(now)
    }

    fn read_registers(&self, offset: u64, data: &mut [u8]) {
        let recorder = self.machine.recorder.as_deref();
        let _turn = recorder.map(Recorder::turn);
        self.port.read_registers(offset, data);
        if let Some(recorder) = recorder {
            let access = Access::ReadRegister(offset, data.to_vec());
            recorder.guest(self.id, Instant::now(), access);
        }
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region {
            REGISTER_BAR => self.read_registers(offset, data),
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
                let due = self.access(
                    || Access::Doorbell(offset, data.to_vec()),
                    |now| self.machine.hub.write_doorbell(self.id, offset, data, now),
                );
                self.machine.timer.schedule(due);
            }
            REGISTER_BAR => {
                let todo = self.access(
                    || Access::Register(offset, data.to_vec()),
                    |now| self.port.write_registers(offset, data, now),
                );
                self.machine.timer.schedule(todo.tick);
            }
            VFIO_PCI_CONFIG_REGION_INDEX => {
                let reset = self.config.write(offset, data);
                if reset {
                    self.reset_port();
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
        self.reset_port();
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
