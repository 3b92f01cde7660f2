// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer: runs of pages, some with a guard page behind.

use crate::abi::RunSpec;
use core::ops::Range;
use kernel::{
    alloc::flags::__GFP_NOWARN,
    deferred::cond_resched,
    dma_buf::{
        pages::PageRun,
        table::{Backing, Segment},
    },
    mm::virt::{flags, VmaNew},
    page::{BorrowedPage, PAGE_SIZE},
    prelude::*,
};

/// What released memory is full of.
const POISON: u64 = 0xd1e5_0b0d_d1e5_0b0d;
/// What guard pages are full of.
const GUARD: u64 = 0x6a4d_e11e_6a4d_e11e;

/// A run of the buffer.
struct Run {
    pages: PageRun,
    /// Pages of the buffer; those after them are guards.
    shared: usize,
    /// What importers see of it, in bytes.
    offset: u32,
    len: u32,
}

impl Run {
    fn new(spec: &RunSpec, guards: usize) -> Result<Self> {
        let shared = usize::try_from(spec.pages)?;
        let count = shared.checked_add(guards).ok_or(EINVAL)?;
        let len = spec.len()?;
        // A run that can't be had is the test's to deal with, and nothing for the kernel's log.
        let pages = PageRun::new(count, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN)?;

        pages.fill(shared..count, GUARD);
        Ok(Self {
            pages,
            shared,
            offset: spec.skip,
            len,
        })
    }

    fn segment(&self) -> Option<Segment<'_>> {
        Segment::new(&self.pages, self.offset, self.len).ok()
    }

    fn guards(&self) -> Range<usize> {
        self.shared..self.pages.count()
    }
}

/// The memory of a buffer.
pub(crate) struct Memory {
    runs: KVVec<Run>,
}

impl Memory {
    /// Allocates it, zeroed, with `guards` pages behind each run.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a run that is empty or too long, `ENOMEM`.
    pub(crate) fn new(specs: &[RunSpec], guards: usize) -> Result<Self> {
        let mut order = KVVec::with_capacity(specs.len(), GFP_KERNEL)?;
        for index in 0..specs.len() {
            order.push(index, GFP_KERNEL)?;
        }
        order.sort_unstable_by_key(|&index| (specs[index].turn, index));

        let mut places: KVVec<Option<Run>> = KVVec::with_capacity(specs.len(), GFP_KERNEL)?;
        for _ in specs {
            places.push(None, GFP_KERNEL)?;
        }
        for &index in &order {
            places[index] = Some(Run::new(&specs[index], guards)?);
            cond_resched();
        }

        let mut runs = KVVec::with_capacity(specs.len(), GFP_KERNEL)?;
        for run in places.into_iter().flatten() {
            runs.push(run, GFP_KERNEL)?;
        }
        Ok(Self { runs })
    }

    /// Size of the buffer in bytes: whole pages, seen by importers or not.
    pub(crate) fn size(&self) -> usize {
        self.runs.iter().map(|run| run.shared * PAGE_SIZE).sum()
    }

    /// Maps the buffer into user space, from its page `first` on.
    pub(crate) fn mmap(&self, vma: &VmaNew, first: usize) -> Result {
        // A private mapping would show what was there at the first access, for ever.
        if vma.flags() & flags::SHARED == 0 {
            return Err(EINVAL);
        }
        vma.set_dontexpand();
        vma.set_dontdump();
        let mixed = vma.set_mixedmap();
        let addresses = (mixed.start()..mixed.end()).step_by(PAGE_SIZE);

        for (address, page) in addresses.zip(self.pages().skip(first)) {
            mixed.vm_insert_page(address, &page)?;
        }
        Ok(())
    }

    /// Overwrites the buffer with poison.
    pub(crate) fn poison(&self) {
        for run in &self.runs {
            run.pages.fill(0..run.shared, POISON);
            cond_resched();
        }
    }

    /// Writes to the first page of the buffer and to the first guard page.
    pub(crate) fn spoil(&self) {
        if let Some(run) = self.runs.first() {
            run.pages.fill(0..1, 0);
            run.pages.fill(run.guards(), 0);
        }
    }

    /// Words of the buffer that are not poison.
    pub(crate) fn poison_overwritten(&self) -> usize {
        self.count(|run| run.pages.count_other(0..run.shared, POISON))
    }

    /// Words of guard pages that are not what was put there.
    pub(crate) fn guard_overwritten(&self) -> usize {
        self.count(|run| run.pages.count_other(run.guards(), GUARD))
    }

    fn count(&self, of_run: impl Fn(&Run) -> usize) -> usize {
        self.runs
            .iter()
            .map(|run| {
                cond_resched();
                of_run(run)
            })
            .sum()
    }

    fn pages(&self) -> impl Iterator<Item = BorrowedPage<'_>> {
        self.runs
            .iter()
            .flat_map(|run| run.pages.iter().take(run.shared))
    }
}

impl Backing for Memory {
    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        // All of them are valid: `RunSpec::len` has checked that.
        self.runs.iter().filter_map(Run::segment)
    }
}
