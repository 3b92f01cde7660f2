// SPDX-License-Identifier: GPL-2.0

//! The states of a queue's memory.

use crate::prelude::*;
use core::{marker::PhantomData, ops::Deref};

/// Whether [`Idle`] memory ran before: [`Fresh`] or [`Used`].
pub trait History: private::Sealed + 'static {}

/// Never ran.
pub enum Fresh {}

/// Ran, and was stopped.
pub enum Used {}

impl History for Fresh {}
impl History for Used {}

mod private {
    pub trait Sealed {}
    impl Sealed for super::Fresh {}
    impl Sealed for super::Used {}
}

/// Memory for an RX queue that the device knows nothing of. Dropping it frees it.
#[must_use = "memory that is dropped is freed"]
pub struct Idle<M, H: History> {
    memory: M,
    index: u32,
    _history: PhantomData<H>,
}

/// Memory that never ran.
pub type Allocated<M> = Idle<M, Fresh>;

/// Memory that ran until the queue was stopped.
pub type Stopped<M> = Idle<M, Used>;

impl<M, H: History> Idle<M, H> {
    pub(super) fn new(memory: M, index: u32) -> Self {
        Self {
            memory,
            index,
            _history: PhantomData,
        }
    }

    /// Index of the queue that the memory is for.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Hands the memory to the driver, by `take`. From here on the device may use it.
    pub fn run(self, take: impl FnOnce(M)) -> Running<M> {
        take(self.memory);
        Running::new(self.index)
    }

    /// Takes memory from the driver again that the device did not accept.
    pub fn refused(running: Running<M>, memory: M) -> Self {
        Self::new(memory, running.index)
    }

    pub(super) fn into_memory(self) -> M {
        self.memory
    }
}

impl<M, H: History> Deref for Idle<M, H> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.memory
    }
}

/// An RX queue that runs: the driver has its memory, and the device may write to it.
///
/// It can't be copied, comes from memory that was handed to the driver, and turns into memory that
/// can be freed only with that memory in hand.
#[must_use]
pub struct Running<M> {
    index: u32,
    _memory: PhantomData<fn() -> M>,
}

impl<M> Running<M> {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            _memory: PhantomData,
        }
    }

    /// Index of the queue.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Takes the memory from the driver, now that the device has let go of it.
    pub fn stopped(self, memory: M) -> Stopped<M> {
        Stopped::new(memory, self.index)
    }
}

/// A queue was not started.
#[must_use]
pub enum NotStarted<M, H: History> {
    /// The device knows nothing of the memory, which comes back.
    Refused(Error, Idle<M, H>),
    /// Nobody knows what the device does with the memory. The driver keeps it, as that of a
    /// running queue, until it has reset the device.
    Lost(Error, Running<M>),
}

/// A queue was not stopped.
///
/// It goes on with the memory that it has; or, if nobody knows what the device does, the driver
/// keeps the memory as that of a running queue until it has reset the device.
#[must_use]
pub struct NotStopped<M>(pub Error, pub Running<M>);
