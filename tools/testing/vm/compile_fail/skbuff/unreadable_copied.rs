// SPDX-License-Identifier: GPL-2.0

//! Bytes are copied out of a frag in device memory.
//@ E0599 no method named `copy_to_iter` found for reference `&UnreadableFrag<'_>` in the current scope

use kernel::{iov::IovIterDest, net::skbuff::UnreadableFrag};

fn receive(frag: &UnreadableFrag<'_>, to: &mut IovIterDest<'_>) -> usize {
    frag.copy_to_iter(0, 1, to)
}
