// SPDX-License-Identifier: GPL-2.0

//! The value of a socket option is kept when the call that has it is over.
//@ error lifetime may not live long enough

use kernel::net::socket::OptVal;

fn keep<'a>(value: OptVal<'a>) -> OptVal<'static> {
    value
}
