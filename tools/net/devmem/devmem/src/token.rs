// SPDX-License-Identifier: GPL-2.0
//! Tokens that wait to be given back, as ranges.

use crate::abi::{DmabufToken, MAX_DONTNEED_FRAGS, MAX_DONTNEED_TOKENS};

/// Tokens that wait to be given back. Consecutive ones merge into ranges, so
/// that one `SO_DEVMEM_DONTNEED` call covers as many as it may.
#[derive(Debug, Clone, Default)]
pub struct TokenBatch {
    ranges: Vec<DmabufToken>,
    frags: u64,
}

impl TokenBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one token. A token that is added twice counts twice.
    pub fn push(&mut self, token: u32) {
        self.frags += 1;
        if let Some(last) = self.ranges.last_mut() {
            if last.token_start.checked_add(last.token_count) == Some(token) {
                last.token_count += 1;
                return;
            }
            if token.checked_add(1) == Some(last.token_start) {
                last.token_start = token;
                last.token_count += 1;
                return;
            }
        }
        self.ranges.push(DmabufToken {
            token_start: token,
            token_count: 1,
        });
    }

    /// Tokens that wait.
    pub fn len(&self) -> u64 {
        self.frags
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frags == 0
    }

    /// Takes out what one call may carry: at most [`MAX_DONTNEED_TOKENS`]
    /// ranges and [`MAX_DONTNEED_FRAGS`] tokens. Empty when nothing waits.
    pub fn take_call(&mut self) -> Vec<DmabufToken> {
        self.merge();
        let mut call = Vec::new();
        let mut room = MAX_DONTNEED_FRAGS;
        while call.len() < MAX_DONTNEED_TOKENS && room > 0 {
            let Some(mut range) = self.ranges.pop() else {
                break;
            };
            let take = range.token_count.min(room);
            if take < range.token_count {
                self.ranges.push(DmabufToken {
                    token_start: range.token_start + take,
                    token_count: range.token_count - take,
                });
                range.token_count = take;
            }
            room -= take;
            self.frags -= u64::from(take);
            call.push(range);
        }
        call
    }

    /// Puts back what [`take_call`](Self::take_call) took, after a failed call.
    pub fn put_back(&mut self, call: Vec<DmabufToken>) {
        self.frags += call.iter().map(|r| u64::from(r.token_count)).sum::<u64>();
        self.ranges.extend(call);
    }

    fn merge(&mut self) {
        self.ranges.sort_unstable_by_key(|range| range.token_start);
        self.ranges.dedup_by(|next, kept| {
            let joined = kept.token_start.checked_add(kept.token_count) == Some(next.token_start);
            if joined {
                kept.token_count += next.token_count;
            }
            joined
        });
    }
}

/// Tokens that a list of ranges stands for.
pub(crate) fn frags_in(call: &[DmabufToken]) -> u64 {
    call.iter().map(|r| u64::from(r.token_count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(token_start: u32, token_count: u32) -> DmabufToken {
        DmabufToken {
            token_start,
            token_count,
        }
    }

    fn drain(batch: &mut TokenBatch) -> Vec<Vec<DmabufToken>> {
        let mut calls = Vec::new();
        while !batch.is_empty() {
            let call = batch.take_call();
            assert!(!call.is_empty());
            assert!(call.len() <= MAX_DONTNEED_TOKENS);
            assert!(frags_in(&call) <= u64::from(MAX_DONTNEED_FRAGS));
            calls.push(call);
        }
        assert!(batch.take_call().is_empty());
        calls
    }

    fn expand(calls: &[Vec<DmabufToken>]) -> Vec<u32> {
        let mut tokens: Vec<u32> = calls
            .iter()
            .flatten()
            .flat_map(|r| r.token_start..r.token_start + r.token_count)
            .collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn consecutive_tokens_become_one_range_in_any_order() {
        for order in [[4, 5, 6, 7], [7, 6, 5, 4], [4, 6, 5, 7], [6, 4, 7, 5]] {
            let mut batch = TokenBatch::new();
            order.into_iter().for_each(|t| batch.push(t));
            assert_eq!(batch.len(), 4);
            assert_eq!(drain(&mut batch), [[range(4, 4)]], "{order:?}");
        }
    }

    #[test]
    fn gaps_keep_ranges_apart() {
        let mut batch = TokenBatch::new();
        [0, 1, 3, 4, 9].into_iter().for_each(|t| batch.push(t));
        let calls = drain(&mut batch);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].len(), 3);
        assert_eq!(expand(&calls), [0, 1, 3, 4, 9]);
    }

    #[test]
    fn a_doubled_token_is_not_swallowed() {
        let mut batch = TokenBatch::new();
        [5, 5, 6].into_iter().for_each(|t| batch.push(t));
        assert_eq!(expand(&drain(&mut batch)), [5, 5, 6]);
    }

    #[test]
    fn a_call_has_at_most_128_ranges() {
        let mut batch = TokenBatch::new();
        (0..300).for_each(|i| batch.push(2 * i));
        let calls = drain(&mut batch);
        assert_eq!(
            calls.iter().map(Vec::len).collect::<Vec<_>>(),
            [128, 128, 44]
        );
        assert_eq!(expand(&calls), (0..300).map(|i| 2 * i).collect::<Vec<_>>());
    }

    #[test]
    fn a_call_has_at_most_1024_tokens_and_splits_ranges() {
        let mut batch = TokenBatch::new();
        (10..2510).for_each(|t| batch.push(t));
        let calls = drain(&mut batch);
        assert_eq!(
            calls.iter().map(|c| frags_in(c)).collect::<Vec<_>>(),
            [1024, 1024, 452]
        );
        assert_eq!(expand(&calls), (10..2510).collect::<Vec<_>>());
    }

    #[test]
    fn a_failed_call_loses_nothing() {
        let mut batch = TokenBatch::new();
        (0..10).for_each(|t| batch.push(t));
        let call = batch.take_call();
        assert!(batch.is_empty());
        batch.push(10);
        batch.put_back(call);
        assert_eq!(batch.len(), 11);
        assert_eq!(drain(&mut batch), [[range(0, 11)]]);
    }

    #[test]
    fn the_largest_token_does_not_overflow() {
        let mut batch = TokenBatch::new();
        [u32::MAX, 0, u32::MAX - 1, u32::MAX]
            .into_iter()
            .for_each(|t| batch.push(t));
        let calls = drain(&mut batch);
        assert_eq!(frags_in(&calls[0]), 4);
        assert!(calls[0].contains(&range(0, 1)));
    }
}
