// SPDX-License-Identifier: GPL-2.0

//! Two queues run on one piece of memory.
//@ E0382 use of moved value: `memory`

mod nic;

use nic::*;

fn start(dev: &Device<'_>, memory: Allocated) -> (Running, Running) {
    (
        memory.run(|ring| dev.data().run(ring)),
        memory.run(|ring| dev.data().run(ring)),
    )
}
