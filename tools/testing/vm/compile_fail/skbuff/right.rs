// SPDX-License-Identifier: GPL-2.0

//! What can be read is read, and of the rest the place is told: this compiles.

use kernel::{
    iov::IovIterDest,
    net::skbuff::{Frag, FragMemory},
};

fn receive(frag: &Frag, to: &mut IovIterDest<'_>) -> Option<u64> {
    match frag.memory() {
        FragMemory::Readable(frag) => Some(frag.copy_to_iter(0, 1, to) as u64),
        FragMemory::Unreadable(frag) => Some(frag.dmabuf_offset()),
        FragMemory::Foreign => None,
    }
}
