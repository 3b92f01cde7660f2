// SPDX-License-Identifier: GPL-2.0

//! A driver as it should be: this compiles.

mod nic;

use nic::*;

struct Queues;

static OPS: QueueOps<Queues> = QueueOps::new();

#[vtable]
impl QueueManagement for Queues {
    type Data = Nic;
    type Memory = Memory;

    fn alloc(_dev: &Device<'_>, _config: &QueueConfig, index: u32) -> Result<Memory> {
        Ok(KBox::new(Ring { id: index }, GFP_KERNEL)?)
    }

    fn stop(dev: &Device<'_>, running: Running) -> Result<Stopped, NotStopped<Memory>> {
        match dev.data().stop(running.index()) {
            Ok(ring) => Ok(running.stopped(ring)),
            Err(error) => Err(NotStopped(error, running)),
        }
    }

    fn start(
        dev: &Device<'_>,
        _config: &QueueConfig,
        memory: Allocated,
    ) -> Result<Running, NotStarted<Memory, Fresh>> {
        if memory.id != memory.index() {
            return Err(NotStarted::Refused(EINVAL, memory));
        }
        Ok(memory.run(|ring| dev.data().run(ring)))
    }

    fn restart(
        dev: &Device<'_>,
        _config: &QueueConfig,
        memory: Stopped,
    ) -> Result<Running, NotStarted<Memory, Used>> {
        Ok(memory.run(|ring| dev.data().run(ring)))
    }
}

fn attach(dev: *mut kernel::bindings::net_device) {
    // SAFETY: Nobody runs this.
    unsafe { OPS.attach(dev) };
}
