// SPDX-License-Identifier: GPL-2.0

//! The value of a socket option is read where it is: this compiles.

use core::mem::MaybeUninit;
use kernel::{net::socket::OptVal, prelude::*};

fn read<'b>(value: OptVal<'_>, buf: &'b mut [MaybeUninit<u32>]) -> Result<&'b [u32]> {
    value.read_list(buf)
}
