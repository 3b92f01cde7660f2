// SPDX-License-Identifier: GPL-2.0

//! Memory that an exporter can share: runs of adjacent pages.

use crate::{
    alloc::Flags,
    bindings,
    page::{BorrowedPage, PAGE_SIZE},
    prelude::*,
};
use core::{ops::Range, ptr::NonNull};

/// Words of 64 bits in a page.
const PAGE_WORDS: usize = PAGE_SIZE / size_of::<u64>();

/// Pages that are adjacent in physical memory, and owned.
///
/// Devices and user space may access them at any time, so they are never lent as a slice of bytes:
/// what is here reads and writes one word at a time, and what it reads may change right after.
///
/// # Invariants
///
/// `first` is followed by the other pages of the run, `count` in all, none of which is part of a
/// compound page. This object owns one reference on each.
pub struct PageRun {
    first: NonNull<bindings::page>,
    count: usize,
}

// SAFETY: Pages may be accessed and freed by any thread.
unsafe impl Send for PageRun {}

// SAFETY: What `&PageRun` offers is meant to race with accesses of others, see the type.
unsafe impl Sync for PageRun {}

impl PageRun {
    /// Most pages that a run can have.
    pub const MAX: usize = 1 << bindings::MAX_PAGE_ORDER;

    /// Allocates `count` adjacent pages.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no pages or more than [`PageRun::MAX`], `ENOMEM`.
    pub fn new(count: usize, flags: Flags) -> Result<Self> {
        if count == 0 || count > Self::MAX {
            return Err(EINVAL);
        }
        let size = count.next_power_of_two();
        let order = size.trailing_zeros();

        // SAFETY: Has no requirements but a context that suits the flags.
        let first = unsafe { bindings::alloc_pages(flags.as_raw(), order) };
        let first = NonNull::new(first).ok_or(ENOMEM)?;
        // SAFETY: The pages were just allocated, with this order, and nobody else has them. Without
        // `__GFP_COMP`, which no safe flag has, they are not a compound page.
        unsafe { bindings::split_page(first.as_ptr(), order) };

        // INVARIANT: `split_page` made them `size` pages with a reference each, which are ours.
        let whole = Self { first, count: size };
        Ok(whole.truncate(count))
    }

    /// Frees the pages after the first `count`.
    fn truncate(mut self, count: usize) -> Self {
        while self.count > count {
            // INVARIANT: The last page is no more part of the run when it is freed.
            self.count -= 1;
            // SAFETY: The page at the old end was the run's by the type invariant.
            unsafe { bindings::__free_pages(self.first.as_ptr().add(self.count), 0) };
        }
        self
    }

    /// Number of pages.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The page at `index`, if the run has that many.
    pub fn page(&self, index: usize) -> Option<BorrowedPage<'_>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: The page at `index` is in the run, and owned by it, by the type invariant.
        Some(unsafe { BorrowedPage::from_raw(self.first.add(index)) })
    }

    /// All pages, in order.
    pub fn iter(&self) -> impl Iterator<Item = BorrowedPage<'_>> {
        (0..self.count).filter_map(|index| self.page(index))
    }

    /// Writes `word` all over the pages at `range`, or those of them that exist.
    pub fn fill(&self, range: Range<usize>, word: u64) {
        self.for_each_word(range, |at| {
            // SAFETY: `at` is valid for writes. Volatile, since a device may write there too.
            unsafe { at.write_volatile(word) };
        });
    }

    /// Counts the words in the pages at `range` that are not `word`.
    pub fn count_other(&self, range: Range<usize>, word: u64) -> usize {
        let mut others = 0;

        self.for_each_word(range, |at| {
            // SAFETY: `at` is valid for reads; any bits make a `u64`. Volatile, since a device may
            // write there at the same time.
            others += usize::from(unsafe { at.read_volatile() } != word);
        });
        others
    }

    /// Calls `f` with a pointer to each word of the pages at `range`, valid for the call.
    fn for_each_word(&self, range: Range<usize>, mut f: impl FnMut(*mut u64)) {
        for index in range.start..range.end.min(self.count) {
            // SAFETY: `index` is in the run.
            let page = unsafe { self.first.as_ptr().add(index) };
            // SAFETY: The page is valid by the type invariant.
            let start = unsafe { bindings::kmap_local_page(page) };

            for word in 0..PAGE_WORDS {
                // SAFETY: A mapped page has that many words.
                f(unsafe { start.cast::<u64>().add(word) });
            }
            // SAFETY: `start` is what `kmap_local_page` returned. `f` is private to this type and
            // maps nothing, so this is the latest mapping of this task.
            unsafe { bindings::kunmap_local(start) };
        }
    }

    /// The first page, for a scatterlist.
    pub(super) fn as_ptr(&self) -> *mut bindings::page {
        self.first.as_ptr()
    }
}

impl Drop for PageRun {
    fn drop(&mut self) {
        for index in 0..self.count {
            // SAFETY: By the type invariant the page and a reference on it are ours.
            unsafe { bindings::__free_pages(self.first.as_ptr().add(index), 0) };
        }
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_dma_buf_pages)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_pages_that_were_asked_for() -> Result {
        for count in [1, 2, 3, 5, 64, 100] {
            let run = PageRun::new(count, GFP_KERNEL)?;
            assert_eq!(run.count(), count);
            assert_eq!(run.iter().count(), count);
            assert!(run.page(count - 1).is_some());
            assert!(run.page(count).is_none());
        }
        Ok(())
    }

    #[test]
    fn its_pages_are_adjacent() -> Result {
        let run = PageRun::new(3, GFP_KERNEL)?;
        let first = run.page(0).ok_or(EINVAL)?.as_ptr();
        for (index, page) in run.iter().enumerate() {
            assert_eq!(page.as_ptr(), first.wrapping_add(index));
        }
        Ok(())
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        for count in [0, PageRun::MAX + 1, usize::MAX] {
            assert!(PageRun::new(count, GFP_KERNEL).is_err());
        }
    }

    #[test]
    fn words_are_counted_where_they_are() -> Result {
        let run = PageRun::new(3, GFP_KERNEL)?;
        run.fill(0..3, 1);
        run.fill(1..2, 2);
        assert_eq!(run.count_other(0..1, 1), 0);
        assert_eq!(run.count_other(0..3, 1), PAGE_WORDS);
        assert_eq!(run.count_other(1..2, 2), 0);
        // what is outside of the run is left alone
        run.fill(2..9, 3);
        assert_eq!(run.count_other(0..9, 3), 2 * PAGE_WORDS);
        assert_eq!(run.count_other(3..9, 3), 0);
        Ok(())
    }
}
