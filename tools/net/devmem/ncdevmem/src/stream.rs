// SPDX-License-Identifier: GPL-2.0
//! What a flow carries: a header, then the pattern; and the receiver's answer.
//!
//! The header takes the first four words of the stream, all little-endian:
//!
//! | bytes | content |
//! | --- | --- |
//! | 0..8 | magic |
//! | 8..12 | flow number |
//! | 12..16 | flows in the run |
//! | 16..24 | bytes in this stream, the header among them |
//! | 24..32 | check word over the three before |
//!
//! From byte 32 on, word `i` of the stream is [`pattern::word`]`(flow, i)`.
//!
//! The answer goes the other way after the stream's end: bytes received, then
//! 0 if all of them were right and 1 if not, 8 bytes each.

use crate::pattern::{self, MAX_FLOW_BYTES, MAX_FLOWS};

/// Bytes in a header; also the least that a stream can have.
pub const HEADER: usize = 32;

const MAGIC: u64 = u64::from_le_bytes(*b"devmem\x01\n");

/// The start of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Number of this flow.
    pub flow: u32,
    /// Flows in the run.
    pub flows: u32,
    /// Bytes in this stream, the header among them.
    pub bytes: u64,
}

impl Header {
    fn words(&self) -> [u64; 3] {
        [
            MAGIC,
            u64::from(self.flow) | (u64::from(self.flows) << 32),
            self.bytes,
        ]
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; HEADER] {
        let words = self.words();
        let mut bytes = [0; HEADER];
        let all = words.into_iter().chain([check(&words)]);
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(all) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a header; nothing if it is none.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[i * 8..][..8]);
            u64::from_le_bytes(word)
        };
        let [magic, flows, length, sum] = [0, 1, 2, 3].map(word);
        let header = Self {
            flow: flows as u32,
            flows: (flows >> 32) as u32,
            bytes: length,
        };
        let good = magic == MAGIC
            && sum == check(&header.words())
            && header.flow < header.flows
            && header.flows <= MAX_FLOWS
            && (HEADER as u64..=MAX_FLOW_BYTES).contains(&length);
        good.then_some(header)
    }
}

fn check(words: &[u64; 3]) -> u64 {
    words
        .iter()
        .fold(0, |sum, word| pattern::mix(sum ^ word).rotate_left(17))
}

/// The receiver's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Bytes received.
    pub bytes: u64,
    /// Every one of them was right, and none was missing.
    pub good: bool,
}

impl Answer {
    /// Bytes of an answer.
    pub const SIZE: usize = 16;

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..].copy_from_slice(&u64::from(!self.good).to_le_bytes());
        bytes
    }

    /// Reads an answer.
    pub fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let value = u128::from_le_bytes(bytes);
        Self {
            bytes: value as u64,
            good: value >> 64 == 0,
        }
    }
}

/// How many bytes each flow carries when `total` is shared out: equal parts,
/// in whole words as far as that goes, the last flow takes what remains.
pub fn shares(total: u64, flows: u32) -> Vec<u64> {
    let flows = u64::from(flows.max(1));
    let each = total / flows / 8 * 8;
    let mut shares = vec![each; flows as usize];
    if let Some(last) = shares.last_mut() {
        *last = total - each * (flows - 1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_7: Header = Header {
        flow: 7,
        flows: 9,
        bytes: 1 << 33,
    };

    #[test]
    fn a_header_comes_back() {
        assert_eq!(Header::decode(&HEADER_7.encode()), Some(HEADER_7));
    }

    #[test]
    fn any_flipped_bit_makes_it_no_header() {
        let good = HEADER_7.encode();
        for bit in 0..HEADER * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn impossible_headers_are_refused() {
        for (flow, flows, bytes) in [(9, 9, 64), (0, 1, 31), (0, MAX_FLOWS + 1, 64)] {
            let header = Header { flow, flows, bytes };
            assert_eq!(Header::decode(&header.encode()), None);
        }
    }

    #[test]
    fn an_answer_comes_back() {
        for good in [true, false] {
            let answer = Answer { bytes: 12345, good };
            assert_eq!(Answer::decode(answer.encode()), answer);
        }
    }

    #[test]
    fn shares_add_up() {
        for (total, flows) in [(256 << 20, 4), (1000, 3), (4096 + 5, 7), (32, 1)] {
            let shares = shares(total, flows);
            assert_eq!(shares.len(), flows as usize);
            assert_eq!(shares.iter().sum::<u64>(), total);
        }
    }
}
