// SPDX-License-Identifier: GPL-2.0

//! A niov is made out of nothing, which no area has.
//@ E0277 the trait bound `kernel::net::netmem::Niov: Zeroable` is not satisfied

mod binding;

use binding::*;

fn niov() -> Niov {
    pin_init::zeroed()
}
