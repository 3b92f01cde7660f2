// SPDX-License-Identifier: GPL-2.0

//! A network device without hardware, whose RX queues can be restarted.

use super::super::{
    Allocated, ExtAck, Fresh, History, Idle, LockedDevice, NotStarted, NotStopped, QueueConfig,
    QueueManagement, QueueOps, Running, Stopped, Used,
};
use crate::{
    bindings,
    device::{Bound, Device},
    dma::DataDirection,
    error::to_result,
    faux,
    ffi::{c_int, c_void},
    net::{
        netdevice::{NetDevice, NetDeviceGuard},
        page_pool::{PagePool, PagePoolParams},
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        Arc, Mutex,
    },
};
use core::{mem::size_of, ptr::NonNull};

/// RX queues of a fake device.
pub(super) const QUEUES: usize = 2;

/// The only queue that a device does DMA for.
pub(super) const DMA_QUEUE: u32 = 1;

/// A step of a restart, as the driver saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Alloc,
    Stop,
    Start,
    Restart,
}

/// What the device does at a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It refuses.
    Refuse,
    /// It does not answer.
    Lose,
}

/// What a queue runs on.
pub(super) struct Ring {
    id: u32,
    state: Arc<State>,
    _pool: PagePool,
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.state.alive.add(-1, Relaxed);
    }
}

/// What the driver keeps of a device.
#[pin_data]
pub(super) struct State {
    /// Rings that were not freed.
    alive: Atomic<i32>,
    /// The device that does DMA for [`DMA_QUEUE`].
    dma: faux::Registration,
    #[pin]
    inner: Mutex<Inner>,
}

struct Inner {
    /// The rings that queues run on.
    running: [Option<KBox<Ring>>; QUEUES],
    next_id: u32,
    steps: KVec<Step>,
    faults: KVec<(Step, Fault)>,
}

impl State {
    fn fault(&self, step: Step) -> Option<Fault> {
        let mut inner = self.inner.lock();
        // A test that misses a step fails by that.
        let _ = inner.steps.push(step, GFP_KERNEL);
        let fault = inner.faults.iter().find(|fault| fault.0 == step);
        fault.map(|fault| fault.1)
    }

    fn take(&self, index: u32) -> Option<KBox<Ring>> {
        self.inner.lock().running.get_mut(index as usize)?.take()
    }

    /// The device that does DMA for [`DMA_QUEUE`].
    pub(super) fn dma_device(&self) -> &Device {
        let bound: &faux::Device<Bound> = self.dma.as_ref();
        let device: &Device<Bound> = bound.as_ref();
        device
    }

    fn put(&self, index: u32, ring: KBox<Ring>) {
        if let Some(place) = self.inner.lock().running.get_mut(index as usize) {
            *place = Some(ring);
        }
    }
}

type Fake<'a> = LockedDevice<'a, Arc<State>>;

/// What a user is told who wants pieces of another size.
pub(super) const WHOLE_PAGES: &CStr = c"only whole pages";

struct Queues;

static OPS: QueueOps<Queues> = QueueOps::new();

fn ring(dev: &Fake<'_>, index: u32) -> Result<KBox<Ring>> {
    let params = PagePoolParams {
        size: 16,
        order: 0,
        node: None,
        device: (index == DMA_QUEUE).then(|| dev.data().dma_device()),
        direction: DataDirection::FromDevice,
    };
    let state = dev.data().clone();
    let pool = PagePool::maybe_unreadable(dev, index, params)?;
    let mut inner = dev.data().inner.lock();
    let id = inner.next_id;
    inner.next_id += 1;
    drop(inner);
    state.alive.add(1, Relaxed);
    KBox::new(
        Ring {
            id,
            state,
            _pool: pool,
        },
        GFP_KERNEL,
    )
    .map_err(Error::from)
}

fn launch<H: History>(
    dev: &Fake<'_>,
    memory: Idle<KBox<Ring>, H>,
    step: Step,
) -> Result<Running<KBox<Ring>>, NotStarted<KBox<Ring>, H>> {
    let (state, index) = (dev.data(), memory.index());
    let fault = state.fault(step);
    let taken = state
        .inner
        .lock()
        .running
        .get(index as usize)
        .is_none_or(Option::is_some);
    if taken {
        return Err(NotStarted::Refused(EBUSY, memory));
    }
    let running = memory.run(|ring| state.put(index, ring));
    match fault {
        None => Ok(running),
        Some(Fault::Lose) => Err(NotStarted::Lost(ETIME, running)),
        Some(Fault::Refuse) => match state.take(index) {
            Some(ring) => Err(NotStarted::Refused(EIO, Idle::refused(running, ring))),
            None => Err(NotStarted::Lost(EINVAL, running)),
        },
    }
}

#[vtable]
impl QueueManagement for Queues {
    type Data = Arc<State>;
    type Memory = KBox<Ring>;

    fn alloc(dev: &Fake<'_>, config: &QueueConfig, index: u32) -> Result<KBox<Ring>> {
        if dev.data().fault(Step::Alloc).is_some() {
            return Err(ENOMEM);
        }
        if config.rx_page_size as usize != PAGE_SIZE {
            return Err(EINVAL);
        }
        ring(dev, index)
    }

    fn stop(
        dev: &Fake<'_>,
        running: Running<KBox<Ring>>,
    ) -> Result<Stopped<KBox<Ring>>, NotStopped<KBox<Ring>>> {
        if dev.data().fault(Step::Stop).is_some() {
            return Err(NotStopped(EIO, running));
        }
        match dev.data().take(running.index()) {
            Some(ring) => Ok(running.stopped(ring)),
            None => Err(NotStopped(ENODATA, running)),
        }
    }

    fn start(
        dev: &Fake<'_>,
        _config: &QueueConfig,
        memory: Allocated<KBox<Ring>>,
    ) -> Result<Running<KBox<Ring>>, NotStarted<KBox<Ring>, Fresh>> {
        launch(dev, memory, Step::Start)
    }

    fn restart(
        dev: &Fake<'_>,
        _config: &QueueConfig,
        memory: Stopped<KBox<Ring>>,
    ) -> Result<Running<KBox<Ring>>, NotStarted<KBox<Ring>, Used>> {
        launch(dev, memory, Step::Restart)
    }

    fn dma_device<'a>(dev: &'a Fake<'_>, index: u32) -> Option<&'a Device> {
        (index == DMA_QUEUE).then(|| dev.data().dma_device())
    }

    fn default_config(_dev: &Fake<'_>) -> QueueConfig {
        QueueConfig {
            rx_page_size: PAGE_SIZE as u32,
        }
    }

    fn validate_config(_dev: &Fake<'_>, config: &QueueConfig, extack: ExtAck<'_>) -> Result {
        if config.rx_page_size as usize != PAGE_SIZE {
            extack.message(WHOLE_PAGES);
            return Err(EINVAL);
        }
        Ok(())
    }
}

/// # Safety
///
/// `alloc_netdev_mqs()` calls it with the device that it makes.
unsafe extern "C" fn setup(dev: *mut bindings::net_device) {
    // SAFETY: By the caller's promise. Without a carrier the stack sends nothing, and so asks for
    // no `ndo_start_xmit`.
    unsafe {
        bindings::ether_setup(dev);
        bindings::netdev_set_no_netdev_ops(dev);
        bindings::netif_carrier_off(dev);
    }
}

/// A name that no other device has: a test that fails leaves its device behind.
fn dma_name() -> Result<CString> {
    static MADE: Atomic<u32> = Atomic::new(0);

    CString::try_from_fmt(fmt!("fakeq-dma{}", MADE.fetch_add(1, Relaxed)))
}

/// A registered device. Dropping it unregisters it, and frees the rings of its queues.
///
/// # Invariants
///
/// `dev` is registered, and an `Arc<State>` lies behind it.
pub(super) struct FakeDevice {
    dev: NonNull<bindings::net_device>,
    pub(super) state: Arc<State>,
}

impl FakeDevice {
    /// Registers a device, which is down and has no rings.
    pub(super) fn new() -> Result<Self> {
        let state = Arc::pin_init(
            try_pin_init!(State {
                alive: Atomic::new(0),
                dma: faux::Registration::new(&dma_name()?, None)?,
                inner <- new_mutex!(Inner {
                    running: [const { None }; QUEUES],
                    next_id: 0,
                    steps: KVec::new(),
                    faults: KVec::new(),
                }),
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The name is a format with one number in it; `setup` is as it should be.
        let dev = NonNull::new(unsafe {
            bindings::alloc_netdev_mqs(
                size_of::<Arc<State>>() as c_int,
                c"fakeq%d".as_char_ptr(),
                bindings::NET_NAME_ENUM as u8,
                Some(setup),
                1,
                QUEUES as u32,
            )
        })
        .ok_or(ENOMEM)?;
        // SAFETY: There is room for an `Arc`, which is written before anybody else can know the
        // device, and stays until it is unregistered.
        let registered = unsafe {
            bindings::netdev_priv(dev.as_ptr())
                .cast::<Arc<State>>()
                .write(state.clone());
            OPS.attach(dev.as_ptr());
            to_result(bindings::register_netdev(dev.as_ptr()))
        };
        if let Err(error) = registered {
            // SAFETY: Nobody knows the device.
            unsafe { Self::free(dev) };
            return Err(error);
        }
        // INVARIANT: It was just registered.
        Ok(Self { dev, state })
    }

    /// # Safety
    ///
    /// The device is one of [`Self::new`], not registered, and not used after this.
    unsafe fn free(dev: NonNull<bindings::net_device>) {
        // SAFETY: By the caller's promise; the `Arc` was written by `new`.
        unsafe {
            core::ptr::drop_in_place(bindings::netdev_priv(dev.as_ptr()).cast::<Arc<State>>());
            bindings::free_netdev(dev.as_ptr());
        }
    }

    /// Locks the device.
    pub(super) fn lock(&self) -> NetDeviceGuard<'_> {
        // SAFETY: By the type invariant; `NetDevice` is transparent.
        unsafe { self.dev.cast::<NetDevice>().as_ref() }.lock()
    }

    /// Brings the device up, with a ring for each queue.
    pub(super) fn up(&self) -> Result {
        {
            let guard = self.lock();
            // SAFETY: The device is locked as long as `guard` lives, and its data is an
            // `Arc<State>`.
            let dev = unsafe { Fake::from_raw(guard.as_raw()) };
            for index in 0..QUEUES as u32 {
                self.state.put(index, ring(&dev, index)?);
            }
        }
        // SAFETY: The device is registered, and rtnl is held.
        to_result(unsafe {
            bindings::rtnl_lock();
            let result = bindings::dev_open(self.dev.as_ptr(), core::ptr::null_mut());
            bindings::rtnl_unlock();
            result
        })
    }

    /// Turns header split on, as ethtool does: providers want it.
    pub(super) fn split_headers(&self) {
        let dev = self.lock();
        // SAFETY: The device is locked.
        unsafe { bindings::netdev_set_header_split(dev.as_raw()) };
    }

    /// Has the net core restart RX queue `index` on new memory.
    pub(super) fn restart(&self, index: u32) -> Result {
        let dev = self.lock();
        // SAFETY: The device is locked and has the queue.
        to_result(unsafe { bindings::netdev_rx_queue_restart(dev.as_raw(), index) })
    }

    /// Has the driver judge a configuration; also returns what it tells the user.
    pub(super) fn validate(&self, rx_page_size: u32) -> (Result, Option<&'static CStr>) {
        let dev = self.lock();
        let mut ack = bindings::netlink_ext_ack::default();
        // SAFETY: The device is locked, and `ack` valid.
        let result = to_result(unsafe {
            bindings::netdev_queue_validate(dev.as_raw(), rx_page_size, &mut ack)
        });
        let message = (!ack._msg.is_null()).then(|| {
            // SAFETY: The driver sets constants only.
            unsafe { CStr::from_char_ptr(ack._msg) }
        });
        (result, message)
    }

    /// Whether the driver names its device that does DMA for RX queue `index`, or none.
    pub(super) fn dma_device(&self, index: u32) -> Option<bool> {
        let dev = self.lock();
        // SAFETY: The device is locked.
        let device = unsafe { bindings::netdev_queue_dma_dev(dev.as_raw(), index as c_int) };
        (!device.is_null()).then(|| device == self.state.dma_device().as_raw())
    }

    /// From now on these steps go wrong.
    pub(super) fn break_at(&self, faults: &[(Step, Fault)]) -> Result {
        let mut inner = self.state.inner.lock();
        inner.faults.clear();
        inner.faults.extend_from_slice(faults, GFP_KERNEL)?;
        inner.steps.clear();
        Ok(())
    }

    /// Whether the driver saw just these steps since [`Self::break_at`].
    pub(super) fn saw(&self, steps: &[Step]) -> bool {
        self.state.inner.lock().steps[..] == *steps
    }

    /// Which ring queue `index` runs on.
    pub(super) fn ring(&self, index: usize) -> Option<u32> {
        let inner = self.state.inner.lock();
        Some(inner.running.get(index)?.as_ref()?.id)
    }

    /// How many rings there are.
    pub(super) fn alive(&self) -> i32 {
        self.state.alive.load(Relaxed)
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::unregister_netdev(self.dev.as_ptr()) };
        for index in 0..QUEUES as u32 {
            drop(self.state.take(index));
        }
        // SAFETY: It was just unregistered.
        unsafe { Self::free(self.dev) };
    }
}

/// A slot of the net core's that nobody has written to.
pub(super) fn free_empty_slot(dev: &FakeDevice) {
    let guard = dev.lock();
    let mut slot = [0u64; 8];
    // SAFETY: The device is locked, and its slots are smaller than that and may be zeroed.
    unsafe {
        bindings::netdev_queue_mem_free(guard.as_raw(), slot.as_mut_ptr().cast::<c_void>());
    }
}
