// SPDX-License-Identifier: GPL-2.0

//! Shared DMA buffers, from the exporter's side.
//!
//! A driver implements [`Exporter`] for the object that stands behind a dma-buf, and hands one to
//! [`DmaBuf::export`]. The object is dropped when the dma-buf is released: after the last file
//! descriptor, mapping of user space, attachment and other reference is gone.
//!
//! # Examples
//!
//! A buffer of one page.
//!
//! ```
//! use kernel::{
//!     dma_buf::{
//!         exporter::{Exporter, MapRequest},
//!         pages::PageRun,
//!         table::{Backing, DeviceTable, Segment},
//!         DmaBuf,
//!     },
//!     page::PAGE_SIZE,
//!     prelude::*,
//!     sync::Arc,
//! };
//!
//! struct OnePage(PageRun);
//!
//! impl Backing for OnePage {
//!     fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
//!         [Segment::whole(&self.0)].into_iter()
//!     }
//! }
//!
//! struct Example {
//!     memory: Arc<OnePage>,
//! }
//!
//! #[vtable]
//! impl Exporter for Example {
//!     type Memory = OnePage;
//!
//!     const NAME: &'static CStr = c"example";
//!
//!     fn map(&self, request: &MapRequest<'_>) -> Result<KBox<DeviceTable<OnePage>>> {
//!         request.map(self.memory.clone())
//!     }
//! }
//!
//! let memory = Arc::new(OnePage(PageRun::new(1, GFP_KERNEL | __GFP_ZERO)?), GFP_KERNEL)?;
//! let buf = DmaBuf::export(PAGE_SIZE, Example { memory })?;
//! assert_eq!(buf.size(), PAGE_SIZE);
//! # Ok::<(), Error>(())
//! ```
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use super::{
    table::{Backing, DeviceTable},
    DmaBuf,
};
use crate::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::{from_err_ptr, from_result, to_result, VTABLE_DEFAULT_ERROR},
    mm::virt::VmaNew,
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    sync::{aref::ARef, Arc},
    types::ForeignOwnable,
};
use core::{marker::PhantomData, ptr::NonNull};

/// What stands behind a dma-buf.
///
/// Everything is called in process context and may sleep. [`map`](Self::map) and
/// [`unmap`](Self::unmap) are called with the buffer's reservation lock held, the rest without, so
/// any two of them may run at once.
///
/// The core undoes what succeeded: each attachment is detached once, each mapping unmapped once,
/// and the exporter is dropped once, after all that.
#[vtable]
pub trait Exporter: Sized + Send + Sync + 'static {
    /// The memory that importers get to map.
    type Memory: Backing;

    /// Name of the exporter, for people who look into debugfs.
    const NAME: &'static CStr;

    /// A device is about to be attached. An error refuses it, and goes to the importer as it is.
    fn attach(&self, _dev: &Device) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// A device that was attached has been detached.
    fn detach(&self, _dev: &Device) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// An attached device wants the buffer mapped: [`MapRequest::map`] does that.
    ///
    /// An error goes to the importer as it is.
    fn map(&self, request: &MapRequest<'_>) -> Result<KBox<DeviceTable<Self::Memory>>>;

    /// The device does not use a mapping any more. Dropping `table` undoes it.
    fn unmap(&self, table: KBox<DeviceTable<Self::Memory>>) {
        drop(table);
    }

    /// The CPU is about to access the memory, through user space's mapping or the kernel's.
    fn begin_cpu_access(&self, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The access that [`begin_cpu_access`](Self::begin_cpu_access) announced is over.
    fn end_cpu_access(&self, _direction: DataDirection) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// User space maps the buffer, from its page `first_page` on.
    ///
    /// The core has checked that the buffer is large enough. Without this method user space can't
    /// map it.
    fn mmap(&self, _vma: &VmaNew, _first_page: usize) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// An importer's wish to have a buffer mapped.
pub struct MapRequest<'a> {
    dev: &'a Device,
    direction: DataDirection,
}

impl MapRequest<'_> {
    /// The device that is going to access the buffer.
    pub fn device(&self) -> &Device {
        self.dev
    }

    /// What it is going to do.
    pub fn direction(&self) -> DataDirection {
        self.direction
    }

    /// Maps `memory` for the device. The table keeps the memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` if there are no segments; what the device's DMA operations say.
    pub fn map<B: Backing>(&self, memory: Arc<B>) -> Result<KBox<DeviceTable<B>>> {
        DeviceTable::new(memory, ARef::from(self.dev), self.direction)
    }
}

impl DmaBuf {
    /// Makes a dma-buf of `size` bytes with `exporter` behind it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is not a multiple of the page size, `ENOENT` if the module of the
    /// exporter is being removed, `ENOMEM`, `ENFILE`; those of `exporter`, which is dropped on
    /// every error.
    pub fn export<T: Exporter, E>(size: usize, exporter: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        if size == 0 || size % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let private = KBox::pin_init(exporter, GFP_KERNEL)?.into_foreign();

        let info = bindings::dma_buf_export_info {
            exp_name: T::NAME.as_char_ptr(),
            owner: this_module::<T::OwnerModule>().as_ptr(),
            ops: VTable::<T>::build(),
            size,
            flags: bindings::O_RDWR as c_int,
            priv_: private,
            ..pin_init::zeroed()
        };
        // SAFETY: `info` is valid. Operations and name are those of the module that is named as the
        // owner, so they stay as long as the dma-buf. `private` is what the operations expect, and
        // valid until `VTable::release`.
        let buf = from_err_ptr(unsafe { bindings::dma_buf_export(&info) }).inspect_err(|_| {
            // SAFETY: The pointer comes from `into_foreign`. There is no dma-buf that has it.
            drop(unsafe { <Pin<KBox<T>>>::from_foreign(private) });
        })?;
        // INVARIANT: `dma_buf_export` returned a dma-buf and the first reference on it.
        NonNull::new(buf).map(|ptr| Self { ptr }).ok_or(ENOMEM)
    }

    /// Gives the dma-buf, and this reference on it, a file descriptor of the current task.
    ///
    /// User space may have closed it again before this returns.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn into_fd(self) -> Result<u32> {
        // SAFETY: The dma-buf is valid.
        let fd = unsafe { bindings::dma_buf_fd(self.ptr.as_ptr(), bindings::O_CLOEXEC as c_int) };

        to_result(fd)?;
        // The reference is the file descriptor's now.
        core::mem::forget(self);
        Ok(fd as u32)
    }
}

/// The operations of a dma-buf with a `T` behind it.
struct VTable<T: Exporter>(PhantomData<T>);

impl<T: Exporter> VTable<T> {
    /// The exporter behind a dma-buf.
    ///
    /// # Safety
    ///
    /// `buf` must be valid for `'a`, and have this vtable.
    unsafe fn exporter<'a>(buf: *mut bindings::dma_buf) -> Pin<&'a T> {
        // SAFETY: A dma-buf with this vtable comes from `DmaBuf::export`, which set its private
        // data to a `Pin<KBox<T>>` that lives until its release.
        unsafe { <Pin<KBox<T>>>::borrow((*buf).priv_) }
    }

    /// The exporter behind an attachment, and the device that is attached.
    ///
    /// # Safety
    ///
    /// `attach` must be valid for `'a`, and its dma-buf have this vtable.
    unsafe fn attached<'a>(attach: *mut bindings::dma_buf_attachment) -> (Pin<&'a T>, &'a Device) {
        // SAFETY: An attachment has its dma-buf, and the device that the importer attached, which
        // stay as long as the attachment.
        unsafe {
            (
                Self::exporter((*attach).dmabuf),
                Device::from_raw((*attach).dev),
            )
        }
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable.
    unsafe extern "C" fn attach(
        _buf: *mut bindings::dma_buf,
        attach: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        // SAFETY: By the requirement; the core has filled in dma-buf and device already.
        let (exporter, dev) = unsafe { Self::attached(attach) };

        from_result(|| exporter.attach(dev).map(|()| 0))
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable.
    unsafe extern "C" fn detach(
        _buf: *mut bindings::dma_buf,
        attach: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: By the requirement.
        let (exporter, dev) = unsafe { Self::attached(attach) };

        exporter.detach(dev);
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable.
    unsafe extern "C" fn map(
        attach: *mut bindings::dma_buf_attachment,
        direction: bindings::dma_data_direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: By the requirement.
        let (exporter, dev) = unsafe { Self::attached(attach) };
        let direction = from_raw_direction(direction);

        let table = exporter
            .map(&MapRequest { dev, direction })
            .and_then(|table| {
                // One that the exporter kept from another request would have wrong addresses.
                if crate::warn_on!(!table.is_for(dev, direction)) {
                    return Err(EINVAL);
                }
                Ok(table)
            });
        match table {
            Ok(table) => DeviceTable::into_raw(table),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable, with a table that
    /// `map` returned, once.
    unsafe extern "C" fn unmap(
        attach: *mut bindings::dma_buf_attachment,
        table: *mut bindings::sg_table,
        _direction: bindings::dma_data_direction,
    ) {
        // SAFETY: By the requirement.
        let (exporter, _) = unsafe { Self::attached(attach) };

        // SAFETY: By the requirement `table` comes from `into_raw`, in `map`.
        exporter.unmap(unsafe { DeviceTable::from_raw(table) });
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable, once.
    unsafe extern "C" fn release(buf: *mut bindings::dma_buf) {
        // SAFETY: By the requirement this is the last call for this dma-buf, whose private data
        // `DmaBuf::export` has set.
        drop(unsafe { <Pin<KBox<T>>>::from_foreign((*buf).priv_) });
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable.
    unsafe extern "C" fn begin_cpu_access(
        buf: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: By the requirement.
        let exporter = unsafe { Self::exporter(buf) };

        from_result(|| {
            exporter
                .begin_cpu_access(from_raw_direction(direction))
                .map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable.
    unsafe extern "C" fn end_cpu_access(
        buf: *mut bindings::dma_buf,
        direction: bindings::dma_data_direction,
    ) -> c_int {
        // SAFETY: By the requirement.
        let exporter = unsafe { Self::exporter(buf) };

        from_result(|| {
            exporter
                .end_cpu_access(from_raw_direction(direction))
                .map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// Must be called by the dma-buf core, for a dma-buf that has this vtable, with a `vma` that
    /// is being set up.
    unsafe extern "C" fn mmap(
        buf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: By the requirement.
        let exporter = unsafe { Self::exporter(buf) };
        // SAFETY: By the requirement.
        let (area, first_page) = unsafe { (VmaNew::from_raw(vma), (*vma).vm_pgoff) };

        from_result(|| exporter.mmap(area, first_page).map(|()| 0))
    }

    const OPS: bindings::dma_buf_ops = bindings::dma_buf_ops {
        attach: if T::HAS_ATTACH {
            Some(Self::attach)
        } else {
            None
        },
        detach: if T::HAS_DETACH {
            Some(Self::detach)
        } else {
            None
        },
        map_dma_buf: Some(Self::map),
        unmap_dma_buf: Some(Self::unmap),
        release: Some(Self::release),
        begin_cpu_access: if T::HAS_BEGIN_CPU_ACCESS {
            Some(Self::begin_cpu_access)
        } else {
            None
        },
        end_cpu_access: if T::HAS_END_CPU_ACCESS {
            Some(Self::end_cpu_access)
        } else {
            None
        },
        mmap: if T::HAS_MMAP { Some(Self::mmap) } else { None },
        ..pin_init::zeroed()
    };

    const fn build() -> &'static bindings::dma_buf_ops {
        &Self::OPS
    }
}

/// The direction as a type of ours. An unknown one could be anything.
fn from_raw_direction(raw: bindings::dma_data_direction) -> DataDirection {
    match raw {
        bindings::dma_data_direction::DMA_TO_DEVICE => DataDirection::ToDevice,
        bindings::dma_data_direction::DMA_FROM_DEVICE => DataDirection::FromDevice,
        bindings::dma_data_direction::DMA_NONE => DataDirection::None,
        _ => DataDirection::Bidirectional,
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_dma_buf_exporter)]
mod tests {
    use super::*;
    use crate::{
        dma_buf::{pages::PageRun, table::Segment},
        sync::atomic::{Atomic, Relaxed},
    };

    struct OnePage(PageRun);

    impl Backing for OnePage {
        fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
            [Segment::whole(&self.0)].into_iter()
        }
    }

    /// Counts how often one of them is dropped.
    struct Dropped {
        memory: Arc<OnePage>,
        count: Arc<Atomic<u32>>,
    }

    #[vtable]
    impl Exporter for Dropped {
        type Memory = OnePage;

        const NAME: &'static CStr = c"dropped";

        fn map(&self, request: &MapRequest<'_>) -> Result<KBox<DeviceTable<OnePage>>> {
            request.map(self.memory.clone())
        }
    }

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.count.add(1, Relaxed);
        }
    }

    fn exporter(count: &Arc<Atomic<u32>>) -> Result<Dropped> {
        Ok(Dropped {
            memory: Arc::new(OnePage(PageRun::new(1, GFP_KERNEL)?), GFP_KERNEL)?,
            count: count.clone(),
        })
    }

    #[test]
    fn a_buffer_knows_its_size_and_exporter() -> Result {
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let buf = DmaBuf::export(PAGE_SIZE, exporter(&count)?)?;
        assert_eq!(buf.size(), PAGE_SIZE);
        assert_eq!(buf.exporter_name().to_bytes(), b"dropped");
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn an_exporter_that_is_refused_is_dropped() -> Result {
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        for size in [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 8] {
            assert!(DmaBuf::export(size, exporter(&count)?).is_err());
        }
        assert_eq!(count.load(Relaxed), 4);
        Ok(())
    }
}
