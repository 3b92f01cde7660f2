// SPDX-License-Identifier: GPL-2.0
//! A learning switch without VLANs.

use super::{Egress, Fabric};
use crate::frame::{MacAddress, is_multicast};
use crate::{Frame, PortId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an address is remembered after it was last seen.
const AGE: Duration = Duration::from_secs(300);
/// Addresses that are remembered; more are not learned, only flooded.
const CAPACITY: usize = 4096;

#[derive(Debug)]
struct Station {
    port: PortId,
    seen: Instant,
}

/// Learns which address is behind which port, from the frames it sees.
#[derive(Debug)]
pub struct Switch {
    ports: usize,
    stations: Mutex<HashMap<MacAddress, Station>>,
}

impl Switch {
    /// A switch that knows no station yet.
    pub fn new(ports: usize) -> Switch {
        Switch {
            ports,
            stations: Mutex::new(HashMap::new()),
        }
    }

    fn forward_at(&self, ingress: PortId, frames: Vec<Frame>, egress: &mut Egress, now: Instant) {
        let mut stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in frames {
            let Some((destination, source)) = frame.addresses() else {
                continue;
            };
            learn(&mut stations, source, ingress, now);
            let known = stations
                .get(&destination)
                .filter(|station| now.duration_since(station.seen) < AGE)
                .map(|station| station.port);
            match known {
                _ if is_multicast(&destination) => self.flood(ingress, &frame, egress),
                None => self.flood(ingress, &frame, egress),
                Some(port) if port == ingress => {}
                Some(port) => egress.push(port, frame),
            }
        }
    }

    fn flood(&self, ingress: PortId, frame: &Frame, egress: &mut Egress) {
        for port in (0..self.ports).filter(|&port| port != ingress) {
            egress.push(port, frame.clone());
        }
    }
}

fn learn(
    stations: &mut HashMap<MacAddress, Station>,
    source: MacAddress,
    port: PortId,
    now: Instant,
) {
    if is_multicast(&source) {
        return;
    }
    if stations.len() >= CAPACITY && !stations.contains_key(&source) {
        stations.retain(|_, station| now.duration_since(station.seen) < AGE);
        if stations.len() >= CAPACITY {
            return;
        }
    }
    stations.insert(source, Station { port, seen: now });
}

impl Fabric for Switch {
    fn forward(&self, ingress: PortId, frames: Vec<Frame>, egress: &mut Egress) {
        self.forward_at(ingress, frames, egress, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn frame(destination: u8, source: u8) -> Frame {
        let mut raw = vec![0u8; 60];
        raw[5] = destination;
        raw[11] = source;
        if destination == 0xff {
            raw[..6].fill(0xff);
        }
        Frame::new(Bytes::from(raw))
    }

    fn ports(switch: &Switch, ingress: PortId, frame: Frame, now: Instant) -> Vec<PortId> {
        let mut egress = Egress::new(4);
        switch.forward_at(ingress, vec![frame], &mut egress, now);
        egress.drain().map(|(port, _)| port).collect()
    }

    #[test]
    fn learns_moves_and_forgets() {
        let switch = Switch::new(4);
        let now = Instant::now();
        assert_eq!(ports(&switch, 0, frame(2, 1), now), [1, 2, 3]);
        assert_eq!(ports(&switch, 1, frame(1, 2), now), [0]);
        assert_eq!(ports(&switch, 0, frame(2, 1), now), [1]);
        assert_eq!(ports(&switch, 0, frame(0xff, 1), now), [1, 2, 3]);
        // Station 1 moves to port 3.
        assert_eq!(ports(&switch, 3, frame(2, 1), now), [1]);
        assert_eq!(ports(&switch, 1, frame(1, 2), now), [3]);
        // A frame for a station behind its own port stays there.
        assert_eq!(ports(&switch, 3, frame(1, 9), now), Vec::<PortId>::new());
        assert_eq!(ports(&switch, 2, frame(1, 5), now + AGE), [0, 1, 3]);
    }

    #[test]
    fn table_is_bounded() {
        let switch = Switch::new(2);
        let now = Instant::now();
        for i in 0..CAPACITY as u32 + 100 {
            let mut raw = vec![0u8; 60];
            raw[8..12].copy_from_slice(&i.to_be_bytes());
            let mut egress = Egress::new(2);
            switch.forward_at(0, vec![Frame::new(Bytes::from(raw))], &mut egress, now);
        }
        assert_eq!(switch.stations.lock().unwrap().len(), CAPACITY);
    }
}
