// SPDX-License-Identifier: GPL-2.0

//! A running queue is copied, so that it can be stopped twice.
//@ E0277 the trait bound `kernel::net::queue_mgmt::Running<

mod nic;

use nic::*;

fn stop(running: &Running) -> Running {
    <Running as Clone>::clone(running)
}
