// SPDX-License-Identifier: GPL-2.0

//! What stands behind the dma-buf.

use crate::{memory::Memory, record::Record};
use kernel::{
    device::Device,
    dma::DataDirection,
    dma_buf::{
        exporter::{Exporter, MapRequest},
        table::DeviceTable,
    },
    mm::virt::VmaNew,
    prelude::*,
    sync::Arc,
};

/// A dma-buf's side of a [`Record`]: writes down what happens, and its own end.
pub(crate) struct Buffer {
    record: Arc<Record>,
}

impl Buffer {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record }
    }
}

#[vtable]
impl Exporter for Buffer {
    type Memory = Memory;

    const NAME: &'static CStr = c"devmem_exporter";

    fn attach(&self, _dev: &Device) -> Result {
        self.record.attach.try_do(|| Ok(()))
    }

    fn detach(&self, _dev: &Device) {
        self.record.attach.undo();
    }

    fn map(&self, request: &MapRequest<'_>) -> Result<KBox<DeviceTable<Memory>>> {
        self.record.map.try_do(|| {
            let table = request.map(self.record.memory.clone())?;
            let runs = table.sg_table().iter().count();

            self.record.set_device_runs(runs as u64);
            Ok(table)
        })
    }

    fn unmap(&self, table: KBox<DeviceTable<Memory>>) {
        self.record.wait();
        drop(table);
        self.record.map.undo();
    }

    fn begin_cpu_access(&self, _direction: DataDirection) -> Result {
        self.record.cpu_begun.count();
        Ok(())
    }

    fn end_cpu_access(&self, _direction: DataDirection) -> Result {
        self.record.cpu_ended.count();
        Ok(())
    }

    fn mmap(&self, vma: &VmaNew, first_page: usize) -> Result {
        self.record.memory.mmap(vma, first_page)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.record.release();
    }
}
