// SPDX-License-Identifier: GPL-2.0
//! What joins ports. A fabric says where frames go; it neither keeps nor
//! changes them.

mod switch;
mod wire;

pub use switch::Switch;
pub use wire::Wire;

use crate::{Frame, PortId};

/// Frames on their way out, a list per port, in order.
#[derive(Debug)]
pub struct Egress {
    ports: Vec<Vec<Frame>>,
    unreachable: u64,
}

impl Egress {
    /// No frames, for this many ports.
    pub fn new(ports: usize) -> Egress {
        Egress {
            ports: vec![Vec::new(); ports],
            unreachable: 0,
        }
    }

    /// Adds a frame to the list of a port; one that is not there swallows it.
    pub fn push(&mut self, port: PortId, frame: Frame) {
        match self.ports.get_mut(port) {
            Some(list) => list.push(frame),
            None => self.unreachable += 1,
        }
    }

    /// Takes every list that is not empty, with its port.
    pub fn drain(&mut self) -> impl Iterator<Item = (PortId, Vec<Frame>)> + '_ {
        self.ports
            .iter_mut()
            .enumerate()
            .filter(|(_, frames)| !frames.is_empty())
            .map(|(port, frames)| (port, std::mem::take(frames)))
    }

    /// Frames that had nowhere to go.
    pub fn unreachable(&self) -> u64 {
        self.unreachable
    }
}

/// Decides where frames go.
pub trait Fabric: Send + Sync {
    /// Sorts `frames`, which came from `ingress`, into `egress`.
    fn forward(&self, ingress: PortId, frames: Vec<Frame>, egress: &mut Egress);
}
