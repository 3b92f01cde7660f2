// SPDX-License-Identifier: GPL-2.0
//! Spoiling a stream on purpose, so that a receiver that sees nothing is found
//! out.

use std::str::FromStr;

use crate::pattern;

/// What is wrong with the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One bit is flipped.
    Flip,
    /// 8 bytes are missing; the length is kept.
    Lose,
    /// 8 bytes come twice; the length is kept.
    Double,
    /// A block changes places with the next.
    Swap,
    /// The stream ends.
    Cut,
}

/// Bytes that [`Kind::Lose`] and [`Kind::Double`] move.
const SHIFT: u64 = 8;
/// Bytes that [`Kind::Swap`] exchanges.
const BLOCK: u64 = 4096;

/// A fault at a place of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    at: u64,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, at) = text.split_once(':').ok_or("not KIND:OFFSET")?;
        let kind = match kind {
            "flip" => Kind::Flip,
            "lose" => Kind::Lose,
            "double" => Kind::Double,
            "swap" => Kind::Swap,
            "cut" => Kind::Cut,
            _ => return Err("KIND is none of flip, lose, double, swap, cut".into()),
        };
        let at = at.parse().map_err(|err| format!("{at:?}: {err}"))?;
        Ok(Self { kind, at })
    }
}

impl Fault {
    /// Where the stream ends, if it is to end early.
    pub fn end(&self) -> Option<u64> {
        (self.kind == Kind::Cut).then_some(self.at)
    }

    /// Writes the bytes of a flow from stream position `at`, spoiled.
    pub fn fill(&self, flow: u32, at: u64, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let here = at + done as u64;
            let (source, run) = self.source(here);
            let len =
                usize::try_from(run).map_or(bytes.len() - done, |n| n.min(bytes.len() - done));
            pattern::fill(flow, source, &mut bytes[done..][..len]);
            if self.kind == Kind::Flip && here == self.at {
                bytes[done] ^= 0x10;
            }
            done += len;
        }
    }

    /// The position whose bytes stand at `at`, and for how many bytes that
    /// holds.
    fn source(&self, at: u64) -> (u64, u64) {
        let before = self.at.checked_sub(at).filter(|run| *run > 0);
        if let Some(run) = before {
            return (at, run);
        }
        let into = at - self.at;
        match self.kind {
            Kind::Flip if into == 0 => (at, 1),
            Kind::Flip | Kind::Cut => (at, u64::MAX),
            Kind::Lose => (at + SHIFT, u64::MAX),
            Kind::Double if into < SHIFT => (at, SHIFT - into),
            Kind::Double => (at - SHIFT, u64::MAX),
            Kind::Swap if into < BLOCK => (at + BLOCK, BLOCK - into),
            Kind::Swap if into < 2 * BLOCK => (at - BLOCK, 2 * BLOCK - into),
            Kind::Swap => (at, u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(fault: &str, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        fault.parse::<Fault>().unwrap().fill(1, at, &mut bytes);
        bytes
    }

    fn good(at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        pattern::fill(1, at, &mut bytes);
        bytes
    }

    #[test]
    fn a_fault_does_what_it_says_and_nothing_before() {
        let mut flipped = good(0, 200);
        flipped[100] ^= 0x10;
        assert_eq!(filled("flip:100", 0, 200), flipped);
        assert_eq!(
            filled("lose:100", 0, 200),
            [good(0, 100), good(108, 100)].concat()
        );
        assert_eq!(
            filled("double:100", 0, 200),
            [good(0, 108), good(100, 92)].concat()
        );
        let swapped = [
            good(0, 100),
            good(4196, 4096),
            good(100, 4096),
            good(8292, 10),
        ]
        .concat();
        assert_eq!(filled("swap:100", 0, swapped.len()), swapped);
    }

    #[test]
    fn chunks_make_no_difference() {
        for fault in ["flip:100", "lose:100", "double:100", "swap:100"] {
            let whole = filled(fault, 0, 10_000);
            let chunks: Vec<u8> = (0..10_000)
                .step_by(77)
                .flat_map(|at| filled(fault, at, 77.min(10_000 - at as usize)))
                .collect();
            assert!(whole == chunks, "{fault}");
        }
    }

    #[test]
    fn only_a_cut_ends_the_stream() {
        assert_eq!("cut:64".parse::<Fault>().unwrap().end(), Some(64));
        assert_eq!("flip:64".parse::<Fault>().unwrap().end(), None);
        for text in ["flip", "flip:", "flip:x", "bend:1"] {
            assert!(text.parse::<Fault>().is_err());
        }
    }
}
