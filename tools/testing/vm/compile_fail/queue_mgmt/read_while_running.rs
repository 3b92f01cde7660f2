// SPDX-License-Identifier: GPL-2.0

//! The memory of a running queue is looked at.
//@ E0609 no field `id` on type `&kernel::net::queue_mgmt::Running<

mod nic;

use nic::*;

fn peek(running: &Running) -> u32 {
    running.id
}
