// SPDX-License-Identifier: GPL-2.0
//! A cable.

use super::{Egress, Fabric};
use crate::{Frame, PortId};

/// Joins ports in pairs: 0 with 1, 2 with 3, and so on. The last of an odd
/// number of ports has a cable that leads nowhere.
#[derive(Debug, Default)]
pub struct Wire;

impl Fabric for Wire {
    fn forward(&self, ingress: PortId, frames: Vec<Frame>, egress: &mut Egress) {
        for frame in frames {
            egress.push(ingress ^ 1, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn pairs() {
        let mut egress = Egress::new(3);
        let frame = Frame::new(Bytes::from_static(&[0; 60]));
        for ingress in 0..3 {
            Wire.forward(ingress, vec![frame.clone()], &mut egress);
        }
        let ports: Vec<_> = egress.drain().map(|(port, f)| (port, f.len())).collect();
        assert_eq!(ports, [(0, 1), (1, 1)]);
        assert_eq!(egress.unreachable(), 1);
    }
}
