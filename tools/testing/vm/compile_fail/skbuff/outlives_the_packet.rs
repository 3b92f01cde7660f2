// SPDX-License-Identifier: GPL-2.0

//! The place of a frag is kept for after its packet, without a reference.
//@ error lifetime may not live long enough

use kernel::net::skbuff::{Frag, FragMemory, UnreadableFrag};

fn keep(frag: &Frag) -> Option<UnreadableFrag<'static>> {
    match frag.memory() {
        FragMemory::Unreadable(frag) => Some(frag),
        _ => None,
    }
}
