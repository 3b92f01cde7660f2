// SPDX-License-Identifier: GPL-2.0

//! What the C driver calls, what it offers, and all `unsafe` of this crate.
//!
//! C header: [`drivers/net/gve/gve_rust.h`](srctree/drivers/net/gve/gve_rust.h)

use crate::queue::Queues;
use core::{mem::forget, ptr::NonNull};
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    net::queue_mgmt::{History, Idle, LockedDevice, QueueOps, Running},
    prelude::*,
    types::Opaque,
    ModuleMetadata, ThisModule,
};
use pin_init::ZeroableOption;

/// What the driver keeps of a device: `struct gve_priv`, which only C looks into.
#[repr(transparent)]
pub(crate) struct Priv(Opaque<()>);

/// A gVNIC whose instance lock is held.
pub(crate) type Gve<'a> = LockedDevice<'a, Priv>;

static OPS: QueueOps<Queues> = QueueOps::new();

/// # Safety
///
/// `dev` must be a gVNIC in DQO-RDA mode that is not registered yet.
#[export]
pub(crate) unsafe extern "C" fn gve_rust_attach(dev: *mut bindings::net_device) {
    // SAFETY: The caller's promise. `Priv` is opaque, so any memory is a valid one.
    unsafe { OPS.attach(dev) };
}

/// The module that `#[vtable]` wants to know of: the C driver.
pub(crate) struct LocalModule;

impl ModuleMetadata for LocalModule {
    const NAME: &'static CStr = c"gve";

    #[cfg(MODULE)]
    const THIS_MODULE: ThisModule = {
        extern "C" {
            static __this_module: Opaque<bindings::module>;
        }
        // SAFETY: The loader provides it.
        unsafe { ThisModule::from_ptr(__this_module.get()) }
    };

    #[cfg(not(MODULE))]
    const THIS_MODULE: ThisModule = {
        // SAFETY: Built-in code has none, which null says.
        unsafe { ThisModule::from_ptr(core::ptr::null_mut()) }
    };
}

/// What is asked of a device as a whole.
pub(crate) trait Device {
    /// There are rings, and they work. False while the interface is down.
    fn has_rings(&self) -> bool;

    /// An XDP program is attached.
    fn uses_xdp(&self) -> bool;

    /// A reset is about to come.
    fn is_reset_pending(&self) -> bool;

    /// Has all queues made anew by a reset of the device, soon, in the driver's workqueue.
    fn schedule_reset(&self);

    /// RX queue `index` has memory.
    fn has_ring(&self, index: u32) -> bool;

    /// RX queue `index` has memory of a provider that is not installed on it any more.
    fn overstays(&self, index: u32) -> bool;
}

impl Device for Gve<'_> {
    fn has_rings(&self) -> bool {
        // SAFETY: The device is a locked gVNIC.
        unsafe { bindings::gve_glue_is_running(self.as_raw()) }
    }

    fn uses_xdp(&self) -> bool {
        // SAFETY: The device is a locked gVNIC.
        unsafe { bindings::gve_glue_has_xdp(self.as_raw()) }
    }

    fn is_reset_pending(&self) -> bool {
        // SAFETY: The device is a locked gVNIC.
        unsafe { bindings::gve_glue_reset_pending(self.as_raw()) }
    }

    fn schedule_reset(&self) {
        // SAFETY: The device is a locked gVNIC.
        unsafe { bindings::gve_glue_schedule_reset(self.as_raw()) };
    }

    fn has_ring(&self, index: u32) -> bool {
        // SAFETY: The device is a locked gVNIC, and has a queue of this index.
        index < self.rx_queues() && unsafe { bindings::gve_glue_has_ring(self.as_raw(), index) }
    }

    fn overstays(&self, index: u32) -> bool {
        // SAFETY: The device is a locked gVNIC, and the queue has a ring.
        self.has_ring(index) && unsafe { bindings::gve_glue_overstays(self.as_raw(), index) }
    }
}

/// The memory of an RX queue: descriptor rings, header buffers, page pool and the buffers from it.
/// Dropping it frees that.
///
/// # Invariants
///
/// A ring of `gve_glue_alloc()` or `gve_glue_shell()` that the device knows nothing of, owned.
#[repr(transparent)]
pub(crate) struct RxRing(NonNull<bindings::gve_rx_ring>);

// SAFETY: Any thread may use and free it.
unsafe impl Send for RxRing {}

// SAFETY: A transparent `NonNull`, so null stands for `None`.
unsafe impl ZeroableOption for RxRing {}

impl RxRing {
    /// Allocates all that RX queue `index` needs, as the device is configured now.
    pub(crate) fn alloc(dev: &Gve<'_>, index: u32) -> Result<Self> {
        // SAFETY: The device is a locked gVNIC.
        Self::new(from_err_ptr(unsafe {
            bindings::gve_glue_alloc(dev.as_raw(), index)
        })?)
    }

    /// A ring without memory, for [`Halted::remove`].
    pub(crate) fn shell() -> Result<Self> {
        // SAFETY: Has no requirements.
        Self::new(unsafe { bindings::gve_glue_shell() })
    }

    /// `ring` must be null or as the invariant says.
    fn new(ring: *mut bindings::gve_rx_ring) -> Result<Self> {
        // INVARIANT: The callers see to it.
        NonNull::new(ring).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::gve_glue_free(self.0.as_ptr()) };
    }
}

/// A queue whose NAPI instance is off, so nobody looks at its ring. Dropping it puts that on.
///
/// # Invariants
///
/// The device has rings, among them this queue's, with a NAPI instance that is disabled.
pub(crate) struct Halted<'a, 'd> {
    dev: &'a Gve<'d>,
    index: u32,
}

/// What comes of [`Halted::install`]: the queue, or why there is none, and the memory.
pub(crate) type Installed<'a, 'd, H> =
    Result<(Running<RxRing>, Halted<'a, 'd>), (Error, Idle<RxRing, H>)>;

impl<'a, 'd> Halted<'a, 'd> {
    /// Gives memory to the driver's ring, and the ring its NAPI instance. Gives it back with
    /// `ENETDOWN` if there are no rings, and `EBUSY` if this one has memory already.
    pub(crate) fn install<H: History>(
        dev: &'a Gve<'d>,
        memory: Idle<RxRing, H>,
    ) -> Installed<'a, 'd, H> {
        let index = memory.index();
        if !dev.has_rings() || index >= dev.rx_queues() {
            return Err((ENETDOWN, memory));
        }
        if dev.has_ring(index) {
            return Err((EBUSY, memory));
        }
        let running = memory.run(|ring| {
            // SAFETY: The device is a locked gVNIC with rings, and this one is empty. It takes
            // what is in `ring`, and `ring`.
            unsafe { bindings::gve_glue_install(dev.as_raw(), index, ring.0.as_ptr()) };
            forget(ring);
        });
        // INVARIANT: A new NAPI instance is disabled.
        Ok((running, Self { dev, index }))
    }

    /// Takes the memory out of the driver's ring, and its NAPI instance away. Sleeps for a grace
    /// period.
    pub(crate) fn remove(self, shell: RxRing) -> RxRing {
        // SAFETY: By the type invariant. If `shell` has memory, that is leaked.
        unsafe { bindings::gve_glue_remove(self.dev.as_raw(), self.index, shell.0.as_ptr()) };
        // There is no NAPI instance any more.
        forget(self);
        shell
    }

    /// Gives the device buffers to write to.
    pub(crate) fn post(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::gve_glue_post(self.dev.as_raw(), self.index) };
    }

    /// Tells the device of the queue and its memory.
    pub(crate) fn create(&self) -> Result {
        let _quiet = Quiet::but(self);
        // SAFETY: By the type invariant, and nobody touches a queue.
        to_result(unsafe { bindings::gve_glue_create(self.dev.as_raw(), self.index) })
    }

    /// Stops looking at a running queue, and tells the device to forget it and its memory. If
    /// that fails, the queue goes on. `ENETDOWN` if there are no rings.
    pub(crate) fn destroy(dev: &'a Gve<'d>, running: &Running<RxRing>) -> Result<Self> {
        let index = running.index();
        if !dev.has_ring(index) {
            return Err(ENETDOWN);
        }
        let quiet = Quiet::new(dev)?;
        // SAFETY: The device is a locked gVNIC with this ring, and nobody touches a queue.
        to_result(unsafe { bindings::gve_glue_destroy(dev.as_raw(), index) })?;
        Ok(quiet.end_but(index))
    }
}

impl Drop for Halted<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::gve_glue_run(self.dev.as_raw(), self.index) };
    }
}

/// No queue in particular: `U32_MAX` in C.
const NONE: u32 = u32::MAX;

/// The time in which no queue of a device is touched, as it wants it for commands about a single
/// queue. Packets wait; dropping it lets them go on.
///
/// # Invariants
///
/// The device has rings, all its NAPI instances are disabled and its TX queues stopped. Dropping it
/// leaves out the NAPI instance of RX queue `but`.
struct Quiet<'a, 'd> {
    dev: &'a Gve<'d>,
    but: u32,
}

impl<'a, 'd> Quiet<'a, 'd> {
    /// Waits until nobody touches a queue. `ENETDOWN` if there are no rings.
    fn new(dev: &'a Gve<'d>) -> Result<Self> {
        if !dev.has_rings() {
            return Err(ENETDOWN);
        }
        // INVARIANT: The lock keeps the rings.
        Ok(Self::wait(dev, NONE))
    }

    /// The same, with a queue that is off already.
    fn but(halted: &Halted<'a, 'd>) -> Self {
        // INVARIANT: By the invariant of `Halted`.
        Self::wait(halted.dev, halted.index)
    }

    /// The device has to have rings, and `but` to be off or none.
    fn wait(dev: &'a Gve<'d>, but: u32) -> Self {
        // SAFETY: The device is a locked gVNIC with rings, whose NAPI instances are enabled but
        // for that of `but`.
        unsafe { bindings::gve_glue_quiesce(dev.as_raw(), but) };
        Self { dev, but }
    }

    /// Lets all queues go on but `index`, which has to have a ring.
    fn end_but(mut self, index: u32) -> Halted<'a, 'd> {
        self.but = index;
        // INVARIANT: It is still disabled, as `self` is dropped without it.
        Halted {
            dev: self.dev,
            index,
        }
    }
}

impl Drop for Quiet<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::gve_glue_resume(self.dev.as_raw(), self.but) };
    }
}
