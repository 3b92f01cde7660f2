// SPDX-License-Identifier: GPL-2.0

//! Which niovs of a binding are free.
//!
//! Does the job of `lib/genalloc` for one size of allocation: the free niovs are a stack of
//! indices, so allocation and release cost the same however many runs the dma-buf is cut into and
//! however full it is. In steady state niovs wait in the page pools' own rings and don't come by.

use kernel::{
    alloc::flags::__GFP_NOWARN,
    deferred::cond_resched,
    dma::DmaAddress,
    net::netmem::{DmabufArea, Niov},
    prelude::*,
    sync::{new_spinlock_irq, SpinLockIrq},
};

/// A stack of the free indices `0..total`.
///
/// Pushing needs no memory: the stack has space for all of them. Those that were never popped are
/// not written down: they come after the others, the lowest first.
pub(crate) struct FreeStack {
    returned: VVec<u32>,
    /// From here on none was ever popped.
    fresh: u32,
    total: u32,
}

impl FreeStack {
    /// Makes a stack that holds all of `0..total`, the lowest on top.
    pub(crate) fn new(total: u32) -> Result<Self> {
        // Not by kmalloc, which warns of what a dma-buf of 2 TiB takes.
        let returned = VVec::with_capacity(usize::try_from(total)?, GFP_KERNEL | __GFP_NOWARN)?;
        Ok(Self {
            returned,
            fresh: 0,
            total,
        })
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        if let Some(index) = self.returned.pop() {
            return Some(index);
        }
        let index = self.fresh;
        if index == self.total {
            return None;
        }
        self.fresh = index + 1;
        Some(index)
    }

    /// Puts an index back that was popped. False if there are no more out than are free.
    #[inline]
    pub(crate) fn push(&mut self, index: u32) -> bool {
        index < self.fresh
            && self.returned.len() < self.fresh as usize
            && self.returned.push_within_capacity(index).is_ok()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.returned.len() + (self.total - self.fresh) as usize
    }
}

/// The niovs of a binding.
#[pin_data(PinnedDrop)]
pub(crate) struct NiovPool {
    area: Pin<KBox<DmabufArea>>,
    #[pin]
    free: SpinLockIrq<FreeStack>,
}

/// Why no pool could be made.
#[derive(Debug)]
pub(crate) enum PoolError {
    /// A run of the mapping that can't be cut into niovs: it starts or ends between two, is empty,
    /// or goes beyond the end of all addresses.
    Run {
        /// Where it starts, for the device.
        addr: DmaAddress,
        /// Its size in bytes.
        len: u64,
    },
    /// The runs are not as long in all as the dma-buf: what comes after a gap would be told of at a
    /// wrong offset.
    Size {
        /// Bytes in all runs, as far as that can be counted.
        mapped: u64,
    },
    /// Anything else.
    Other(Error),
}

impl From<Error> for PoolError {
    fn from(error: Error) -> Self {
        PoolError::Other(error)
    }
}

/// Runs to look at before others may use the CPU.
const RUNS_A_TURN: usize = 4096;

/// The niovs of a mapping, all of them free: what a [`NiovPool`] is made from.
pub(crate) struct Niovs {
    area: Pin<KBox<DmabufArea>>,
    free: FreeStack,
}

impl Niovs {
    /// Cuts the mapping of a dma-buf of `size` bytes, with `runs` of (address, bytes), into niovs.
    ///
    /// What an exporter maps is input. That two runs may be of the same memory is its affair, as it
    /// is that of who binds a dma-buf twice. `dmabuf_id` is asked for the id of the binding once
    /// the runs are known to do. Process context.
    pub(crate) fn cut<I>(
        dmabuf_id: impl FnOnce() -> Result<u32>,
        niov_shift: u32,
        size: u64,
        runs: impl Fn() -> I,
    ) -> Result<Self, PoolError>
    where
        I: Iterator<Item = (DmaAddress, u64)>,
    {
        let mask = 1u64.checked_shl(niov_shift).ok_or(EINVAL)? - 1;
        let mut mapped = 0u64;
        for (number, (addr, len)) in runs().enumerate() {
            if number % RUNS_A_TURN == 0 {
                cond_resched();
            }
            if (addr | len) & mask != 0 || len == 0 || addr.checked_add(len).is_none() {
                return Err(PoolError::Run { addr, len });
            }
            mapped = mapped.saturating_add(len);
        }
        if mapped != size {
            return Err(PoolError::Size { mapped });
        }

        let count = u32::try_from(mapped >> niov_shift).map_err(|_| EOVERFLOW)?;
        let area = DmabufArea::new(dmabuf_id()?, niov_shift, count, runs())?;
        let free = FreeStack::new(count)?;
        Ok(Self { area, free })
    }

    /// The id of the binding that they are for.
    pub(crate) fn dmabuf_id(&self) -> u32 {
        self.area.dmabuf_id()
    }
}

impl NiovPool {
    /// Makes the pool in the place where it will stay.
    pub(crate) fn new(niovs: Niovs) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            area: niovs.area,
            free <- new_spinlock_irq!(niovs.free),
        }? Error)
    }

    /// Allocates up to `want` niovs under one lock and hands each to `give`, until that says no.
    #[inline]
    pub(crate) fn alloc<'a>(&'a self, want: usize, mut give: impl FnMut(&'a Niov) -> bool) {
        let mut free = self.free.lock();

        for _ in 0..self.fair_share(want, free.len()) {
            let Some(index) = free.pop() else {
                return;
            };
            let Some(niov) = self.area.niovs().get(index as usize) else {
                return;
            };
            if !give(niov) {
                free.push(index);
                return;
            }
        }
    }

    /// Page pools that refill take less each when little is left, so that one can't hold in its
    /// cache what another one starves for.
    #[inline]
    fn fair_share(&self, want: usize, left: usize) -> usize {
        want.min(left / 4 + 1)
    }

    /// Takes back a niov that [`alloc`](Self::alloc) handed out. False if it is not from here.
    #[inline]
    pub(crate) fn release(&self, niov: &Niov) -> bool {
        match self.area.index_of(niov) {
            Some(index) => self.free.lock().push(index),
            None => false,
        }
    }

    pub(crate) fn area(&self) -> &DmabufArea {
        &self.area
    }

    /// Number of free niovs.
    pub(crate) fn available(&self) -> usize {
        self.free.lock().len()
    }
}

#[pinned_drop]
impl PinnedDrop for NiovPool {
    fn drop(self: Pin<&mut Self>) {
        let (total, free) = (self.area.niovs().len(), self.available());

        if free != total {
            pr_err!(
                "binding {}: {} of {} niovs are not back\n",
                self.area.dmabuf_id(),
                total - free,
                total
            );
            kernel::warn_on!(true);
        }
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_genpool)]
mod tests {
    use super::*;

    const SHIFT: u32 = 12;
    const PAGE: u64 = 1 << SHIFT;

    fn pool(runs: &[(DmaAddress, u64)]) -> Result<Pin<KBox<NiovPool>>, PoolError> {
        let size = runs.iter().map(|(_, len)| len).sum();
        pool_of(size, runs)
    }

    fn pool_of(size: u64, runs: &[(DmaAddress, u64)]) -> Result<Pin<KBox<NiovPool>>, PoolError> {
        let niovs = Niovs::cut(|| Ok(7), SHIFT, size, || runs.iter().copied())?;
        Ok(KBox::try_pin_init(NiovPool::new(niovs), GFP_KERNEL)?)
    }

    fn take_all(pool: &NiovPool) -> Result<KVVec<u32>> {
        let mut taken = KVVec::new();
        loop {
            let before = taken.len();
            pool.alloc(64, |niov| match pool.area().index_of(niov) {
                Some(index) => taken.push(index, GFP_ATOMIC).is_ok(),
                None => false,
            });
            if taken.len() == before {
                return Ok(taken);
            }
        }
    }

    fn put_back(pool: &NiovPool, indices: &[u32]) -> bool {
        indices
            .iter()
            .all(|&index| pool.release(&pool.area().niovs()[index as usize]))
    }

    #[test]
    fn stack_gives_each_index_once() -> Result {
        let mut stack = FreeStack::new(100)?;
        for want in 0..100 {
            assert_eq!(stack.pop(), Some(want));
        }
        assert_eq!(stack.pop(), None);
        Ok(())
    }

    #[test]
    fn stack_refuses_what_is_not_its_own() -> Result {
        let mut stack = FreeStack::new(2)?;
        assert!(!stack.push(0));
        assert_eq!(stack.pop(), Some(0));
        assert!(!stack.push(1));
        assert!(!stack.push(2));
        assert!(stack.push(0));
        assert!(!stack.push(0));
        assert_eq!(stack.len(), 2);
        assert_eq!(stack.pop(), Some(0));
        assert_eq!(stack.pop(), Some(1));
        assert_eq!(stack.pop(), None);
        Ok(())
    }

    #[test]
    fn every_niov_is_handed_out_once() {
        let runs = [(0x10000, 3 * PAGE), (0x80000, PAGE), (0x40000, 5 * PAGE)];
        let pool = pool(&runs).unwrap();
        let mut taken = take_all(&pool).unwrap();
        assert_eq!(taken.len(), 9);
        assert_eq!(pool.available(), 0);
        taken.as_mut_slice().sort_unstable();
        assert!(taken
            .iter()
            .enumerate()
            .all(|(i, &index)| index as usize == i));
        assert!(put_back(&pool, &taken));
        assert_eq!(pool.available(), 9);
    }

    #[test]
    fn offsets_follow_the_buffer_not_the_addresses() {
        let runs = [(0x90000, PAGE), (0x10000, 2 * PAGE), (0x50000, PAGE)];
        let pool = pool(&runs).unwrap();
        for (i, niov) in pool.area().niovs().iter().enumerate() {
            assert_eq!(niov.offset(), i as u64 * PAGE);
            assert_eq!(niov.area().dmabuf_id(), 7);
            assert_eq!(pool.area().index_of(niov), Some(i as u32));
        }
    }

    #[test]
    fn works_with_interrupts_disabled() {
        let pool = pool(&[(0, 9 * PAGE)]).unwrap();
        let mut indices = [None; 3];
        let quiet = kernel::interrupt::local_interrupt_disable();
        let mut places = indices.iter_mut();
        pool.alloc(64, |niov| match places.next() {
            Some(place) => {
                *place = pool.area().index_of(niov);
                true
            }
            None => false,
        });
        assert!(indices
            .iter()
            .flatten()
            .all(|&index| put_back(&pool, &[index])));
        drop(quiet);
        assert_eq!(indices, [Some(0), Some(1), Some(2)]);
        assert_eq!(pool.available(), 9);
    }

    #[test]
    fn niovs_of_another_pool_are_refused() {
        let (one, two) = (pool(&[(0, PAGE)]).unwrap(), pool(&[(0, PAGE)]).unwrap());
        assert!(!one.release(&two.area().niovs()[0]));
        assert_eq!(one.available(), 1);
    }

    #[test]
    fn a_double_release_is_refused() {
        let pool = pool(&[(0, 2 * PAGE)]).unwrap();
        let taken = take_all(&pool).unwrap();
        assert!(put_back(&pool, &taken));
        assert!(!put_back(&pool, &taken));
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn runs_that_cannot_be_cut_are_named() {
        let wraps = u64::MAX - PAGE + 1;
        for run in [
            (0x10800, PAGE),
            (0x10000, PAGE / 2),
            (0x10000, 0),
            (wraps, PAGE),
        ] {
            match pool(&[(0, PAGE), run]) {
                Err(PoolError::Run { addr, len }) => assert_eq!((addr, len), run),
                _ => panic!("such a run was accepted"),
            }
        }
    }

    #[test]
    fn runs_have_to_be_as_long_as_the_buffer() {
        let runs = [(0x10000, 3 * PAGE), (0x80000, PAGE)];
        for size in [
            0,
            PAGE,
            3 * PAGE,
            4 * PAGE - 1,
            4 * PAGE + 1,
            5 * PAGE,
            u64::MAX,
        ] {
            match pool_of(size, &runs) {
                Err(PoolError::Size { mapped }) => assert_eq!(mapped, 4 * PAGE),
                _ => panic!("another size was accepted"),
            }
        }
        assert!(pool_of(4 * PAGE, &runs).is_ok());
        // More than a u64 counts.
        let half = (0, 1 << 63);
        let huge = pool_of(0, &[half, half, half]);
        assert!(matches!(huge, Err(PoolError::Size { mapped: u64::MAX })));
        let many = pool_of(1 << 62, &[(0, 1 << 62)]);
        assert!(matches!(many, Err(PoolError::Other(e)) if e == EOVERFLOW));
    }

    #[test]
    fn an_area_has_the_niovs_that_it_says() {
        let area = |count, runs: &[(DmaAddress, u64)]| {
            DmabufArea::new(7, SHIFT, count, runs.iter().copied()).map(|area| area.niovs().len())
        };
        let runs = [(0x10000, 2 * PAGE), (0x80000, PAGE)];
        assert_eq!(area(3, &runs), Ok(3));
        for count in [0, 2, 4] {
            assert_eq!(area(count, &runs), Err(EINVAL));
        }
        assert_eq!(area(1, &[(0x10000, PAGE / 2)]), Err(EINVAL));
        assert_eq!(area(1, &[(u64::MAX - PAGE + 1, PAGE)]), Err(EOVERFLOW));
    }

    #[test]
    fn the_last_niovs_are_shared() {
        let pool = pool(&[(0, 8 * PAGE)]).unwrap();
        let mut given = KVec::new();
        pool.alloc(64, |niov| {
            given
                .push(pool.area().index_of(niov).unwrap(), GFP_ATOMIC)
                .is_ok()
        });
        assert_eq!(given.len(), 3);
        assert!(put_back(&pool, &given));
    }
}
