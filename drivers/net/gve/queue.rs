// SPDX-License-Identifier: GPL-2.0

//! Restarting an RX queue on other memory.
//!
//! The device can create and destroy single queues while it runs, but only while nobody touches
//! any of its queues. That is the time of two commands: the grace period for NAPI's end, the moves
//! of memory and the filling of the new ring need the queue itself off ([`Halted`]), while the
//! others go on. The link stays up throughout, and packets wait: those to be sent in their qdiscs,
//! those received in the rings, and in the device.
//!
//! | what fails | with | what is done |
//! | --- | --- | --- |
//! | `alloc` | no memory | nothing happened |
//! | `stop` | refused by the device | the queue goes on as it was |
//! | | no answer | the memory stays where it is until a reset |
//! | `start` | refused by the device | the memory comes back; the core restarts the old one |
//! | | no answer | the memory stays where it is until a reset, and so does the old one's queue |
//! | `restart` | refused by the device | the memory comes back; a reset makes the queue anew |
//!
//! A queue that was to lose memory of a provider and goes on with it has to be reset, too, since
//! the provider is gone and nobody else will ask for it. The reset makes all queues anew, on
//! whatever provider is installed by then; those of connections survive it.
//!
//! The device's first RX queue can't be destroyed while there are others.

use crate::ffi::{Device, Gve, Halted, Priv, RxRing};
use kernel::{
    net::queue_mgmt::{
        Allocated, Fresh, History, Idle, NotStarted, NotStopped, QueueConfig, QueueManagement,
        Running, Stopped, Used,
    },
    prelude::*,
};

/// The queue ops of gVNIC.
pub(crate) struct Queues;

#[vtable]
impl QueueManagement for Queues {
    type Data = Priv;
    type Memory = RxRing;

    fn alloc(dev: &Gve<'_>, _config: &QueueConfig, index: u32) -> Result<RxRing> {
        if !dev.has_rings() || dev.is_reset_pending() {
            return Err(EAGAIN);
        }
        if index == 0 {
            return Err(ERANGE);
        }
        // The rings' registration with XDP would have to move along. Nobody binds memory then, so
        // nobody needs it.
        if dev.uses_xdp() {
            return Err(EBUSY);
        }
        RxRing::alloc(dev, index)
    }

    fn stop(
        dev: &Gve<'_>,
        running: Running<RxRing>,
    ) -> Result<Stopped<RxRing>, NotStopped<RxRing>> {
        let shell = match RxRing::shell() {
            Ok(shell) => shell,
            Err(error) => return Err(NotStopped(error, running)),
        };
        match Halted::destroy(dev, &running) {
            Ok(halted) => Ok(running.stopped(halted.remove(shell))),
            Err(error) => {
                if is_unknown(error) || dev.overstays(running.index()) {
                    dev.schedule_reset();
                }
                Err(NotStopped(error, running))
            }
        }
    }

    fn start(
        dev: &Gve<'_>,
        _config: &QueueConfig,
        memory: Allocated<RxRing>,
    ) -> Result<Running<RxRing>, NotStarted<RxRing, Fresh>> {
        launch(dev, memory)
    }

    fn restart(
        dev: &Gve<'_>,
        _config: &QueueConfig,
        memory: Stopped<RxRing>,
    ) -> Result<Running<RxRing>, NotStarted<RxRing, Used>> {
        let started = launch(dev, memory);
        match &started {
            Ok(running) if !dev.overstays(running.index()) => (),
            // Either there is no queue, or one on memory that it was to lose.
            _ => dev.schedule_reset(),
        }
        started
    }
}

/// Starts a queue that has no memory on `memory`.
fn launch<H: History>(
    dev: &Gve<'_>,
    memory: Idle<RxRing, H>,
) -> Result<Running<RxRing>, NotStarted<RxRing, H>> {
    let shell = match RxRing::shell() {
        Ok(shell) => shell,
        Err(error) => return Err(NotStarted::Refused(error, memory)),
    };
    // It may be taken by memory that the device still knows.
    let (running, halted) = match Halted::install(dev, memory) {
        Ok(both) => both,
        Err((error, memory)) => return Err(NotStarted::Refused(error, memory)),
    };

    match halted.create() {
        Ok(()) => {
            halted.post();
            Ok(running)
        }
        Err(error) if is_unknown(error) => {
            dev.schedule_reset();
            Err(NotStarted::Lost(error, running))
        }
        Err(error) => {
            let ring = halted.remove(shell);
            Err(NotStarted::Refused(error, Idle::refused(running, ring)))
        }
    }
}

/// Whether nobody knows what became of a command: the device did not answer, or gave up on it.
fn is_unknown(error: Error) -> bool {
    error == ENOTRECOVERABLE || error == ETIME
}
