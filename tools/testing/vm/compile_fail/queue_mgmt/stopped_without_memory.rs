// SPDX-License-Identifier: GPL-2.0

//! A queue is said to have stopped, and its memory does not come back.
//@ E0061 this method takes 1 argument but 0 arguments were supplied

mod nic;

use nic::*;

fn stop(running: Running) -> Result<Stopped, NotStopped<Memory>> {
    Ok(running.stopped())
}
