// SPDX-License-Identifier: GPL-2.0

//! The tokens of a socket: what user space holds of device memory.
//!
//! A token is a number (plus one) under which a [`TokenTable`] holds a reference. Receive issues
//! the lowest free numbers, as the implementation in C does: a program may count on that the tokens
//! of what it holds nothing before of ascend from 1. `SO_DEVMEM_DONTNEED` frees numbers. Both take
//! the table's lock once per packet or batch, not per token:
//!
//! - receive [reserves](Reservation) numbers, tells user space of them, and then puts the
//!   references under all of them. A reserved number is nobody else's; until its reference is in
//!   the table, which is before `recvmsg` returns, a release of it counts nothing;
//! - release takes references out by the batch, and drops them without the lock.

mod tree;

use crate::ffi::seconds;
use core::mem;
use kernel::{
    deferred::cond_resched,
    net::skbuff::MAX_SKB_FRAGS,
    prelude::*,
    sync::{new_spinlock, SpinLock},
};
use tree::{Supplies, Tree};

/// Most tokens that a socket can hold: a bound on what one can make the kernel allocate.
///
/// Far above what a dma-buf has niovs for; only many small reads of the same niovs, or `MSG_PEEK`,
/// get there.
#[cfg_attr(not(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST), allow(dead_code))]
pub(crate) const MAX_TOKENS: u32 = tree::NUMBERS;

/// How many tokens are released under one lock.
const BATCH: usize = 16;
/// How many numbers are looked up under one lock, held or not.
const LOOKS: u32 = 128;

/// The references that user space holds.
#[pin_data(PinnedDrop)]
pub(crate) struct TokenTable<T: Send> {
    /// Process context only.
    #[pin]
    tree: SpinLock<Tree<T>>,
}

impl<T: Send> TokenTable<T> {
    /// An empty table, which has allocated nothing yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            tree <- new_spinlock!(Tree::new()),
        })
    }

    /// A reservation of no number.
    #[inline]
    pub(crate) fn reservation(&self) -> Reservation<'_, T> {
        Reservation {
            table: self,
            pending: Pending {
                numbers: [0; MAX_SKB_FRAGS],
                values: [const { None }; MAX_SKB_FRAGS],
                issued: 0,
                reserved: 0,
            },
        }
    }

    /// Releases tokens, those of them that are held. Calls `released` with each of these.
    ///
    /// Process context. A token that comes up twice is released once.
    pub(crate) fn release(
        &self,
        mut tokens: impl Iterator<Item = u32>,
        mut released: impl FnMut(u32),
    ) {
        loop {
            let mut batch = [const { None }; BATCH];
            let mut places = batch.iter_mut();
            let mut place = places.next();
            let mut looks = 0;

            let mut tree = self.tree.lock();
            while let Some(free) = place {
                let Some(token) = tokens.next() else {
                    break;
                };
                let value = token.checked_sub(1).and_then(|number| tree.take(number));
                place = match value {
                    Some(value) => {
                        *free = Some((token, value));
                        places.next()
                    }
                    None => Some(free),
                };
                looks += 1;
                if looks == LOOKS {
                    break;
                }
            }
            drop(tree);

            if looks == 0 {
                return;
            }
            for (token, value) in batch.into_iter().map_while(|entry| entry) {
                drop(value);
                released(token);
            }
        }
    }

    /// Releases all that is held. Process context: there may be millions.
    pub(crate) fn release_all(&self) {
        let tree = mem::replace(&mut *self.tree.lock(), Tree::new());

        for leaf in tree.into_leaves() {
            drop(leaf);
            cond_resched();
        }
    }

    /// Counts the tokens for whose values `wanted` holds.
    ///
    /// Process context; takes a while if there are millions, and keeps nobody waiting meanwhile.
    pub(crate) fn survey(&self, wanted: impl Fn(&T) -> bool) -> Survey {
        let now = seconds();
        let mut survey = Survey::default();
        let mut next = 0;

        loop {
            let tree = self.tree.lock();
            let Some((at, leaf)) = tree.leaf_from(next) else {
                return survey;
            };
            for (_, since) in leaf.held().filter(|(value, _)| wanted(value)) {
                survey.tokens += 1;
                survey.oldest = survey.oldest.max(now.saturating_sub(since));
            }
            next = at + 1;
            drop(tree);
            cond_resched();
        }
    }

    /// How many tokens are held, those that a receive has reserved included.
    #[cfg_attr(not(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST), allow(dead_code))]
    pub(crate) fn used(&self) -> u32 {
        self.tree.lock().used()
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
impl<T: Send> PinnedDrop for TokenTable<T> {
    fn drop(self: Pin<&mut Self>) {
        self.release_all();
    }
}

/// Numbers that a receive has to itself, and the references that are to be held under the first of
/// them. Those are in the table, and the rest of the numbers free, when this is dropped.
///
/// Has space for what a packet of most frags needs; not to be moved about.
pub(crate) struct Reservation<'a, T: Send> {
    table: &'a TokenTable<T>,
    pending: Pending<T>,
}

struct Pending<T> {
    numbers: [u32; MAX_SKB_FRAGS],
    values: [Option<T>; MAX_SKB_FRAGS],
    /// How many user space was told of.
    issued: usize,
    reserved: usize,
}

impl<T> Pending<T> {
    /// Puts what was issued into the tree, and gives the rest back.
    #[inline]
    fn settle(&mut self, tree: &mut Tree<T>) {
        if self.reserved == 0 {
            return;
        }
        let now = seconds();
        for (number, value) in self
            .numbers
            .iter()
            .zip(&mut self.values)
            .take(self.reserved)
        {
            match value.take() {
                Some(value) => tree.put(*number, value, now),
                None => tree.free(*number),
            }
        }
        (self.issued, self.reserved) = (0, 0);
    }
}

impl<T: Send> Reservation<'_, T> {
    /// Whether all numbers were issued.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.issued == self.pending.reserved
    }

    /// Reserves between one and `want` numbers more, once all are issued. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EBUSY` if the socket holds [`MAX_TOKENS`].
    pub(crate) fn refill(&mut self, want: usize) -> Result {
        let pending = &mut self.pending;
        let mut supplies = Supplies::new();

        loop {
            let mut tree = self.table.tree.lock();
            pending.settle(&mut tree);
            let want = want.clamp(1, MAX_SKB_FRAGS);
            let places = pending.numbers.get_mut(..want).unwrap_or_default();
            let lack = match tree.reserve(places, &mut supplies) {
                Ok(reserved) => {
                    pending.reserved = reserved;
                    return Ok(());
                }
                Err(lack) => lack,
            };
            drop(tree);
            supplies.get(lack)?;
        }
    }

    /// Makes a token for `value` and tells user space of it with `tell`.
    ///
    /// If `tell` fails there is no token, and the value is dropped.
    ///
    /// # Errors
    ///
    /// What `tell` says; `EBUSY` if nothing is reserved.
    #[inline]
    pub(crate) fn issue(&mut self, value: T, tell: impl FnOnce(u32) -> Result) -> Result {
        let pending = &mut self.pending;
        let at = pending.issued;
        let (Some(&number), Some(place)) = (pending.numbers.get(at), pending.values.get_mut(at))
        else {
            return Err(EBUSY);
        };
        if at == pending.reserved {
            return Err(EBUSY);
        }
        tell(number + 1)?;
        *place = Some(value);
        pending.issued += 1;
        Ok(())
    }
}

impl<T: Send> Drop for Reservation<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.pending.reserved != 0 {
            self.pending.settle(&mut self.table.tree.lock());
        }
    }
}

#[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
#[kunit_tests(net_devmem_tokens)]
mod tests {
    use super::*;
    use kernel::sync::Arc;

    type Table = Pin<KBox<TokenTable<Arc<u32>>>>;

    fn table() -> Table {
        KBox::pin_init(TokenTable::new(), GFP_KERNEL).unwrap()
    }

    fn value() -> Arc<u32> {
        Arc::new(0, GFP_KERNEL).unwrap()
    }

    fn is_last(value: Arc<u32>) -> bool {
        Arc::into_unique_or_drop(value).is_some()
    }

    fn issue(table: &Table, value: &Arc<u32>, count: usize) -> KVVec<u32> {
        let mut tokens = KVVec::new();
        let mut reserved = table.reservation();
        while tokens.len() < count {
            if reserved.is_empty() {
                reserved.refill(count - tokens.len()).unwrap();
            }
            reserved
                .issue(value.clone(), |token| Ok(tokens.push(token, GFP_KERNEL)?))
                .unwrap();
        }
        tokens
    }

    fn release(table: &Table, tokens: impl IntoIterator<Item = u32>) -> usize {
        let mut released = 0;
        table.release(tokens.into_iter(), |_| released += 1);
        released
    }

    fn are(tokens: &[u32], wanted: impl Iterator<Item = u32>) -> bool {
        tokens.iter().copied().eq(wanted)
    }

    fn leaves(table: &Table) -> u32 {
        table.tree.lock().leaves()
    }

    #[test]
    fn a_token_is_released_once() {
        let (table, value) = (table(), value());
        let tokens = issue(&table, &value, 1000);
        assert_eq!(table.used(), 1000);
        assert_eq!(release(&table, tokens.iter().copied()), 1000);
        assert_eq!(release(&table, tokens.iter().copied()), 0);
        assert_eq!(release(&table, [3, 3]), 0);
        assert_eq!(table.used(), 0);
        assert!(is_last(value));
    }

    #[test]
    fn the_table_releases_what_it_holds() {
        let (table, value) = (table(), value());
        let _tokens = issue(&table, &value, 10_000);
        drop(table);
        assert!(is_last(value));
    }

    #[test]
    fn unknown_tokens_count_nothing() {
        let (table, value) = (table(), value());
        assert_eq!(release(&table, [0, 1, u32::MAX]), 0);
        let tokens = issue(&table, &value, 1);
        let unknown = [0, 2, 65, 4097, MAX_TOKENS, MAX_TOKENS + 1, u32::MAX];
        assert_eq!(release(&table, unknown), 0);
        assert_eq!(release(&table, 2..100_000), 0);
        assert_eq!(release(&table, tokens.iter().copied()), 1);
    }

    #[test]
    fn a_survey_sees_what_is_held_and_wanted() {
        let (table, one, two) = (table(), value(), value());
        let mine = issue(&table, &one, 5000);
        let other = issue(&table, &two, 300);
        let is_one = |value: &Arc<u32>| Arc::ptr_eq(value, &one);
        assert_eq!(table.survey(is_one).tokens, 5000);
        assert_eq!(table.survey(|_| true).tokens, 5300);
        assert_eq!(release(&table, mine.iter().copied().skip(3000)), 2000);
        assert_eq!(table.survey(is_one).tokens, 3000);
        assert_eq!(release(&table, other.iter().copied()), 300);
        let survey = table.survey(|_| true);
        assert_eq!(survey.tokens, 3000);
        // The test does not take as long as the machine is up.
        assert!(survey.oldest < 60);
    }

    #[test]
    fn the_lowest_free_token_comes_first() {
        let (table, value) = (table(), value());
        assert!(are(&issue(&table, &value, 5000), 1..5001));
        // Holes on both sides of what a word, a batch, a leaf and a branch end with.
        let holes = || {
            let ends = [1, 16, 17, 32, 33, 64, 65, 128, 129, 4096, 4097, 4999];
            ends.into_iter()
        };
        assert_eq!(release(&table, holes().rev()), 12);
        assert!(are(&issue(&table, &value, 12), holes()));
        assert!(are(&issue(&table, &value, 2), 5001..5003));
        // A range of more than a batch, and of whole leaves.
        assert_eq!(release(&table, 100..1100), 1000);
        assert_eq!(release(&table, [7]), 1);
        assert!(are(&issue(&table, &value, 1), 7..8));
        assert!(are(&issue(&table, &value, 1000), 100..1100));
        assert_eq!(release(&table, 1..6000), 5002);
        assert!(are(&issue(&table, &value, 100), 1..101));
    }

    #[test]
    fn memory_goes_with_what_is_held() {
        let (table, value) = (table(), value());
        assert_eq!(leaves(&table), 0);
        let tokens = issue(&table, &value, 100_000);
        assert_eq!(leaves(&table), 100_000_u32.div_ceil(64));
        assert_eq!(release(&table, tokens.iter().copied().skip(64)), 99_936);
        // One in use, and one that waits for the next.
        assert_eq!(leaves(&table), 2);
        assert!(are(&issue(&table, &value, 64), 65..129));
        assert_eq!(leaves(&table), 2);
        assert_eq!(release(&table, 1..129), 128);
        assert_eq!(leaves(&table), 1);
    }

    #[test]
    fn a_token_that_was_not_told_does_not_exist() {
        let (table, value) = (table(), value());
        let mut reserved = table.reservation();
        reserved.refill(4).unwrap();
        let mut seen = 0;
        let told = reserved.issue(value.clone(), |token| {
            seen = token;
            Err(ETOOSMALL)
        });
        assert_eq!(told, Err(ETOOSMALL));
        drop(reserved);
        assert_eq!(release(&table, [seen]), 0);
        assert_eq!(table.used(), 0);
        assert!(are(&issue(&table, &value, 4), 1..5));
        drop(table);
        assert!(is_last(value));
    }

    #[test]
    fn a_guess_during_issue_counts_nothing() {
        let (table, value) = (table(), value());
        let mut reserved = table.reservation();
        reserved.refill(2).unwrap();
        for fails in [false, true] {
            let told = reserved.issue(value.clone(), |token| {
                assert_eq!(release(&table, [token]), 0);
                if fails {
                    Err(EFAULT)
                } else {
                    Ok(())
                }
            });
            assert_eq!(told.is_err(), fails);
        }
        drop(reserved);
        assert_eq!(table.used(), 1);
        assert_eq!(release(&table, [1, 2]), 1);
        assert!(is_last(value));
    }

    #[test]
    fn reserved_numbers_are_nobody_elses() {
        let (table, value) = (table(), value());
        let mut one = table.reservation();
        assert_eq!(one.issue(value.clone(), |_| Ok(())), Err(EBUSY));
        one.refill(2).unwrap();
        assert_eq!(release(&table, [1, 2]), 0);
        assert!(are(&issue(&table, &value, 1), 3..4));
        one.issue(value.clone(), |token| {
            assert_eq!(token, 1);
            Ok(())
        })
        .unwrap();
        drop(one);
        assert_eq!(table.used(), 2);
        assert!(are(&issue(&table, &value, 1), 2..3));
    }

    #[test]
    fn the_table_ends_at_its_limit() {
        let (table, value) = (table(), value());
        let _tokens = issue(&table, &value, MAX_TOKENS as usize);
        assert_eq!(table.reservation().refill(1), Err(EBUSY));
        assert_eq!(release(&table, [MAX_TOKENS, 4711]), 2);
        assert!(are(&issue(&table, &value, 1), 4711..4712));
        assert_eq!(table.reservation().refill(1), Ok(()));
        drop(table);
        assert!(is_last(value));
    }
}
