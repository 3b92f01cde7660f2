// SPDX-License-Identifier: GPL-2.0
//! Made-up buffer rings in plain memory, read back as a driver does.

use super::*;
use crate::memory::PlainMemory;
use bytes::Bytes;
use etherparse::PacketBuilder;
use zerocopy::{FromZeros, IntoBytes};

const BUFFERS: u64 = 0x10000;
const COMPLETIONS: u64 = 0x20000;
const HEADERS: u64 = 0x30000;
const DATA: u64 = 0x100000;
const ENTRIES: u16 = 64;
const SIZE: u16 = 2048;

struct Bench {
    memory: PlainMemory,
    queue: RxQueue,
    counters: RxCounters,
    anomalies: Anomalies,
    posted: u16,
    seen: u16,
    generation: bool,
    fault: CompletionFault,
}

/// A packet as a driver puts it together again.
#[derive(Debug)]
struct Received {
    header: Vec<u8>,
    payload: Vec<u8>,
    last: Completion,
    buffers: usize,
}

impl Bench {
    fn new(header_buffer: u16, split_late: u16, backlog: usize) -> Bench {
        let config = RxQueueConfig {
            buffer_ring: BUFFERS,
            buffer_ring_size: ENTRIES,
            completion_ring: COMPLETIONS,
            completion_size: ENTRIES,
            packet_buffer: SIZE,
            header_buffer,
            split_late,
            backlog,
            block: 0,
        };
        Bench {
            memory: PlainMemory::new(BUFFERS, 0x200000),
            queue: RxQueue::new(config, false),
            counters: RxCounters::default(),
            anomalies: Anomalies::new(0),
            posted: 0,
            seen: 0,
            generation: true,
            fault: CompletionFault::None,
        }
    }

    fn post(&mut self, count: u16) {
        for _ in 0..count {
            let mut buffer = Buffer::new_zeroed();
            buffer.buf_id = self.posted.into();
            buffer.address = (DATA + u64::from(self.posted) * u64::from(SIZE)).into();
            buffer.header_address = (HEADERS + u64::from(self.posted) * 256).into();
            let at = BUFFERS + u64::from(self.posted) * BUFFER_BYTES;
            self.memory.write(at, buffer.as_bytes()).unwrap();
            self.posted = (self.posted + 1) % ENTRIES;
        }
        assert!(self.queue.doorbell(self.posted.into()));
    }

    fn deliver(&mut self, frame: &[u8]) -> u32 {
        let frame = Frame::new(Bytes::copy_from_slice(frame));
        let mut context = RxContext {
            memory: &self.memory,
            anomalies: &mut self.anomalies,
            counters: &mut self.counters,
            fault: self.fault,
        };
        let destination = Destination {
            hash: 0x1234,
            ..Destination::default()
        };
        self.queue.deliver(frame, destination, &mut context)
    }

    fn drain(&mut self) -> u32 {
        let mut context = RxContext {
            memory: &self.memory,
            anomalies: &mut self.anomalies,
            counters: &mut self.counters,
            fault: CompletionFault::None,
        };
        self.queue.drain(&mut context)
    }

    fn completion(&mut self) -> Option<Completion> {
        let mut raw = [0; 32];
        let at = COMPLETIONS + u64::from(self.seen) * COMPLETION_BYTES;
        self.memory.read(at, &mut raw).unwrap();
        let (completion, generation) = Completion::decode(&raw);
        if raw[0] != 1 || generation != self.generation {
            return None;
        }
        self.seen = (self.seen + 1) % ENTRIES;
        if self.seen == 0 {
            self.generation = !self.generation;
        }
        Some(completion)
    }

    fn receive(&mut self) -> Option<Received> {
        let mut received = Received {
            header: Vec::new(),
            payload: Vec::new(),
            last: Completion::default(),
            buffers: 0,
        };
        loop {
            let completion = self.completion()?;
            let id = u64::from(completion.buf_id);
            assert!(
                self.fault == CompletionFault::HeaderLost
                    || completion.split_header == (completion.header_len > 0),
                "a header length without a split header, or the reverse"
            );
            if completion.split_header {
                assert_eq!(received.buffers, 0, "split header on a later buffer");
                let len = completion.header_len.into();
                self.memory
                    .append(HEADERS + id * 256, len, &mut received.header)
                    .unwrap();
            }
            assert!(completion.packet_len <= SIZE);
            let len = completion.packet_len.into();
            self.memory
                .append(DATA + id * u64::from(SIZE), len, &mut received.payload)
                .unwrap();
            received.buffers += 1;
            if completion.end_of_packet {
                received.last = completion;
                return Some(received);
            }
        }
    }
}

fn tcp(options: usize, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|i| (i * 13) as u8).collect();
    let mut out = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1000, 2000, 7, 1024)
        .options_raw(&vec![1; options])
        .unwrap()
        .write(&mut out, &payload)
        .unwrap();
    out
}

fn udp6(len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv6([1; 16], [2; 16], 64)
        .udp(5, 6)
        .write(&mut out, &vec![7; len])
        .unwrap();
    out
}

fn arp() -> Vec<u8> {
    [vec![0xff; 12], vec![0x08, 0x06], vec![7; 28]].concat()
}

#[test]
fn split_is_exact() {
    let mut bench = Bench::new(256, 0, 0);
    for options in [0, 4, 12, 40] {
        for len in [0, 1, 2, 1448, 2048, 2049, 8948] {
            let frame = tcp(options, len);
            bench.post(len.div_ceil(SIZE.into()).max(1) as u16);
            assert_ne!(bench.deliver(&frame), 0);
            let received = bench.receive().unwrap();
            let header = 14 + 20 + 20 + options;
            assert_eq!(received.header, frame[..header]);
            assert_eq!(received.payload, frame[header..]);
            assert_eq!(received.buffers, len.div_ceil(SIZE.into()).max(1));
            assert_eq!(received.last.packet_type, PacketType::TcpIpv4 as u16);
            assert_eq!(received.last.hash, 0x1234);
            assert!(received.last.l3_l4_processed);
            assert!(!received.last.csum_ip_err && !received.last.csum_l4_err);
            assert!(bench.receive().is_none());
        }
    }
    assert_eq!(bench.counters.unsplit, 0);
}

#[test]
fn udp_over_ipv6_is_split_too() {
    let mut bench = Bench::new(256, 0, 0);
    bench.post(1);
    let frame = udp6(100);
    bench.deliver(&frame);
    let received = bench.receive().unwrap();
    assert_eq!(received.header, frame[..62]);
    assert_eq!(received.payload, frame[62..]);
    assert_eq!(received.last.packet_type, PacketType::UdpIpv6 as u16);
}

#[test]
fn without_header_buffer_all_is_in_one_piece() {
    let mut bench = Bench::new(0, 0, 0);
    for len in [0, 1, 3000] {
        let frame = tcp(12, len);
        bench.post(2);
        bench.deliver(&frame);
        let received = bench.receive().unwrap();
        assert!(received.header.is_empty());
        assert_eq!(received.payload, frame);
    }
}

#[test]
fn a_lost_header_is_claimed() {
    let mut bench = Bench::new(256, 0, 0);
    bench.fault = CompletionFault::HeaderLost;
    bench.post(1);
    let frame = tcp(12, 100);
    bench.deliver(&frame);
    let received = bench.receive().unwrap();
    assert!(received.last.split_header);
    assert_eq!(received.last.header_len, 0);
    assert_eq!(received.payload, frame);
}

#[test]
fn a_long_header_is_claimed_and_not_written() {
    let frame = tcp(12, 100);
    for (buffer, by, claimed) in [
        (256, 1, Some(257)),
        (256, 767, Some(1023)),
        (256, 768, None),
    ] {
        let mut bench = Bench::new(buffer, 0, 0);
        bench.fault = CompletionFault::HeaderLong(by);
        bench.post(1);
        bench.deliver(&frame);
        let received = bench.receive().unwrap();
        let exact = (frame.len() - 100) as u16;
        assert_eq!(received.last.header_len, claimed.unwrap_or(exact));
        assert_eq!(received.payload, frame[usize::from(exact)..]);
        // Past the real header nothing was written.
        assert!(
            received.header[usize::from(exact)..]
                .iter()
                .all(|&byte| byte == 0)
        );
    }

    let mut bench = Bench::new(256, 0, 0);
    bench.fault = CompletionFault::HeaderLong(1);
    bench.post(1);
    bench.deliver(&arp());
    assert!(!bench.receive().unwrap().last.split_header);
}

#[test]
fn long_data_is_claimed_and_not_written() {
    for (by, claimed) in [(1, SIZE + 1), (u16::MAX, MAX_PACKET_LEN)] {
        let mut bench = Bench::new(256, 0, 0);
        bench.fault = CompletionFault::DataLong(by);
        bench.post(2);
        bench.deliver(&tcp(12, 3000));
        let first = bench.completion().unwrap();
        assert_eq!((first.packet_len, first.end_of_packet), (claimed, false));
        let second = bench.completion().unwrap();
        assert_eq!((second.packet_len, second.end_of_packet), (952, true));
        // Nothing was written behind the end of the second buffer's share.
        let mut raw = [9; 4];
        let at = DATA + u64::from(SIZE) + 952;
        bench.memory.read(at, &mut raw).unwrap();
        assert_eq!(raw, [0; 4]);
    }
}

#[test]
fn a_lost_end_is_all_that_is_lost() {
    let mut bench = Bench::new(256, 0, 0);
    bench.fault = CompletionFault::EndLost;
    bench.post(2);
    bench.deliver(&tcp(12, 100));
    let only = bench.completion().unwrap();
    assert_eq!((only.packet_len, only.end_of_packet), (100, false));
    assert!(only.split_header);
    assert!(bench.completion().is_none());
    bench.fault = CompletionFault::None;
    bench.deliver(&tcp(12, 200));
    let whole = bench.receive().unwrap();
    assert_eq!((whole.payload.len(), whole.buffers), (200, 1));
}

#[test]
fn what_cannot_be_split_is_not() {
    let mut bench = Bench::new(256, 0, 0);
    let mut fragment = tcp(0, 100);
    fragment[20] |= 0x20;
    let small_header = tcp(0, 100);
    for frame in [arp(), fragment] {
        bench.post(1);
        bench.deliver(&frame);
        let received = bench.receive().unwrap();
        assert!(received.header.is_empty());
        assert_eq!(received.payload, frame);
        assert!(!received.last.l3_l4_processed);
    }
    assert_eq!(bench.counters.unsplit, 2);
    // A header that is bigger than its buffer.
    let mut bench = Bench::new(53, 0, 0);
    bench.post(1);
    bench.deliver(&small_header);
    let received = bench.receive().unwrap();
    assert!(received.header.is_empty());
    assert_eq!(received.payload, small_header);
}

#[test]
fn late_split_leaves_payload_with_the_header() {
    for (late, room, len) in [(10, 256, 100), (10, 256, 5), (10, 256, 0), (500, 256, 1000)] {
        let mut bench = Bench::new(room, late, 0);
        bench.post(1);
        let frame = tcp(12, len);
        bench.deliver(&frame);
        let received = bench.receive().unwrap();
        let header = (66 + late as usize).min(room.into()).min(frame.len());
        assert_eq!(received.header, frame[..header]);
        assert_eq!(received.payload, frame[header..]);
    }
}

#[test]
fn wrong_checksums_are_reported() {
    let mut bench = Bench::new(256, 0, 0);
    let mut frame = tcp(0, 100);
    *frame.last_mut().unwrap() ^= 1;
    bench.post(1);
    bench.deliver(&frame);
    assert!(bench.receive().unwrap().last.csum_l4_err);
    let mut frame = tcp(0, 100);
    frame[22] ^= 1; // time to live
    bench.post(1);
    bench.deliver(&frame);
    let received = bench.receive().unwrap();
    assert!(received.last.csum_ip_err && !received.last.csum_l4_err);
    assert_eq!(bench.counters.bad_checksum, 2);
}

#[test]
fn never_half_a_packet() {
    let mut bench = Bench::new(256, 0, 0);
    bench.post(4);
    assert_eq!(bench.deliver(&tcp(0, 5 * usize::from(SIZE))), 0);
    assert_eq!(bench.counters.no_buffers, 1);
    assert!(bench.receive().is_none());
    assert_ne!(bench.deliver(&tcp(0, 4 * usize::from(SIZE))), 0);
    assert_eq!(bench.receive().unwrap().buffers, 4);
}

#[test]
fn backlog_keeps_order_and_is_bounded() {
    let mut bench = Bench::new(256, 0, 3);
    bench.post(1);
    for len in 1..=6 {
        bench.deliver(&tcp(0, len));
    }
    assert_eq!(bench.receive().unwrap().payload.len(), 1);
    assert!(bench.receive().is_none());
    assert_eq!(bench.counters.backlogged, 3);
    assert_eq!(bench.counters.no_buffers, 2);
    bench.post(2);
    // The newcomer waits behind those that were there before.
    bench.deliver(&tcp(0, 7));
    assert_ne!(bench.drain(), 0);
    for len in 2..=3 {
        assert_eq!(bench.receive().unwrap().payload.len(), len);
    }
    assert_eq!(bench.drain(), 0);
    bench.post(8);
    assert_ne!(bench.drain(), 0);
    assert_eq!(bench.receive().unwrap().payload.len(), 4);
}

#[test]
fn many_laps() {
    let mut bench = Bench::new(256, 0, 0);
    bench.post(ENTRIES - 1);
    for round in 0..1000 {
        let frame = tcp(0, round * 7 % 4000);
        assert_ne!(bench.deliver(&frame), 0);
        let received = bench.receive().unwrap();
        assert_eq!([received.header, received.payload].concat(), frame);
        bench.post(received.buffers as u16);
    }
}

#[test]
fn unmapped_buffers_come_back_as_errors() {
    let mut bench = Bench::new(256, 0, 0);
    bench.post(3);
    let mut buffer = Buffer::new_zeroed();
    buffer.buf_id = 77.into();
    buffer.address = 0xdead_0000_0000.into();
    buffer.header_address = HEADERS.into();
    bench
        .memory
        .write(BUFFERS + BUFFER_BYTES, buffer.as_bytes())
        .unwrap();
    bench.deliver(&tcp(0, 5000));
    for id in [0, 77, 2] {
        let completion = bench.completion().unwrap();
        assert_eq!(completion.buf_id, id);
        assert!(completion.rx_error && completion.end_of_packet);
    }
    assert!(bench.completion().is_none());
    bench.post(1);
    bench.deliver(&tcp(0, 10));
    assert_eq!(bench.receive().unwrap().payload.len(), 10);
}

#[test]
fn ring_that_is_too_small_for_the_frame() {
    let mut bench = Bench::new(0, 0, 100);
    bench.queue.config.packet_buffer = 64;
    bench.post(ENTRIES - 1);
    assert_eq!(bench.deliver(&tcp(0, 64 * 64)), 0);
    assert_eq!(bench.counters.over_mru, 1);
    assert!(bench.queue.backlog.is_empty());
}

#[test]
fn buffers_that_are_smaller_than_the_headers() {
    let mut bench = Bench::new(0, 0, 0);
    bench.queue.config.packet_buffer = 16;
    let frame = tcp(12, 100);
    bench.post(ENTRIES - 1);
    assert_ne!(bench.deliver(&frame), 0);
    let received = bench.receive().unwrap();
    assert_eq!(received.payload, frame);
    assert_eq!(received.buffers, frame.len().div_ceil(16));
    // Nothing was written behind the end of a buffer.
    let mut raw = [9; 4];
    bench.memory.read(DATA + 16, &mut raw).unwrap();
    assert_eq!(raw, [0; 4]);
}
