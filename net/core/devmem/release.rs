// SPDX-License-Identifier: GPL-2.0

//! `SO_DEVMEM_DONTNEED`: user space gives tokens back.

use crate::{
    ffi::{trace_token_release, TokenRange},
    sockets::Holder,
};

/// Most ranges in one call.
pub(crate) const MAX_RANGES: usize = 128;

/// Most tokens in one call, known or not: a bound on how long it can take.
const MAX_TOKENS: usize = 1024;

/// Releases the tokens in `ranges`, up to a limit. Returns how many of them were held.
pub(crate) fn release(holder: &Holder, ranges: &[TokenRange]) -> u32 {
    let tokens = ranges
        .iter()
        .flat_map(|range| (0..range.count()).map(|i| range.start().wrapping_add(i)));
    let mut released = 0;

    holder.tokens.release(tokens.take(MAX_TOKENS), |token| {
        trace_token_release(holder.inode, token);
        released += 1;
    });
    released
}
