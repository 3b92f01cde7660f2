// SPDX-License-Identifier: GPL-2.0

//! Memory is freed that the device may write to: there is none to be had of a running queue.
//@ E0308 mismatched types

mod nic;

use nic::*;

fn free<H: History>(_memory: Idle<Memory, H>) {}

fn stop(running: Running) {
    free(running);
}
