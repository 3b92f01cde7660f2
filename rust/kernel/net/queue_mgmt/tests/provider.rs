// SPDX-License-Identifier: GPL-2.0

//! Memory providers on the RX queues of a [fake device](super::fake).

use super::fake::{FakeDevice, DMA_QUEUE};
use crate::{
    bindings,
    dma::DataDirection,
    net::{
        genetlink::ExtAck,
        netdevice::Net,
        netmem::{DmabufArea, Niov},
        page_pool::{MemoryProvider, PagePool, PagePoolParams, PoolSetup, ProviderOps, Refill},
        rx_queue::{InstalledProvider, Uninstalled},
    },
    page::PAGE_SHIFT,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        new_mutex, Arc, ArcBorrow, Mutex,
    },
};
use core::ptr;

/// What became of a provider.
struct Seen {
    /// Pools that asked whether they can use it.
    inits: Atomic<u32>,
    /// Pools that their driver let go of.
    let_go: Atomic<u32>,
    /// Niovs that came back.
    released: Atomic<u32>,
    /// It was dropped.
    dropped: Atomic<u32>,
    /// What [`Refill::push`] said.
    pushed: Atomic<u32>,
}

impl Seen {
    fn new() -> Result<Arc<Self>> {
        let seen = Self {
            inits: Atomic::new(0),
            let_go: Atomic::new(0),
            released: Atomic::new(0),
            dropped: Atomic::new(0),
            pushed: Atomic::new(0),
        };
        Ok(Arc::new(seen, GFP_KERNEL)?)
    }
}

/// A provider of two pages and of two pieces that are larger.
#[pin_data(PinnedDrop)]
struct Provider {
    pages: Pin<KBox<DmabufArea>>,
    larger: Pin<KBox<DmabufArea>>,
    seen: Arc<Seen>,
    #[pin]
    installed: Mutex<Option<InstalledProvider<Provider>>>,
}

static OPS: ProviderOps<Provider> = ProviderOps::new();

/// Two pieces of `1 << shift` bytes.
fn area(shift: u32) -> Result<Pin<KBox<DmabufArea>>> {
    DmabufArea::new(7, shift, 2, [(0, 2u64 << shift)].into_iter())
}

impl Provider {
    fn new(seen: &Arc<Seen>) -> Result<Arc<Self>> {
        let shift = PAGE_SHIFT as u32;
        let (pages, larger) = (area(shift)?, area(shift + 1)?);
        Arc::pin_init(
            pin_init!(Self {
                pages,
                larger,
                seen: seen.clone(),
                installed <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    fn open(self: &Arc<Self>, dev: &FakeDevice) -> Result<InstalledProvider<Self>> {
        // SAFETY: Null: nobody wants to know.
        let extack = unsafe { ExtAck::from_raw(ptr::null_mut()) };
        InstalledProvider::open(&dev.lock(), DMA_QUEUE, &OPS, self.clone(), 0, extack)
    }
}

#[pinned_drop]
impl PinnedDrop for Provider {
    fn drop(self: Pin<&mut Self>) {
        self.seen.dropped.add(1, Relaxed);
    }
}

impl MemoryProvider for Provider {
    fn init(&self, pool: &PoolSetup<'_>) -> Result {
        self.seen.inits.add(1, Relaxed);
        if pool.order() != 0 {
            return Err(E2BIG);
        }
        Ok(())
    }

    fn let_go(this: ArcBorrow<'_, Self>) {
        this.seen.let_go.add(1, Relaxed);
    }

    fn alloc<'a>(&'a self, pool: &mut Refill<'_, 'a>) {
        let [one, two] = self.pages.niovs() else {
            return;
        };
        // What is right, again, of another size, and right.
        for niov in [one, one, &self.larger.niovs()[0], two, two] {
            let bits = self.seen.pushed.load(Relaxed);
            let bit = u32::from(pool.push(niov));
            self.seen.pushed.store(bits << 1 | bit, Relaxed);
        }
    }

    fn release(&self, _niov: &Niov) {
        self.seen.released.add(1, Relaxed);
    }

    fn dmabuf_id(&self) -> u32 {
        self.pages.dmabuf_id()
    }

    fn uninstall(this: ArcBorrow<'_, Self>, queue: &Uninstalled<'_>) {
        let installed = this.installed.lock().take();
        if let Some(Err(other)) = installed.map(|installed| installed.forget(queue)) {
            *this.installed.lock() = Some(other);
        }
    }
}

fn up() -> Result<FakeDevice> {
    let dev = FakeDevice::new()?;
    dev.split_headers();
    dev.up()?;
    Ok(dev)
}

/// A pool of another queue that draws from `dev`'s.
fn pool(dev: &FakeDevice, order: u32) -> Result<PagePool> {
    let params = PagePoolParams {
        size: 16,
        order,
        node: None,
        device: Some(dev.state.dma_device()),
        direction: DataDirection::FromDevice,
    };
    PagePool::maybe_unreadable(&dev.lock(), DMA_QUEUE, params)
}

#[macros::kunit_tests(net_rx_queue)]
mod cases {
    use super::*;

    #[test]
    fn header_split_is_only_told_where_the_lock_protects_it() -> Result {
        let dev = FakeDevice::new()?;
        assert_eq!(
            dev.lock().header_split().map(|split| split.enabled),
            Some(false)
        );
        dev.split_headers();
        assert_eq!(
            dev.lock().header_split().map(|split| split.enabled),
            Some(true)
        );

        // SAFETY: It is there for ever.
        let net = unsafe { Net::from_raw(&raw mut bindings::init_net) };
        let loopback = net.lock_device(bindings::LOOPBACK_IFINDEX).ok_or(ENODEV)?;
        assert_eq!(loopback.header_split(), None);
        assert_eq!(loopback.name().as_cstr(), c"lo");
        Ok(())
    }

    #[test]
    fn close_takes_it_off() -> Result {
        let (dev, seen) = (up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        drop(provider);
        assert_eq!(
            (seen.inits.load(Relaxed), seen.dropped.load(Relaxed)),
            (1, 0)
        );
        assert_eq!(seen.let_go.load(Relaxed), 0);
        assert!(installed.close(&dev.lock()).is_ok());
        assert_eq!(
            (seen.let_go.load(Relaxed), seen.dropped.load(Relaxed)),
            (1, 1)
        );
        dev.restart(DMA_QUEUE)?;
        assert_eq!(seen.inits.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn what_is_dropped_stays_on_the_queue() -> Result {
        let (dev, seen) = (up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        drop(provider);
        drop(installed);
        // The queue asks it again, so it has to be there.
        dev.restart(DMA_QUEUE)?;
        assert_eq!(
            (seen.inits.load(Relaxed), seen.dropped.load(Relaxed)),
            (2, 0)
        );
        // And is told that the queue goes.
        drop(dev);
        assert_eq!(seen.dropped.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn closed_on_another_device_it_comes_back() -> Result {
        let (dev, other, seen) = (up()?, up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        let Err(installed) = installed.close(&other.lock()) else {
            return Err(EINVAL);
        };
        dev.restart(DMA_QUEUE)?;
        assert_eq!(seen.inits.load(Relaxed), 2);
        assert!(installed.close(&dev.lock()).is_ok());
        drop(provider);
        assert_eq!(seen.dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_queue_that_goes_lets_go_of_it() -> Result {
        let (dev, seen) = (up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        *provider.installed.lock() = Some(installed);
        drop(dev);
        assert!(provider.installed.lock().is_none());
        drop(provider);
        assert_eq!(seen.dropped.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn a_queue_that_another_provider_loses_is_another() -> Result {
        let (dev, other, seen) = (up()?, up()?, Seen::new()?);
        let (one, two) = (Provider::new(&seen)?, Provider::new(&seen)?);
        let (here, there) = (one.open(&dev)?, two.open(&other)?);
        // `two` keeps what it is not told of.
        *two.installed.lock() = Some(there);
        *one.installed.lock() = Some(here);
        drop(dev);
        assert!(one.installed.lock().is_none() && two.installed.lock().is_some());
        drop(other);
        assert!(two.installed.lock().is_none());
        Ok(())
    }

    #[test]
    fn a_pool_takes_each_niov_once_and_none_of_another_size() -> Result {
        let (dev, seen) = (up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        let pool = pool(&dev, 0)?;
        // SAFETY: The pool is valid, and nobody else uses it.
        let netmem =
            unsafe { bindings::page_pool_alloc_netmems(pool.as_raw(), GFP_KERNEL.as_raw()) };
        assert_ne!(netmem, 0);
        assert_eq!(seen.pushed.load(Relaxed), 0b10010);
        let usage = OPS.usage(7);
        // One is out, one waits, and the queue has a pool of its own.
        assert_eq!((usage.pools, usage.in_use, usage.idle), (2, 2, 1));
        // SAFETY: The niov is ours, from a page pool.
        unsafe { bindings::napi_pp_put_page(netmem) };
        assert_eq!(OPS.usage(7).idle, 2);
        assert_eq!(OPS.usage(8).pools, 0);
        drop(pool);
        assert_eq!(seen.released.load(Relaxed), 2);
        assert!(installed.close(&dev.lock()).is_ok());
        assert_eq!(OPS.usage(7).pools, 0);
        Ok(())
    }

    #[test]
    fn a_pool_of_other_pieces_is_refused() -> Result {
        let (dev, seen) = (up()?, Seen::new()?);
        let provider = Provider::new(&seen)?;
        let installed = provider.open(&dev)?;
        assert_eq!(pool(&dev, 1).err(), Some(E2BIG));
        assert!(installed.close(&dev.lock()).is_ok());
        Ok(())
    }
}
