// SPDX-License-Identifier: GPL-2.0
//! Checking a flow, piece by piece, against what it has to be.

use std::fmt;

use serde::Serialize;

use crate::pattern;
use crate::stream::{HEADER, Header};

/// Where the bytes were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "memory")]
pub enum Place {
    /// At this offset of the dma-buf.
    Dmabuf {
        /// Bytes from its start.
        offset: u64,
    },
    /// In the iov, as the linear part of an unreadable segment.
    Linear,
    /// In the iov.
    Host,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dmabuf { offset } => write!(f, "dma-buf offset {offset}"),
            Self::Linear => f.write_str("a linear piece"),
            Self::Host => f.write_str("host memory"),
        }
    }
}

/// The first wrong byte of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Its position in the stream.
    pub at: u64,
    /// Where it was found.
    pub place: Place,
    /// The flow and position that the bytes there belong to, if they are bytes
    /// of a run at all.
    pub belongs_to: Option<(u32, u64)>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wrong byte at {} of the stream, in {}",
            self.at, self.place
        )?;
        match self.belongs_to {
            Some((flow, at)) => write!(f, ": the bytes of flow {flow} at {at}"),
            None => f.write_str(": not bytes of any flow"),
        }
    }
}

/// Reads the header out of the first bytes of a stream, whatever pieces they
/// come in.
#[derive(Debug, Default)]
pub struct HeaderReader {
    bytes: [u8; HEADER],
    have: usize,
}

impl HeaderReader {
    /// Bytes that it still wants.
    pub fn wants(&self) -> usize {
        HEADER - self.have
    }

    /// Takes the next bytes, at most those it [`wants`](Self::wants). The
    /// header once it has all: `Some(None)` if it is none.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Option<Header>> {
        let take = bytes.len().min(self.wants());
        self.bytes[self.have..][..take].copy_from_slice(&bytes[..take]);
        self.have += take;
        (self.wants() == 0).then(|| Header::decode(&self.bytes))
    }
}

/// Checks the pattern of one flow. Pieces may come in any order.
#[derive(Debug)]
pub struct Verifier {
    flow: u32,
    checked: u64,
    wrong: u64,
    first: Option<Mismatch>,
}

impl Verifier {
    /// For the flow of this number.
    pub fn new(flow: u32) -> Self {
        Self {
            flow,
            checked: 0,
            wrong: 0,
            first: None,
        }
    }

    /// Checks bytes at stream position `at`. Those of the header are passed
    /// over: their check word has been looked at.
    pub fn check(&mut self, at: u64, bytes: &[u8], place: Place) {
        let header = (HEADER as u64).saturating_sub(at).min(bytes.len() as u64);
        let (at, bytes) = (at + header, &bytes[header as usize..]);
        let place = match place {
            Place::Dmabuf { offset } => Place::Dmabuf {
                offset: offset + header,
            },
            other => other,
        };
        self.checked += header + bytes.len() as u64;
        if pattern::matches(self.flow, at, bytes) {
            return;
        }
        let Some((first, count)) = pattern::differences(self.flow, at, bytes) else {
            return;
        };
        self.wrong += count;
        if self.first.is_none() {
            self.first = Some(Mismatch {
                at: at + first as u64,
                place: match place {
                    Place::Dmabuf { offset } => Place::Dmabuf {
                        offset: offset + first as u64,
                    },
                    other => other,
                },
                belongs_to: pattern::locate(&bytes[first..]),
            });
        }
    }

    /// Bytes looked at.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// Bytes that were wrong.
    pub fn wrong(&self) -> u64 {
        self.wrong
    }

    /// The first that was.
    pub fn first_mismatch(&self) -> Option<&Mismatch> {
        self.first.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(flow: u32, len: usize) -> Vec<u8> {
        let header = Header {
            flow,
            flows: flow + 1,
            bytes: len as u64,
        };
        let mut bytes = vec![0; len];
        pattern::fill(flow, 0, &mut bytes);
        bytes[..HEADER].copy_from_slice(&header.encode());
        bytes
    }

    #[test]
    fn a_header_is_read_from_pieces_of_any_size() {
        let bytes = stream(2, 64);
        for size in 1..=40 {
            let mut reader = HeaderReader::default();
            let mut found = None;
            for piece in bytes.chunks(size) {
                found = found.or(reader.feed(piece));
            }
            assert_eq!(found.flatten().map(|h| h.bytes), Some(64), "{size}");
        }
        assert_eq!(HeaderReader::default().feed(&[0; 40]), Some(None));
    }

    #[test]
    fn a_good_stream_passes_in_any_pieces() {
        let bytes = stream(1, 10_001);
        for size in [1, 7, 31, 32, 33, 1448, 20_000] {
            let mut verifier = Verifier::new(1);
            let mut at = 0;
            for piece in bytes.chunks(size) {
                verifier.check(at, piece, Place::Host);
                at += piece.len() as u64;
            }
            assert_eq!((verifier.checked(), verifier.wrong()), (10_001, 0));
        }
    }

    #[test]
    fn a_lost_piece_is_seen_and_named() {
        let mut bytes = stream(0, 8192);
        bytes.drain(4096..4096 + 1448);
        let mut verifier = Verifier::new(0);
        verifier.check(0, &bytes, Place::Dmabuf { offset: 100 });
        let first = verifier.first_mismatch().unwrap();
        assert!((4096..4104).contains(&first.at));
        assert_eq!(
            first.place,
            Place::Dmabuf {
                offset: 100 + first.at
            }
        );
        assert_eq!(first.belongs_to, Some((0, first.at + 1448)));
        assert!(verifier.wrong() > 2000);
    }

    #[test]
    fn a_doubled_and_a_swapped_piece_are_seen() {
        let good = stream(0, 32_768);
        let mut doubled = good.clone();
        let piece = doubled[8192..12_288].to_vec();
        doubled.splice(12_288..12_288, piece);
        let mut swapped = good.clone();
        let (a, b) = swapped.split_at_mut(12_288);
        a[8192..].swap_with_slice(&mut b[..4096]);
        for bad in [doubled, swapped] {
            let mut verifier = Verifier::new(0);
            verifier.check(0, &bad, Place::Host);
            assert!(verifier.wrong() > 4000);
        }
    }

    #[test]
    fn another_flow_s_bytes_are_seen_and_named() {
        let bytes = stream(3, 4096);
        let mut verifier = Verifier::new(2);
        verifier.check(0, &bytes, Place::Linear);
        let first = verifier.first_mismatch().unwrap();
        assert_eq!(first.belongs_to, Some((3, first.at)));
    }
}
