// SPDX-License-Identifier: GPL-2.0

//! An attribute is taken for a number, however long it is.
//@ E0308 mismatched types

use kernel::net::genetlink::Attr;

fn read(attr: Attr<'_>) -> u32 {
    attr.u32()
}
