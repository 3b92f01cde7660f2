// SPDX-License-Identifier: GPL-2.0

//! The core begins with a slot of zeroes, which need not be an empty one.
//@ E0277 the trait bound `Vec<nic::Ring, Kmalloc>: pin_init::ZeroableOption` is not satisfied

mod nic;

use nic::*;

driver_with_memory!(KVec<Ring>);
