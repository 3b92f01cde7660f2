// SPDX-License-Identifier: GPL-2.0

//! A queue is said to have stopped and to go on.
//@ E0382 use of moved value: `running`

mod nic;

use nic::*;

fn stop(dev: &Device<'_>, running: Running) -> Result<Stopped, NotStopped<Memory>> {
    let stopped = running.stopped(dev.data().stop(0).unwrap());
    if stopped.id == 0 {
        return Err(NotStopped(EIO, running));
    }
    Ok(stopped)
}
