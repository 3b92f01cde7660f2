// SPDX-License-Identifier: GPL-2.0
//! What is counted, of a flow and of all together.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

/// Counters of a flow, or their sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes that came.
    pub bytes_total: u64,
    /// … in the dma-buf.
    pub bytes_devmem: u64,
    /// … as linear parts of unreadable segments.
    pub bytes_linear: u64,
    /// … as ordinary bytes.
    pub bytes_host: u64,
    /// Bytes that were wrong.
    pub bytes_wrong: u64,
    /// Pieces in the dma-buf.
    pub frags: u64,
    /// Calls that brought bytes.
    pub recv_calls: u64,
    /// Tokens that the kernel says it took back.
    pub tokens_released: u64,
    /// Tokens that it did not know.
    pub tokens_unknown: u64,
    /// Calls that gave tokens back.
    pub release_calls: u64,
}

impl Counts {
    /// Cells of a table: [`Self::HEADING`] names them.
    pub fn cells(&self) -> [u64; 7] {
        [
            self.bytes_total,
            self.bytes_devmem,
            self.bytes_linear,
            self.bytes_host,
            self.frags,
            self.tokens_released,
            self.bytes_wrong,
        ]
    }

    /// The columns of [`cells`](Self::cells).
    pub const HEADING: [&str; 7] = [
        "bytes", "dma-buf", "linear", "host", "frags", "released", "wrong",
    ];
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes_total: self.bytes_total + other.bytes_total,
            bytes_devmem: self.bytes_devmem + other.bytes_devmem,
            bytes_linear: self.bytes_linear + other.bytes_linear,
            bytes_host: self.bytes_host + other.bytes_host,
            bytes_wrong: self.bytes_wrong + other.bytes_wrong,
            frags: self.frags + other.frags,
            recv_calls: self.recv_calls + other.recv_calls,
            tokens_released: self.tokens_released + other.tokens_released,
            tokens_unknown: self.tokens_unknown + other.tokens_unknown,
            release_calls: self.release_calls + other.release_calls,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Self::add)
    }
}
