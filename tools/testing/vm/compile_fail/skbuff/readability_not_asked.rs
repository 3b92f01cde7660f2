// SPDX-License-Identifier: GPL-2.0

//! A frag is copied from, wherever it may be.
//@ E0599 no method named `copy_to_iter` found for reference `&Frag` in the current scope

use kernel::{iov::IovIterDest, net::skbuff::Frag};

fn receive(frag: &Frag, to: &mut IovIterDest<'_>) -> usize {
    frag.copy_to_iter(0, 1, to)
}
