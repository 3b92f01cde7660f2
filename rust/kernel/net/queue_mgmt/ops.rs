// SPDX-License-Identifier: GPL-2.0

//! The C vtable of a [`QueueManagement`].

use super::{
    Allocated, ExtAck, History, LockedDevice, NotStarted, NotStopped, QueueConfig, QueueManagement,
    Running, Stopped,
};
use crate::{
    bindings,
    error::from_result,
    ffi::{c_int, c_void},
    prelude::*,
};
use core::{marker::PhantomData, ptr};

/// Where the net core keeps a queue's memory while the driver does not have it.
///
/// Valid when zeroed: `memory` is `None` then.
struct Slot<M> {
    memory: Option<M>,
    /// The memory ran before.
    used: bool,
}

impl<M> Slot<M> {
    /// # Safety
    ///
    /// `slot` must be the net core's: memory of the size in the vtable, zeroed at first and only
    /// written by way of this since, that nobody else uses for `'a`.
    unsafe fn at<'a>(slot: *mut c_void) -> &'a mut Self {
        // SAFETY: By the caller's promise; a slot of zeroes is a valid one.
        unsafe { &mut *slot.cast() }
    }
}

/// The vtable of a driver: `struct netdev_queue_mgmt_ops`.
#[repr(transparent)]
pub struct QueueOps<Q: QueueManagement> {
    ops: bindings::netdev_queue_mgmt_ops,
    _ops: PhantomData<fn(Q)>,
}

// SAFETY: Function pointers and numbers only, never written.
unsafe impl<Q: QueueManagement> Sync for QueueOps<Q> {}

impl<Q: QueueManagement> QueueOps<Q> {
    /// Makes the vtable.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        const { assert!(align_of::<Slot<Q::Memory>>() <= bindings::ARCH_SLAB_MINALIGN) };
        Self {
            ops: bindings::netdev_queue_mgmt_ops {
                ndo_queue_mem_size: size_of::<Slot<Q::Memory>>(),
                ndo_queue_mem_alloc: Some(Self::mem_alloc),
                ndo_queue_mem_free: Some(Self::mem_free),
                ndo_queue_start: Some(Self::start),
                ndo_queue_stop: Some(Self::stop),
                ndo_default_qcfg: if Q::HAS_DEFAULT_CONFIG {
                    Some(Self::default_config)
                } else {
                    None
                },
                ndo_validate_qcfg: if Q::HAS_VALIDATE_CONFIG {
                    Some(Self::validate_config)
                } else {
                    None
                },
                ndo_queue_get_dma_dev: if Q::HAS_DMA_DEVICE {
                    Some(Self::dma_device)
                } else {
                    None
                },
                // For virtual devices, whose queues are leased from another device.
                ndo_queue_create: None,
                supported_params: if Q::RX_PAGE_SIZE {
                    bindings::QCFG_RX_PAGE_SIZE
                } else {
                    0
                },
            },
            _ops: PhantomData,
        }
    }

    /// Gives a device these ops.
    ///
    /// # Safety
    ///
    /// `dev` must be valid and not registered yet. From its registration to the end of its
    /// unregistration `netdev_priv(dev)` must be a valid `Q::Data` that is only borrowed shared
    /// while the instance lock is held.
    pub unsafe fn attach(&'static self, dev: *mut bindings::net_device) {
        // SAFETY: Nobody but the caller knows the device yet.
        unsafe { bindings::netdev_set_queue_mgmt_ops(dev, &self.ops) };
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_queue_mem_alloc`: the device is registered and locked, and
    /// `slot` is zeroed memory of the size in the vtable.
    unsafe extern "C" fn mem_alloc(
        dev: *mut bindings::net_device,
        config: *mut bindings::netdev_queue_config,
        slot: *mut c_void,
        index: c_int,
    ) -> c_int {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        // SAFETY: By the caller's promise.
        let config = unsafe { QueueConfig::from_raw(config) };

        // SAFETY: By the caller's promise.
        let slot = unsafe { Slot::at(slot) };

        from_result(|| {
            *slot = Slot {
                memory: Some(Q::alloc(&dev, &config, index.try_into()?)?),
                used: false,
            };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_queue_mem_free`: the device is locked, and `slot` was zeroed
    /// and is only written by these functions.
    unsafe extern "C" fn mem_free(_dev: *mut bindings::net_device, slot: *mut c_void) {
        // SAFETY: By the caller's promise.
        let slot = unsafe { Slot::<Q::Memory>::at(slot) };
        slot.memory = None;
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_queue_start`: as for [`Self::mem_free`], the device is
    /// registered and up, and its queue is stopped.
    unsafe extern "C" fn start(
        dev: *mut bindings::net_device,
        config: *mut bindings::netdev_queue_config,
        slot: *mut c_void,
        index: c_int,
    ) -> c_int {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        // SAFETY: By the caller's promise.
        let config = unsafe { QueueConfig::from_raw(config) };
        // SAFETY: By the caller's promise.
        let slot = unsafe { Slot::at(slot) };

        from_result(|| {
            let index = index.try_into()?;
            // Empty if `start` lost the memory and the net core tries all the same.
            let memory = slot.memory.take().ok_or(ENODATA)?;
            if slot.used {
                let memory = Stopped::new(memory, index);
                Self::started(slot, Q::restart(&dev, &config, memory))
            } else {
                let memory = Allocated::new(memory, index);
                Self::started(slot, Q::start(&dev, &config, memory))
            }
        })
    }

    /// What came of starting a queue; memory that comes back goes into its slot again.
    fn started<H: History>(
        slot: &mut Slot<Q::Memory>,
        result: Result<Running<Q::Memory>, NotStarted<Q::Memory, H>>,
    ) -> Result<c_int> {
        match result {
            Ok(_) => Ok(0),
            Err(NotStarted::Lost(error, _)) => Err(error),
            Err(NotStarted::Refused(error, memory)) => {
                slot.memory = Some(memory.into_memory());
                Err(error)
            }
        }
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_queue_stop`: the device is registered, locked and up, its queue
    /// runs, and `slot` is zeroed memory of the size in the vtable.
    unsafe extern "C" fn stop(
        dev: *mut bindings::net_device,
        slot: *mut c_void,
        index: c_int,
    ) -> c_int {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        // SAFETY: By the caller's promise.
        let slot = unsafe { Slot::at(slot) };

        from_result(|| {
            let running = Running::new(index.try_into()?);
            let stopped = Q::stop(&dev, running).map_err(|NotStopped(error, _)| error)?;
            *slot = Slot {
                memory: Some(stopped.into_memory()),
                used: true,
            };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_default_qcfg`: the device is registered and locked, `config`
    /// valid.
    unsafe extern "C" fn default_config(
        dev: *mut bindings::net_device,
        config: *mut bindings::netdev_queue_config,
    ) {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        // SAFETY: By the caller's promise.
        unsafe { (*config).rx_page_size = Q::default_config(&dev).rx_page_size };
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_validate_qcfg`: the device is registered and locked, `config`
    /// valid, `extack` valid or null.
    unsafe extern "C" fn validate_config(
        dev: *mut bindings::net_device,
        config: *mut bindings::netdev_queue_config,
        extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        // SAFETY: By the caller's promise.
        let (config, extack) = unsafe { (QueueConfig::from_raw(config), ExtAck::from_raw(extack)) };
        from_result(|| Q::validate_config(&dev, &config, extack).map(|()| 0))
    }

    /// # Safety
    ///
    /// The net core's call of `ndo_queue_get_dma_dev`: the device is registered and locked.
    unsafe extern "C" fn dma_device(
        dev: *mut bindings::net_device,
        index: c_int,
    ) -> *mut bindings::device {
        // SAFETY: By the caller's promise and that of `attach`.
        let dev = unsafe { LockedDevice::from_raw(dev) };
        index
            .try_into()
            .ok()
            .and_then(|index| Q::dma_device(&dev, index))
            .map_or(ptr::null_mut(), |device| device.as_raw())
    }
}

impl QueueConfig {
    /// # Safety
    ///
    /// `raw` must be valid.
    unsafe fn from_raw(raw: *const bindings::netdev_queue_config) -> Self {
        Self {
            // SAFETY: The caller's promise.
            rx_page_size: unsafe { (*raw).rx_page_size },
        }
    }
}
