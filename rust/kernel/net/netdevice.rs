// SPDX-License-Identifier: GPL-2.0

//! Network devices and their instance lock.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h),
//! [`include/net/netdev_lock.h`](srctree/include/net/netdev_lock.h),
//! [`include/net/netdev_queues.h`](srctree/include/net/netdev_queues.h)

use crate::{
    bindings,
    device::Device,
    fmt,
    prelude::*,
    str::CStr,
    sync::aref::{ARef, AlwaysRefCounted},
    types::{NotThreadSafe, Opaque},
};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};

/// A network namespace.
#[repr(transparent)]
pub struct Net(Opaque<bindings::net>);

impl Net {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::net) -> &'a Self {
        // SAFETY: The caller's promise; the wrapper is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Finds a device by its index and takes its instance lock.
    ///
    /// Context: process; takes the device's instance lock.
    pub fn lock_device(&self, ifindex: u32) -> Option<NetDeviceGuard<'_>> {
        // SAFETY: The namespace is valid. CAST: Indices above `i32::MAX` belong to no device.
        let dev = unsafe { bindings::netdev_get_by_index_lock(self.0.get(), ifindex as c_int) };
        // SAFETY: A device that is returned is locked, and stays while it is.
        (!dev.is_null()).then(|| unsafe { NetDeviceGuard::assume_locked(dev) })
    }
}

/// A network device.
#[repr(transparent)]
pub struct NetDevice(Opaque<bindings::net_device>);

// SAFETY: References on a device may be held and put by any thread.
unsafe impl Send for NetDevice {}

// SAFETY: `&NetDevice` offers counting and locking only.
unsafe impl Sync for NetDevice {}

// SAFETY: The device's own reference count is used. A device that is being unregistered waits for
// it, so whoever keeps an `ARef` for long has to drop it when told so.
unsafe impl AlwaysRefCounted for NetDevice {
    fn inc_ref(&self) {
        // SAFETY: The device is valid while there is a reference to it.
        unsafe { bindings::dev_hold(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller owns a reference.
        unsafe { bindings::dev_put(obj.as_ptr().cast()) };
    }
}

impl NetDevice {
    /// Wraps a raw pointer.
    ///
    /// # Safety
    ///
    /// `ptr` must be valid for `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::net_device) -> &'a Self {
        // SAFETY: The caller's promise; the wrapper is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Whether it belongs to a device on a bus, with a driver.
    pub fn is_hardware(&self) -> bool {
        // SAFETY: The device is valid; what is read never changes.
        unsafe { bindings::netdev_is_hardware(self.as_raw()) }
    }

    /// The raw pointer.
    pub fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Name of the interface, at this moment.
    ///
    /// Context: any but hardirq. Waits for a rename that is under way.
    pub fn name(&self) -> InterfaceName {
        let mut name = InterfaceName([0; IFNAMSIZ]);

        // SAFETY: The device is valid, and there is room for a name.
        unsafe { bindings::netdev_copy_name(self.as_raw(), name.0.as_mut_ptr().cast()) };
        name
    }

    /// Index of the interface in its network namespace, at this moment.
    pub fn ifindex(&self) -> u32 {
        // SAFETY: The device is valid. CAST: Indices are positive.
        unsafe { bindings::netdev_ifindex(self.as_raw()) as u32 }
    }

    /// Inode number of the network namespace, at this moment.
    pub fn netns_inode(&self) -> u32 {
        // SAFETY: The device is valid.
        unsafe { bindings::netdev_netns_inum(self.as_raw()) }
    }

    /// The MTU in bytes, at this moment.
    pub fn mtu(&self) -> u32 {
        // SAFETY: The device is valid.
        unsafe { bindings::netdev_mtu(self.as_raw()) }
    }

    /// Takes the instance lock.
    ///
    /// Context: process; sleeps. Not with another device's instance lock held.
    pub fn lock(&self) -> NetDeviceGuard<'_> {
        // SAFETY: The device is valid.
        unsafe { bindings::netdev_lock(self.as_raw()) };
        // SAFETY: The lock was just taken.
        unsafe { NetDeviceGuard::assume_locked(self.as_raw()) }
    }
}

/// Room that the longest name of an interface takes, and the zero byte after it.
const IFNAMSIZ: usize = bindings::IFNAMSIZ as usize;

/// The name that an interface had when it was asked for.
///
/// A copy, since an interface can be renamed at any time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InterfaceName([u8; IFNAMSIZ]);

impl InterfaceName {
    /// The name as a C string.
    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_cstr(), f)
    }
}

/// Whether the driver splits headers from payload, as configured with ethtool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderSplit {
    /// `tcp-data-split` is on.
    pub enabled: bool,
    /// Packets up to this size in bytes are not split.
    pub threshold: u32,
}

/// The RX rings of a device, as configured with ethtool. All of them are alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxRing {
    /// How many buffers the NIC is given at most, or 0 if the driver does not say.
    pub entries: u32,
    /// Size of a buffer in bytes, or 0 if the driver does not say.
    pub buf_len: u32,
}

/// A device whose instance lock is held. Dropping it unlocks.
///
/// # Invariants
///
/// `dev` is valid, and this thread holds its instance lock.
pub struct NetDeviceGuard<'a> {
    dev: NonNull<bindings::net_device>,
    _dev: PhantomData<&'a NetDevice>,
    _not_send: NotThreadSafe,
}

impl Deref for NetDeviceGuard<'_> {
    type Target = NetDevice;

    fn deref(&self) -> &NetDevice {
        // SAFETY: By the type invariant; the wrapper is transparent.
        unsafe { self.dev.cast::<NetDevice>().as_ref() }
    }
}

impl<'a> NetDeviceGuard<'a> {
    /// Takes over a lock that was taken in C: dropping the guard unlocks.
    ///
    /// # Safety
    ///
    /// `dev` must be valid for `'a`, and its instance lock held by this thread.
    pub(super) unsafe fn assume_locked(dev: *mut bindings::net_device) -> Self {
        Self {
            // INVARIANT: The caller's promise.
            // SAFETY: A valid pointer is not null.
            dev: unsafe { NonNull::new_unchecked(dev) },
            _dev: PhantomData,
            _not_send: NotThreadSafe,
        }
    }
}

impl NetDeviceGuard<'_> {
    /// False while the driver is detached (suspend, reset, removal).
    pub fn is_present(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { bindings::netif_device_present(self.as_raw()) }
    }

    /// Whether the driver works under the instance lock, as those with queue management do.
    pub fn has_queue_management(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { bindings::netdev_need_ops_lock(self.as_raw()) }
    }

    /// Whether the interface is up.
    pub fn is_running(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { bindings::netif_running(self.as_raw()) }
    }

    /// How many RX queues are in use.
    pub fn rx_queues(&self) -> u32 {
        // SAFETY: The device is valid, and the lock keeps the number.
        unsafe { bindings::netdev_real_num_rx_queues(self.as_raw()) }
    }

    /// The configured header split; [`None`] if the driver works under rtnl, which then protects
    /// it, and not under the instance lock.
    pub fn header_split(&self) -> Option<HeaderSplit> {
        if !self.has_queue_management() {
            return None;
        }
        // SAFETY: The device is valid, and the lock keeps its configuration.
        let cfg = unsafe { &*bindings::netdev_cfg(self.as_raw()) };
        Some(HeaderSplit {
            enabled: u32::from(cfg.hds_config)
                == bindings::ethtool_tcp_data_split_ETHTOOL_TCP_DATA_SPLIT_ENABLED,
            threshold: cfg.hds_thresh,
        })
    }

    /// What the driver says of its RX rings.
    ///
    /// Context: process; a driver may sleep.
    pub fn rx_ring(&self) -> RxRing {
        let (mut entries, mut buf_len) = (0, 0);
        // SAFETY: The device is valid, and the lock is what a driver with queue management wants
        // for this; others say nothing while it is detached.
        unsafe { bindings::netdev_rx_ring(self.as_raw(), &mut entries, &mut buf_len) };
        RxRing { entries, buf_len }
    }

    /// Whether an XDP program is attached.
    pub fn has_xdp(&self) -> bool {
        // SAFETY: The device is valid.
        unsafe { bindings::dev_xdp_prog_count(self.as_raw()) != 0 }
    }

    /// Whether RX queue `index` of this physical device is leased to a virtual one.
    pub fn has_leased_away(&self, index: u32) -> bool {
        self.lease(index, bindings::netif_lease_dir_NETIF_PHYS_TO_VIRT)
            .is_some()
    }

    /// The physical device and queue that RX queue `index` of this virtual device stands for.
    ///
    /// Its instance lock may be taken inside this one.
    pub fn leased_from(&self, index: u32) -> Option<(ARef<NetDevice>, u32)> {
        self.lease(index, bindings::netif_lease_dir_NETIF_VIRT_TO_PHYS)
    }

    /// The other end of the lease of RX queue `index`, if there is one in this direction.
    fn lease(
        &self,
        index: u32,
        direction: bindings::netif_lease_dir,
    ) -> Option<(ARef<NetDevice>, u32)> {
        if index >= self.rx_queues() {
            return None;
        }
        let (mut dev, mut other) = (self.as_raw(), index);
        // SAFETY: The device is locked and the queue exists.
        let rxq = unsafe { bindings::__netif_get_rx_queue_lease(&mut dev, &mut other, direction) };
        if rxq.is_null() || dev == self.as_raw() {
            return None;
        }
        // SAFETY: Either end's lock, this one's too, keeps the lease and so both devices.
        Some((ARef::from(unsafe { &*dev.cast::<NetDevice>() }), other))
    }

    /// The device that does DMA for RX queue `index`, if there is one. For a leased queue, that is
    /// the physical device's.
    ///
    /// It stays bound as long as the instance lock is held: its net device can't be unregistered
    /// meanwhile, or, if the queue is leased, has to wait until the lease ends, which takes this
    /// lock.
    pub fn rx_dma_device(&self, index: u32) -> Option<ARef<Device>> {
        if index >= self.rx_queues() {
            return None;
        }
        // SAFETY: The device is locked and the queue exists.
        let dev = unsafe {
            bindings::netdev_queue_get_dma_dev(
                self.as_raw(),
                index,
                bindings::netdev_queue_type_NETDEV_QUEUE_TYPE_RX,
            )
        };
        // SAFETY: A device that is returned is valid, and its references may be put anywhere.
        (!dev.is_null()).then(|| unsafe { Device::get_device(dev) })
    }
}

impl Drop for NetDeviceGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the lock is held.
        unsafe { bindings::netdev_unlock(self.dev.as_ptr()) };
    }
}
