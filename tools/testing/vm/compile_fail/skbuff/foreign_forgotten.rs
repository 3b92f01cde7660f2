// SPDX-License-Identifier: GPL-2.0

//! Memory of another provider is taken for one of the two that can be received.
//@ E0004 non-exhaustive patterns: `FragMemory::Foreign` not covered

use kernel::net::skbuff::{Frag, FragMemory};

fn is_readable(frag: &Frag) -> bool {
    match frag.memory() {
        FragMemory::Readable(_) => true,
        FragMemory::Unreadable(_) => false,
    }
}
