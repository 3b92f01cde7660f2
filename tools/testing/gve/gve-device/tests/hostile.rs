// SPDX-License-Identifier: GPL-2.0
//! A guest that does what no driver does. The device must not panic, must
//! come to an end, must touch nothing but what is mapped (plain memory
//! refuses anything else), and must work again after a reset.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::expect_used)]

mod driver;

use driver::{BASE, BYTES, Driver, RING, machine};
use gve_device::{DeviceConfig, GuestMemory};
use gve_wire::adminq::Opcode;
use gve_wire::{rx, tx};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn config() -> DeviceConfig {
    DeviceConfig {
        queues: 4,
        backlog: 64,
        ..DeviceConfig::default()
    }
}

/// Addresses of every kind: in memory, at its edges, and wild.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => BASE..BASE + BYTES as u64,
        1 => BASE + BYTES as u64 - 64..BASE + BYTES as u64 + 64,
        1 => any::<u64>(),
        1 => u64::MAX - 64..=u64::MAX,
        1 => 0..64u64,
    ]
}

/// After whatever happened: a release, a probe, a packet there and back.
fn still_works(mut drivers: Vec<Driver>) {
    for driver in &mut drivers {
        driver.release();
        driver.memory.write(BASE, &vec![0; BYTES]).unwrap();
        driver.probe();
    }
    let mut rings = drivers[1].create_rx(0, true);
    drivers[1].fill(&mut rings);
    let mut tx = drivers[0].create_tx(0);
    let frame = [vec![2; 12], vec![8, 6], vec![0; 46]].concat();
    drivers[0].send(&mut tx, &frame, None, 1);
    let received = drivers[1].receive(&mut rings);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].whole(), frame);
}

#[derive(Clone, Debug)]
enum Access {
    Read(u64, usize),
    Register(u64, Vec<u8>),
    Doorbell(u64, Vec<u8>),
    Tick(u64),
    Reset,
}

fn access() -> impl Strategy<Value = Access> {
    let offset = prop_oneof![8 => 0..0x30u64, 1 => 0..0x1000u64, 1 => any::<u64>()];
    let words = prop_oneof![
        4 => (0..16u64).prop_map(|word| word * 4),
        1 => any::<u64>(),
    ];
    let data = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 4),
        2 => (0..5u32).prop_map(|v| v.to_be_bytes().to_vec()),
        2 => (0..70u32).prop_map(|v| v.to_le_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop_oneof![
        2 => (offset.clone(), 0..64usize).prop_map(|(o, l)| Access::Read(o, l)),
        4 => (offset, data.clone()).prop_map(|(o, d)| Access::Register(o, d)),
        8 => (words, data).prop_map(|(o, d)| Access::Doorbell(o, d)),
        1 => (0..5000u64).prop_map(Access::Tick),
        1 => Just(Access::Reset),
    ]
}

fn raw_tx() -> impl Strategy<Value = tx::RawDescriptor> {
    prop_oneof![
        1 => any::<[u8; 16]>().prop_map(tx::RawDescriptor),
        6 => (address(), 0..0x4000u16, any::<u16>(), any::<[bool; 3]>()).prop_map(
            |(address, length, tag, [end, checksum, report])| tx::Packet {
                address,
                length,
                tag,
                end_of_packet: end,
                checksum_offload: checksum,
                report_event: report,
            }
            .encode()
        ),
        2 => (0..0x5000u32, any::<u16>(), any::<u8>(), any::<bool>()).prop_map(
            |(total_payload, mss, header_len, enabled)| tx::TsoContext {
                total_payload,
                mss,
                header_len,
                enabled,
            }
            .encode()
        ),
        1 => Just(tx::general_context()),
    ]
}

fn raw_buffer() -> impl Strategy<Value = rx::Buffer> {
    (any::<u16>(), address(), address()).prop_map(|(id, data, header)| rx::Buffer {
        buf_id: id.into(),
        reserved1: [0; 6],
        address: data.into(),
        header_address: header.into(),
        reserved2: [0; 8],
    })
}

/// A frame that is a packet, more or less.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let real = (any::<bool>(), any::<bool>(), 0..9000usize).prop_map(|(v6, udp, len)| {
        let payload = vec![0x5a; len];
        let link = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut out = Vec::new();
        match (v6, udp) {
            (false, false) => link
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .tcp(1, 2, 3, 4)
                .write(&mut out, &payload),
            (false, true) => link
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .udp(1, 2)
                .write(&mut out, &payload),
            (true, false) => link
                .ipv6([1; 16], [2; 16], 64)
                .tcp(1, 2, 3, 4)
                .write(&mut out, &payload),
            (true, true) => link
                .ipv6([1; 16], [2; 16], 64)
                .udp(1, 2)
                .write(&mut out, &payload),
        }
        .unwrap();
        out
    });
    let broken = (
        real,
        prop::collection::vec((0..80usize, any::<u8>()), 0..4),
        0..9000usize,
    )
        .prop_map(|(mut frame, changes, keep)| {
            for (at, value) in changes {
                let len = frame.len();
                frame[at % len] = value;
            }
            frame.truncate(keep.max(1));
            frame
        });
    prop_oneof![4 => broken, 1 => prop::collection::vec(any::<u8>(), 1..200)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn wild_accesses(
        accesses in prop::collection::vec(access(), 1..120),
        probed in any::<bool>(),
    ) {
        let mut drivers = machine(&config(), &[], 2);
        if probed {
            drivers[0].probe();
            drivers[0].create_tx(1);
            drivers[0].create_rx(1, true);
        }
        let mut now = Instant::now();
        for access in accesses {
            let driver = &drivers[0];
            match access {
                Access::Read(offset, len) => driver.port.read_registers(offset, &mut vec![0; len]),
                Access::Register(offset, data) => {
                    driver.port.write_registers(offset, &data, now);
                }
                Access::Doorbell(offset, data) => {
                    driver.hub.write_doorbell(0, offset, &data, now);
                }
                Access::Tick(ms) => {
                    now += Duration::from_millis(ms);
                    driver.hub.tick(now);
                }
                Access::Reset => driver.port.reset(),
            }
        }
        still_works(drivers);
    }

    #[test]
    fn wild_commands(
        commands in prop::collection::vec(
            (0..Opcode::NAMES.len(), any::<[u8; 56]>(), address(), address(), any::<bool>()),
            1..40,
        ),
        noise in prop::collection::vec(any::<u8>(), 256),
    ) {
        let mut drivers = machine(&config(), &[], 2);
        drivers[0].probe();
        for (opcode, mut body, first, second, small) in commands {
            // Addresses where commands have them, and numbers that pass.
            body[8..16].copy_from_slice(&first.to_be_bytes());
            body[16..24].copy_from_slice(&second.to_be_bytes());
            if small {
                body[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 92]);
                body[32..40].copy_from_slice(&[0, 64, 0, 64, 4, 0, 0, 64]);
            }
            let _ = drivers[0].memory.write(first, &noise);
            let opcode = Opcode::NAMES[opcode].0 as u32;
            prop_assert!(drivers[0].command(opcode, &body).is_some());
        }
        still_works(drivers);
    }

    #[test]
    fn wild_transmit_rings(
        descriptors in prop::collection::vec(raw_tx(), RING as usize),
        tails in prop::collection::vec(0..RING + 2, 1..20),
        data in frame(),
    ) {
        let mut drivers = machine(&config(), &[], 2);
        drivers[0].probe();
        drivers[1].probe();
        let mut rings = drivers[1].create_rx(0, true);
        drivers[1].fill(&mut rings);
        let request = drivers[0].tx_request(2);
        for at in (BASE + 0x30_0000..BASE + BYTES as u64).step_by(0x4000) {
            let _ = drivers[0].memory.write(at, &data);
        }
        drivers[0].create_tx(2);
        let ring = request.tx_ring.get();
        drivers[0].store(ring, &descriptors[..]);
        for tail in tails {
            drivers[0].doorbell((2 * 4 + 2) * 4, tail.into());
        }
        // Whatever was sent arrived whole or not at all.
        drivers[1].receive(&mut rings);
        still_works(drivers);
    }

    #[test]
    fn wild_receive_rings(
        buffers in prop::collection::vec(raw_buffer(), RING as usize),
        tails in prop::collection::vec(0..RING + 2, 1..10),
        frames in prop::collection::vec(frame(), 1..40),
        packet_buffer in prop_oneof![Just(2048u16), 1..0x3fffu16],
        header_buffer in prop_oneof![Just(256u16), any::<u16>()],
    ) {
        let mut drivers = machine(&config(), &[], 2);
        drivers[1].probe();
        let mut request = drivers[1].rx_request(0, true);
        request.packet_buffer_size = packet_buffer.into();
        request.header_buffer_size = header_buffer.into();
        drivers[1].passes(Opcode::CreateRxQueue, &request);
        drivers[1].store(request.buffer_ring.get(), &buffers[..]);
        let mut frames = frames.into_iter();
        for tail in tails {
            drivers[1].doorbell(3 * 4 * 4, tail.into());
            let some: Vec<_> = frames
                .by_ref()
                .take(5)
                .map(|frame| gve_net::Frame::new(bytes::Bytes::from(frame)))
                .collect();
            drivers[1].port.receive(some);
        }
        still_works(drivers);
    }

    /// What passes through a sane ring is what was sent, whatever it is.
    #[test]
    fn any_frame_arrives_as_it_was_sent(frames in prop::collection::vec(frame(), 1..8)) {
        let mut drivers = machine(&config(), &[], 2);
        drivers[0].probe();
        drivers[1].probe();
        let mut rings = drivers[1].create_rx(0, true);
        let mut tx = drivers[0].create_tx(0);
        for frame in frames {
            drivers[1].fill(&mut rings);
            drivers[0].send(&mut tx, &frame, None, 0);
            drivers[0].tx_completions(&mut tx);
            let received = drivers[1].receive(&mut rings);
            if frame.len() < 14 || frame.len() > 9728 {
                prop_assert!(received.is_empty());
                continue;
            }
            // Queues other than 0 are absent here; RSS has one to choose.
            prop_assert_eq!(received.len(), 1);
            let mut whole = received[0].whole();
            let layout = gve_net::Layout::parse(&frame);
            prop_assert_eq!(whole.len(), frame.len());
            let mut sent = frame;
            if let Some(at) = gve_net::checksum::l4_checksum_offset(&layout) {
                prop_assert!(!received[0].last.csum_l4_err);
                whole[at..at + 2].fill(0);
                sent[at..at + 2].fill(0);
            }
            prop_assert_eq!(whole, sent);
        }
    }
}
