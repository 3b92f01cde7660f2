// SPDX-License-Identifier: GPL-2.0

//! The tokens of a socket: what user space holds of device memory.
//!
//! A token is an index (plus one) into a table of slots, each of which owns one reference. Receive
//! fills slots, `SO_DEVMEM_DONTNEED` empties them. Both touch a slot with one atomic operation and
//! take the lock once per batch of indices, not per token:
//!
//! - an index that was reserved belongs to the caller of [`TokenTable::reserve`] alone; its slot is
//!   empty, so a release of the token that it will be counts nothing;
//! - whoever takes the value out of a slot owns the index and gives it back.
//!
//! The table grows in steps that don't move what is there, up to [`MAX_TOKENS`]; a step is
//! allocated outside of the lock. Indices that were given back are used again first, the latest
//! first.

use crate::ffi::seconds;
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    deferred::cond_resched,
    prelude::*,
    sync::{
        atomic::{ordering::Relaxed, Atomic},
        lock::spinlock_bh::{new_spinlock_bh, SpinLockBh},
        slot::Slot,
        SetOnce,
    },
    types::ForeignOwnable,
};

/// Entries of the first segment. Each of the next ones is twice as large.
const FIRST: u32 = 256;
/// Segments that double. The last of them, and all after it, have `LARGEST` entries.
const DOUBLING: u32 = 9;
const LARGEST: u32 = FIRST << (DOUBLING - 1);
/// Entries in all segments that double.
const DOUBLED: u32 = FIRST * ((1 << DOUBLING) - 1);
const SEGMENTS: usize = 73;

/// Most tokens that a socket can hold: a bound on what one can make the kernel allocate.
///
/// Far above what a dma-buf has niovs for; only many small reads of the same niovs, or `MSG_PEEK`,
/// get there.
#[cfg_attr(not(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST), allow(dead_code))]
pub(crate) const MAX_TOKENS: u32 = DOUBLED + (SEGMENTS as u32 - DOUBLING) * LARGEST;

/// Segment and offset of an index.
#[inline]
fn locate(index: u32) -> (usize, usize) {
    if index < DOUBLED {
        let biased = index + FIRST;
        let segment = (biased / FIRST).ilog2();
        (segment as usize, (biased - (FIRST << segment)) as usize)
    } else {
        let rest = index - DOUBLED;
        (
            (DOUBLING + rest / LARGEST) as usize,
            (rest % LARGEST) as usize,
        )
    }
}

fn segment_len(segment: usize) -> u32 {
    if segment < DOUBLING as usize {
        FIRST << segment
    } else {
        LARGEST
    }
}

struct Entry<T: ForeignOwnable> {
    held: Slot<T>,
    /// While the index is free: the next free index plus one, or zero. Under the lock.
    ///
    /// While it is held: when the token was issued, in seconds since boot.
    next_or_since: Atomic<u32>,
}

/// The free indices: a list through the entries, and those that were never used.
struct FreeList {
    /// First of the list plus one, or zero.
    head: u32,
    /// All from here on were never used.
    fresh: u32,
    /// How many entries there are.
    capacity: u32,
    /// Number of segments.
    segments: usize,
    /// Indices that are reserved or held.
    used: u32,
}

/// Slots for the references that user space holds.
#[pin_data(PinnedDrop)]
pub(crate) struct TokenTable<T: ForeignOwnable + Send> {
    segments: [SetOnce<KVVec<Entry<T>>>; SEGMENTS],
    #[pin]
    free: SpinLockBh<FreeList>,
}

impl<T: ForeignOwnable + Send> TokenTable<T> {
    /// An empty table, which has allocated nothing yet.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            segments: [const { SetOnce::new() }; SEGMENTS],
            free <- new_spinlock_bh!(FreeList {
                head: 0,
                fresh: 0,
                capacity: 0,
                segments: 0,
                used: 0,
            }),
        }? Error)
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let (segment, offset) = locate(index);
        self.segments.get(segment)?.as_ref()?.get(offset)
    }

    fn take_index(&self, free: &mut FreeList) -> Option<u32> {
        let index = match free.head.checked_sub(1) {
            Some(index) => {
                free.head = self.entry(index)?.next_or_since.load(Relaxed);
                index
            }
            None if free.fresh < free.capacity => {
                let index = free.fresh;
                free.fresh += 1;
                index
            }
            None => return None,
        };
        free.used += 1;
        Some(index)
    }

    /// Gives indices back, so that the first of them is used next.
    fn give_back(&self, indices: &[u32]) {
        if indices.is_empty() {
            return;
        }
        let mut free = self.free.lock();
        for &index in indices.iter().rev() {
            if let Some(entry) = self.entry(index) {
                entry.next_or_since.store(free.head, Relaxed);
                free.head = index + 1;
                free.used -= 1;
            }
        }
    }

    /// Adds a segment, unless another thread did since there were `segments`. May sleep.
    fn grow(&self, segments: usize) -> Result {
        let slot = self.segments.get(segments).ok_or(EBUSY)?;
        let len = segment_len(segments);

        if slot.as_ref().is_none() {
            let mut new = KVVec::with_capacity(len as usize, GFP_KERNEL_ACCOUNT)?;
            for _ in 0..len {
                let entry = Entry {
                    held: Slot::new(),
                    next_or_since: Atomic::new(0),
                };
                new.push(entry, GFP_KERNEL)?;
            }
            if !slot.populate(new) {
                return Ok(());
            }
        }
        let mut free = self.free.lock();
        if free.segments == segments {
            free.segments += 1;
            free.capacity += len;
        }
        Ok(())
    }

    /// Reserves between one and `want` indices ([`BATCH`] at most). May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if the socket holds [`MAX_TOKENS`].
    pub(crate) fn reserve(&self, want: usize) -> Result<Reservation<'_, T>> {
        let mut reserved = Reservation {
            table: self,
            indices: [0; BATCH],
            next: 0,
            end: 0,
            now: seconds(),
        };

        loop {
            let mut free = self.free.lock();
            for place in reserved.indices.iter_mut().take(want.max(1)) {
                let Some(index) = self.take_index(&mut free) else {
                    break;
                };
                *place = index;
                reserved.end += 1;
            }
            if reserved.end > 0 {
                return Ok(reserved);
            }
            let segments = free.segments;
            drop(free);
            self.grow(segments)?;
        }
    }

    /// Starts to release tokens.
    pub(crate) fn releaser(&self) -> Releaser<'_, T> {
        Releaser {
            table: self,
            indices: [0; BATCH],
            len: 0,
        }
    }

    /// Counts the tokens whose values have an address ([`Slot::addr`]) for which `wanted` holds.
    ///
    /// Process context; takes a while if there are millions, and no lock.
    pub(crate) fn survey(&self, wanted: impl Fn(usize) -> bool) -> Survey {
        let now = seconds();
        let mut survey = Survey::default();

        for segment in self.segments.iter().map_while(SetOnce::as_ref) {
            for entries in segment.chunks(1024) {
                for entry in entries {
                    let addr = entry.held.addr();
                    if addr != 0 && wanted(addr) {
                        // A token that was released meanwhile has an index here. It is off the
                        // count by one, and must not be off the scale in its age.
                        let since = entry.next_or_since.load(Relaxed).min(now);
                        survey.tokens += 1;
                        survey.oldest = survey.oldest.max(now - since);
                    }
                }
                cond_resched();
            }
        }
        survey
    }

    /// How many tokens are held, those that a receive has reserved included.
    #[cfg_attr(not(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST), allow(dead_code))]
    pub(crate) fn used(&self) -> u32 {
        self.free.lock().used
    }
}

/// What a look at the tokens of a socket found.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// How many tokens are held.
    pub(crate) tokens: u32,
    /// Age of the oldest, in seconds.
    pub(crate) oldest: u32,
}

#[pinned_drop]
impl<T: ForeignOwnable + Send> PinnedDrop for TokenTable<T> {
    /// Releases what is still held. Process context: there may be millions.
    fn drop(self: Pin<&mut Self>) {
        for segment in self.segments.iter().map_while(SetOnce::as_ref) {
            for entries in segment.chunks(1024) {
                for entry in entries {
                    drop(entry.held.take());
                }
                cond_resched();
            }
        }
    }
}

/// How many indices are reserved or given back under one lock.
pub(crate) const BATCH: usize = 32;

/// Indices whose tokens nobody knows yet. What is not issued goes back when dropped.
pub(crate) struct Reservation<'a, T: ForeignOwnable + Send> {
    table: &'a TokenTable<T>,
    indices: [u32; BATCH],
    next: usize,
    end: usize,
    /// When the tokens are issued, in seconds since boot.
    now: u32,
}

impl<T: ForeignOwnable + Send> Reservation<'_, T> {
    /// Whether all indices were issued.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.end
    }

    /// Makes a token for `value` and tells user space of it with `tell`.
    ///
    /// The token is valid from before `tell`, so that it can be released at once. If `tell` fails
    /// there is no token, and the value is dropped.
    ///
    /// # Errors
    ///
    /// What `tell` says; `EBUSY` if nothing is reserved.
    #[inline]
    pub(crate) fn issue(&mut self, value: T, tell: impl FnOnce(u32) -> Result) -> Result {
        let index = match self.indices.get(self.next) {
            Some(&index) if !self.is_empty() => index,
            _ => return Err(EBUSY),
        };
        let entry = self.table.entry(index).ok_or(EBUSY)?;
        // Reserved: nobody else reads this as an index, and the slot is empty.
        entry.next_or_since.store(self.now, Relaxed);
        entry.held.put(value).map_err(|_| EBUSY)?;

        let told = tell(index + 1);
        // A token that user space was not told of can only have been released by a guess, and then
        // the index went back with it.
        if told.is_ok() || entry.held.take().is_none() {
            self.next += 1;
        }
        told
    }
}

impl<T: ForeignOwnable + Send> Drop for Reservation<'_, T> {
    fn drop(&mut self) {
        if let Some(rest) = self.indices.get(self.next..self.end) {
            self.table.give_back(rest);
        }
    }
}

/// Releases tokens, and gives their indices back in batches.
pub(crate) struct Releaser<'a, T: ForeignOwnable + Send> {
    table: &'a TokenTable<T>,
    indices: [u32; BATCH],
    len: usize,
}

impl<T: ForeignOwnable + Send> Releaser<'_, T> {
    /// Releases a token. False if it is not held.
    #[inline]
    pub(crate) fn release(&mut self, token: u32) -> bool {
        let Some(index) = token.checked_sub(1) else {
            return false;
        };
        let Some(value) = self.table.entry(index).and_then(|entry| entry.held.take()) else {
            return false;
        };
        drop(value);

        if let Some(place) = self.indices.get_mut(self.len) {
            *place = index;
            self.len += 1;
        }
        if self.len == BATCH {
            self.flush();
        }
        true
    }

    fn flush(&mut self) {
        if let Some(indices) = self.indices.get(..self.len) {
            self.table.give_back(indices);
        }
        self.len = 0;
    }
}

impl<T: ForeignOwnable + Send> Drop for Releaser<'_, T> {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_tokens)]
mod tests {
    use super::*;
    use kernel::sync::Arc;

    type Table = Pin<KBox<TokenTable<Arc<u32>>>>;

    fn table() -> Table {
        KBox::try_pin_init(TokenTable::new(), GFP_KERNEL).unwrap()
    }

    fn value() -> Arc<u32> {
        Arc::new(0, GFP_KERNEL).unwrap()
    }

    fn is_last(value: Arc<u32>) -> bool {
        Arc::into_unique_or_drop(value).is_some()
    }

    fn issue(table: &Table, value: &Arc<u32>, count: usize) -> KVVec<u32> {
        let mut tokens = KVVec::new();
        while tokens.len() < count {
            let mut reserved = table.reserve(count - tokens.len()).unwrap();
            while !reserved.is_empty() {
                reserved
                    .issue(value.clone(), |token| Ok(tokens.push(token, GFP_KERNEL)?))
                    .unwrap();
            }
        }
        tokens
    }

    fn release(table: &Table, tokens: &[u32]) -> usize {
        let mut releaser = table.releaser();
        tokens
            .iter()
            .filter(|&&token| releaser.release(token))
            .count()
    }

    #[test]
    fn locate_is_dense() {
        let (mut segment, mut offset) = (0, 0);
        for index in 0..DOUBLED + 3 * LARGEST {
            assert_eq!(locate(index), (segment, offset));
            offset += 1;
            if offset == segment_len(segment) as usize {
                (segment, offset) = (segment + 1, 0);
            }
        }
        assert_eq!(locate(MAX_TOKENS - 1).0, SEGMENTS - 1);
        assert_eq!(locate(MAX_TOKENS).0, SEGMENTS);
    }

    #[test]
    fn tokens_start_at_one_and_go_up() {
        let (table, value) = (table(), value());
        let tokens = issue(&table, &value, 600);
        assert!(tokens
            .iter()
            .enumerate()
            .all(|(i, &token)| token as usize == i + 1));
        assert_eq!(table.used(), 600);
        drop(table);
        assert!(is_last(value));
    }

    #[test]
    fn a_release_counts_once() {
        let (table, value) = (table(), value());
        let tokens = issue(&table, &value, 3);
        assert_eq!(release(&table, &tokens), 3);
        assert_eq!(release(&table, &tokens), 0);
        assert_eq!(table.used(), 0);
        assert!(is_last(value));
    }

    #[test]
    fn unknown_tokens_count_nothing() {
        let (table, value) = (table(), value());
        assert_eq!(release(&table, &[0, 1, u32::MAX]), 0);
        let tokens = issue(&table, &value, 1);
        assert_eq!(
            release(&table, &[0, 2, 300, MAX_TOKENS, MAX_TOKENS + 1, u32::MAX]),
            0
        );
        assert_eq!(release(&table, &tokens), 1);
    }

    #[test]
    fn a_survey_sees_what_is_held_and_wanted() {
        let (table, one, two) = (table(), value(), value());
        let addr = |value: &Arc<u32>| value.clone().into_foreign() as usize;
        let (mut mine, other) = (issue(&table, &one, 500), issue(&table, &two, 300));
        let place = addr(&one);
        assert_eq!(table.survey(|addr| addr == place).tokens, 500);
        assert_eq!(table.survey(|_| true).tokens, 800);
        mine.truncate(200);
        assert_eq!(release(&table, &mine), 200);
        assert_eq!(table.survey(|addr| addr == place).tokens, 300);
        assert_eq!(release(&table, &other), 300);
        let survey = table.survey(|_| true);
        assert_eq!(survey.tokens, 300);
        // The test does not take as long as the machine is up.
        assert!(survey.oldest < 60);
    }

    #[test]
    fn indices_are_used_again_in_order() {
        let (table, value) = (table(), value());
        let tokens = issue(&table, &value, 100);
        assert_eq!(release(&table, &tokens[10..20]), 10);
        let again = issue(&table, &value, 10);
        assert_eq!(&*again, &tokens[10..20]);
        assert_eq!(table.used(), 100);
    }

    #[test]
    fn a_token_that_was_not_told_does_not_exist() {
        let (table, value) = (table(), value());
        let mut reserved = table.reserve(4).unwrap();
        let mut seen = 0;
        let told = reserved.issue(value.clone(), |token| {
            seen = token;
            Err(ETOOSMALL)
        });
        assert_eq!(told, Err(ETOOSMALL));
        drop(reserved);
        assert_eq!(release(&table, &[seen]), 0);
        assert_eq!(table.used(), 0);
        assert!(is_last(value));
    }

    #[test]
    fn a_guess_during_issue_is_harmless() {
        let (table, value) = (table(), value());
        let mut reserved = table.reserve(1).unwrap();
        let told = reserved.issue(value.clone(), |token| {
            assert_eq!(release(&table, &[token]), 1);
            Err(EFAULT)
        });
        assert_eq!(told, Err(EFAULT));
        drop(reserved);
        assert_eq!(table.used(), 0);
        // The index went back once: two new tokens differ.
        let tokens = issue(&table, &value, 2);
        assert_ne!(tokens[0], tokens[1]);
        drop(table);
        assert!(is_last(value));
    }

    #[test]
    fn reserved_indices_are_nobody_elses() {
        let (table, value) = (table(), value());
        let mut one = table.reserve(2).unwrap();
        assert_eq!(release(&table, &[1, 2]), 0);
        let tokens = issue(&table, &value, 1);
        assert_eq!(&*tokens, &[3]);
        one.issue(value.clone(), |token| {
            assert_eq!(token, 1);
            Ok(())
        })
        .unwrap();
        drop(one);
        assert_eq!(table.used(), 2);
    }

    #[test]
    fn the_table_ends_at_its_limit() {
        let (table, value) = (table(), value());
        let _tokens = issue(&table, &value, MAX_TOKENS as usize);
        assert!(matches!(table.reserve(1), Err(e) if e == EBUSY));
        assert_eq!(release(&table, &[MAX_TOKENS]), 1);
        assert!(table.reserve(1).is_ok());
        drop(table);
        assert!(is_last(value));
    }
}
