// SPDX-License-Identifier: GPL-2.0
//! The pattern: 8 bytes that occur once in all streams of a run.
//!
//! Word `i` of flow `f` is a bijection of the key `f << 40 | i`, so any two
//! words of a run differ, and a word that turns up in a wrong place says where
//! it belongs. The bijection is a multiplication by an odd number and an
//! xor with the upper half: the first makes neighbours differ in many bits,
//! and costs one addition per word in a row; the second carries the well-mixed
//! upper half into the lower, so that single bytes differ too.

/// Bytes in a word.
pub const WORD: usize = 8;

/// Flows that keys have room for.
pub const MAX_FLOWS: u32 = 1 << 24;

/// Bytes in a flow that keys have room for.
pub const MAX_FLOW_BYTES: u64 = (1 << 40) * WORD as u64;

/// Odd, with no pattern in its bits (the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// `FACTOR`'s inverse modulo 2^64.
const INVERSE: u64 = {
    // Newton's method: each step doubles the number of right bits, from 3.
    let mut x = FACTOR;
    let mut i = 0;
    while i < 5 {
        x = x.wrapping_mul(2u64.wrapping_sub(FACTOR.wrapping_mul(x)));
        i += 1;
    }
    x
};

fn key(flow: u32, index: u64) -> u64 {
    (u64::from(flow) << 40) | index
}

fn finish(product: u64) -> u64 {
    product ^ (product >> 32)
}

/// The bijection.
pub fn mix(key: u64) -> u64 {
    finish(key.wrapping_mul(FACTOR))
}

/// Word `index` of a flow.
pub fn word(flow: u32, index: u64) -> u64 {
    mix(key(flow, index))
}

/// The flow and the index that a word belongs to.
pub fn unword(word: u64) -> (u32, u64) {
    let key = finish(word).wrapping_mul(INVERSE);
    ((key >> 40) as u32, key & ((1 << 40) - 1))
}

/// Words of a flow in a row.
#[derive(Debug, Clone)]
struct Words {
    product: u64,
}

impl Words {
    fn from(flow: u32, index: u64) -> Self {
        Self {
            product: key(flow, index).wrapping_mul(FACTOR),
        }
    }
}

impl Iterator for Words {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let word = finish(self.product);
        self.product = self.product.wrapping_add(FACTOR);
        Some(word)
    }
}

/// Cuts `len` bytes at stream position `at` at the borders of words: bytes up
/// to the first border, whole words, bytes after the last.
fn cut(at: u64, len: usize) -> (usize, usize) {
    let into_word = (at % WORD as u64) as usize;
    let head = ((WORD - into_word) % WORD).min(len);
    let body = (len - head) / WORD * WORD;
    (head, body)
}

fn byte(flow: u32, at: u64) -> u8 {
    word(flow, at / WORD as u64).to_le_bytes()[(at % WORD as u64) as usize]
}

/// Writes the bytes of a flow from stream position `at`.
pub fn fill(flow: u32, at: u64, bytes: &mut [u8]) {
    let (head, body) = cut(at, bytes.len());
    let (head, rest) = bytes.split_at_mut(head);
    let (body, tail) = rest.split_at_mut(body);
    for (b, at) in head.iter_mut().zip(at..) {
        *b = byte(flow, at);
    }
    let at = at + head.len() as u64;
    let words = Words::from(flow, at / WORD as u64);
    for (chunk, word) in body.chunks_exact_mut(WORD).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let at = at + body.len() as u64;
    for (b, at) in tail.iter_mut().zip(at..) {
        *b = byte(flow, at);
    }
}

/// Are these the bytes of the flow at stream position `at`?
pub fn matches(flow: u32, at: u64, bytes: &[u8]) -> bool {
    let (head, body) = cut(at, bytes.len());
    let (head, rest) = bytes.split_at(head);
    let (body, tail) = rest.split_at(body);
    let ends = |at: u64, bytes: &[u8]| bytes.iter().zip(at..).all(|(b, at)| *b == byte(flow, at));
    if !ends(at, head) {
        return false;
    }
    let at = at + head.len() as u64;
    // No branch per word: differences are collected and looked at once.
    let words = Words::from(flow, at / WORD as u64);
    let mut difference = 0;
    for (chunk, word) in body.chunks_exact(WORD).zip(words) {
        let mut found = [0; WORD];
        found.copy_from_slice(chunk);
        difference |= u64::from_le_bytes(found) ^ word;
    }
    difference == 0 && ends(at + body.len() as u64, tail)
}

/// The first byte that differs from the flow's at `at`, and how many do.
pub fn differences(flow: u32, at: u64, bytes: &[u8]) -> Option<(usize, u64)> {
    let mut wrong = bytes
        .iter()
        .zip(at..)
        .enumerate()
        .filter(|(_, (b, at))| **b != byte(flow, *at))
        .map(|(i, _)| i);
    let first = wrong.next()?;
    Some((first, 1 + wrong.count() as u64))
}

/// Where bytes belong: the flow, and the stream position of the first of them.
/// Nothing if they hold no two words in a row, at any alignment.
pub fn locate(bytes: &[u8]) -> Option<(u32, u64)> {
    (0..WORD).find_map(|shift| {
        let mut words = bytes.get(shift..)?.chunks_exact(WORD).map(|chunk| {
            let mut word = [0; WORD];
            word.copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let (flow, index) = unword(words.next()?);
        if words.next()? != word(flow, index + 1) {
            return None;
        }
        let at = (index * WORD as u64).checked_sub(shift as u64)?;
        Some((flow, at))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn filled(flow: u32, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fill(flow, at, &mut bytes);
        bytes
    }

    #[test]
    fn words_are_a_bijection() {
        assert_eq!(FACTOR.wrapping_mul(INVERSE), 1);
        for flow in [0, 1, 7, MAX_FLOWS - 1] {
            for index in [0, 1, 2, 0xffff_ffff, (1 << 40) - 1] {
                assert_eq!(unword(word(flow, index)), (flow, index));
            }
        }
    }

    #[test]
    fn every_eight_bytes_of_a_run_are_unique_at_any_alignment() {
        let mut seen = HashSet::new();
        let mut count = 0;
        for flow in 0..4 {
            let bytes = filled(flow, 0, 1 << 17);
            for window in bytes.windows(WORD) {
                seen.insert(<[u8; WORD]>::try_from(window).unwrap());
                count += 1;
            }
        }
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn any_split_gives_the_same_bytes() {
        let whole = filled(3, 0, 96);
        for start in 0..24 {
            for len in 0..48 {
                assert_eq!(filled(3, start as u64, len), whole[start..start + len]);
                assert!(matches(3, start as u64, &whole[start..start + len]));
            }
        }
    }

    #[test]
    fn every_single_bit_counts() {
        // 3 bytes before the first whole word, 6 after the last.
        let good = filled(1, 5, 49);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches(1, 5, &bad), "bit {bit}");
            assert_eq!(differences(1, 5, &bad), Some((bit / 8, 1)));
        }
        assert_eq!(differences(1, 5, &good), None);
    }

    #[test]
    fn bytes_of_another_place_or_flow_do_not_match() {
        let bytes = filled(2, 4096, 1448);
        assert!(matches(2, 4096, &bytes));
        for at in [0, 4088, 4095, 4097, 4104, 8192] {
            assert!(!matches(2, at, &bytes), "{at}");
        }
        for flow in [0, 1, 3] {
            assert!(!matches(flow, 4096, &bytes));
        }
    }

    #[test]
    fn misplaced_bytes_say_where_they_belong() {
        for at in 4096..4112 {
            assert_eq!(locate(&filled(5, at, 23)), Some((5, at)));
        }
        assert_eq!(locate(&[0; 64]), None);
        assert_eq!(locate(&filled(5, 8, 15)), None);
    }
}
