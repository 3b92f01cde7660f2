// SPDX-License-Identifier: GPL-2.0
//! Two ports, a wire, and a driver in miniature on each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::expect_used)]

mod driver;

use driver::{Driver, RING, Rings, machine};
use etherparse::PacketBuilder;
use gve_device::{DeviceConfig, GuestMemory};
use gve_wire::adminq::{
    ConfigureRss, CreateRxQueue, DestroyQueue, Extended, Opcode, QueryFlowRules, QueryRss,
    ReportStats, Status,
};
use gve_wire::registers::{DEVICE_STATUS, status};
use gve_wire::steering::{ConfigureFlowRule, FlowQueryHeader, FlowRule, FlowType};
use gve_wire::tx::{Completion, TsoContext};
use std::time::{Duration, Instant};
use zerocopy::FromZeros;

fn config() -> DeviceConfig {
    DeviceConfig {
        queues: 4,
        ..DeviceConfig::default()
    }
}

fn tcp(source_port: u16, len: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..len).map(|i| (i * 5 + i / 251) as u8).collect();
    let mut out = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(source_port, 5201, 1, 1024)
        .write(&mut out, &payload)
        .unwrap();
    out
}

/// Two probed ports, one transmit queue on the first, these receive queues
/// with header split on the second.
fn pair(faults: &[&str], queues: &[u16]) -> (Driver, Driver, Rings, Vec<Rings>) {
    let mut drivers = machine(&config(), faults, 2);
    let mut receiver = drivers.pop().unwrap();
    let mut sender = drivers.pop().unwrap();
    sender.probe();
    receiver.probe();
    let tx = sender.create_tx(0);
    let rx = queues
        .iter()
        .map(|&id| {
            let mut rings = receiver.create_rx(id, true);
            receiver.fill(&mut rings);
            rings
        })
        .collect();
    (sender, receiver, tx, rx)
}

fn add_rule(driver: &mut Driver, location: u32, rule: FlowRule, operation: u16) -> u32 {
    let mut command = ConfigureFlowRule::new_zeroed();
    command.operation = operation.into();
    command.rule = rule;
    command.location = location.into();
    let at = driver.scratch();
    driver.store(at, &command);
    let extended = Extended {
        inner_opcode: 0x101.into(),
        inner_length: (size_of::<ConfigureFlowRule>() as u32).into(),
        inner_address: at.into(),
    };
    driver.command(Opcode::Extended as u32, &extended).unwrap()
}

fn port_rule(source_port: u16, queue: u16) -> FlowRule {
    let mut rule = FlowRule::new_zeroed();
    rule.flow_type = (FlowType::TcpV4 as u16).into();
    rule.action = queue.into();
    rule.key.src_port = source_port.into();
    rule.mask.src_port = 0xffff.into();
    rule
}

#[test]
fn packet_crosses_the_wire() {
    let (sender, receiver, mut tx, mut rx) = pair(&[], &[0]);
    sender.arm(0);
    receiver.arm(4);
    let packet = tcp(1, 100);
    sender.send(&mut tx, &packet, None, 9);
    assert_eq!(sender.tx_completions(&mut tx), [Completion::Packet(9)]);
    assert_eq!(sender.fired.take(), [0]);
    assert_eq!(receiver.fired.take(), [4]);
    let received = receiver.receive(&mut rx[0]);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].header, packet[..54]);
    assert_eq!(received[0].payload, packet[54..]);
    assert!(received[0].last.l3_l4_processed && !received[0].last.csum_l4_err);
    assert_ne!(received[0].last.hash, 0);
}

#[test]
fn big_packet_arrives_as_segments() {
    let (sender, receiver, mut tx, mut rx) = pair(&[], &[0]);
    let packet = tcp(1, 20_000);
    let tso = TsoContext {
        total_payload: 20_000,
        mss: 1448,
        header_len: 54,
        enabled: true,
    };
    sender.send(&mut tx, &packet, Some(tso), 1);
    let received = receiver.receive(&mut rx[0]);
    assert_eq!(received.len(), 14);
    let all: Vec<u8> = received.iter().flat_map(|r| r.payload.clone()).collect();
    assert_eq!(all, packet[54..]);
    assert!(received.iter().all(|r| !r.last.csum_l4_err));
}

#[test]
fn batch_goes_on_after_a_failure() {
    let mut driver = machine(&config(), &[], 1).remove(0);
    driver.probe();
    let mut bad = driver.tx_request(1);
    bad.tx_ring_size = 100.into();
    let good = driver.tx_request(2);
    let statuses = driver.batch(&[(Opcode::CreateTxQueue, bad), (Opcode::CreateTxQueue, good)]);
    assert_eq!(
        statuses,
        [Status::InvalidArgument as u32, Status::Passed as u32]
    );
}

#[test]
fn nonsense_commands_are_refused() {
    let mut driver = machine(&config(), &[], 1).remove(0);
    driver.start();
    // Queues before resources.
    let request = driver.tx_request(0);
    let status = driver.command(Opcode::CreateTxQueue as u32, &request);
    assert_eq!(status, Some(Status::FailedPrecondition as u32));
    driver.configure();
    assert_eq!(
        driver.command(0x77, &[0u8; 8]),
        Some(Status::Unimplemented as u32)
    );
    let invalid = Some(Status::InvalidArgument as u32);
    let good = driver.rx_request(0, true);
    let changes: [fn(&mut CreateRxQueue); 11] = [
        |r| r.queue_id = 4.into(),
        |r| r.queue_id = u32::MAX.into(),
        |r| r.ntfy_id = 8.into(),
        |r| r.buffer_ring_size = 0.into(),
        |r| r.buffer_ring_size = 0x8000.into(),
        |r| r.completion_ring_size = 96.into(),
        |r| r.packet_buffer_size = 0.into(),
        |r| r.packet_buffer_size = 0xffff.into(),
        |r| r.queue_page_list_id = 1.into(),
        |r| r.queue_resources = u64::MAX.into(),
        |r| r.completion_ring = 0x1001.into(),
    ];
    for change in changes {
        let mut bad = good;
        change(&mut bad);
        assert_eq!(driver.command(Opcode::CreateRxQueue as u32, &bad), invalid);
    }
    let gone = DestroyQueue { queue_id: 4.into() };
    assert_eq!(
        driver.command(Opcode::DestroyRxQueue as u32, &gone),
        invalid
    );
    // One that could exist but does not is destroyed already.
    let absent = DestroyQueue { queue_id: 3.into() };
    driver.passes(Opcode::DestroyRxQueue, &absent);
    driver.passes(Opcode::CreateRxQueue, &good);
}

#[test]
fn absurd_doorbells_of_the_admin_queue_are_ignored() {
    let mut driver = machine(&config(), &[], 1).remove(0);
    driver.start();
    driver.write_register(gve_wire::registers::ADMINQ_DOORBELL, 65);
    assert_eq!(
        driver.read_register(gve_wire::registers::ADMINQ_EVENT_COUNTER),
        0
    );
    driver.configure();
}

#[test]
fn queue_restart_leaves_the_others_alone() {
    let (mut sender, mut receiver, mut tx, mut rx) = pair(&[], &[0, 1]);
    assert_eq!(add_rule(&mut receiver, 0, port_rule(1, 0), 0), 1);
    assert_eq!(add_rule(&mut receiver, 1, port_rule(2, 1), 0), 1);
    for round in 0..5 {
        sender.send(&mut tx, &tcp(1, 10), None, 0);
        sender.send(&mut tx, &tcp(2, 20), None, 0);
        assert_eq!(receiver.receive(&mut rx[0]).len(), 1);
        assert_eq!(receiver.receive(&mut rx[1]).len(), 1, "round {round}");
        receiver.destroy_rx(1);
        // Queue 1 is away: its packets are dropped, not given to another.
        sender.send(&mut tx, &tcp(2, 20), None, 0);
        sender.send(&mut tx, &tcp(1, 10), None, 0);
        assert_eq!(receiver.receive(&mut rx[0]).len(), 1);
        rx[1] = receiver.create_rx(1, true);
        receiver.fill(&mut rx[1]);
        receiver.fill(&mut rx[0]);
        sender.tx_completions(&mut tx);
    }
    assert_eq!(receiver.port.counters().absent_queue, 5);
    assert_eq!(sender.port.counters().anomalies.len(), 0);
    sender.release();
}

#[test]
fn rules_come_before_rss_and_can_be_read() {
    let (sender, mut receiver, mut tx, mut rx) = pair(&[], &[0, 1, 2, 3]);
    for (location, source_port) in [(9, 40), (3, 41), (1023, 42)] {
        assert_eq!(
            add_rule(&mut receiver, location, port_rule(source_port, 3), 0),
            Status::Passed as u32
        );
    }
    for source_port in 40..43 {
        sender.send(&mut tx, &tcp(source_port, 1), None, 0);
    }
    assert_eq!(receiver.receive(&mut rx[3]).len(), 3);
    let mut query = QueryFlowRules {
        query: 1.into(),
        reserved: 0.into(),
        start_id: 4.into(),
        available: 4096.into(),
        address: receiver.scratch().into(),
    };
    receiver.passes(Opcode::QueryFlowRules, &query);
    let at = receiver.scratch();
    let header: FlowQueryHeader = receiver.load(at);
    assert_eq!(header.num_rules.get(), 3);
    assert_eq!(header.max_rules.get(), 1024);
    assert_eq!(header.num_queried.get(), 2);
    assert_eq!(header.total_length.get(), 24);
    let ids: [zerocopy::byteorder::big_endian::U32; 2] = receiver.load(at + 16);
    assert_eq!(ids.map(|id| id.get()), [9, 1023]);
    // As many as fit, and no more than the driver's cache holds.
    for location in 0..100 {
        add_rule(&mut receiver, location, port_rule(1, 0), 0);
    }
    query.query = 0.into();
    query.start_id = 0.into();
    receiver.passes(Opcode::QueryFlowRules, &query);
    let header: FlowQueryHeader = receiver.load(at);
    assert_eq!(header.num_queried.get(), 46);
    assert_eq!(header.total_length.get(), 16 + 46 * 88);
    // Errors, none of which is the one that makes the driver reset.
    assert_eq!(
        add_rule(&mut receiver, 1024, port_rule(1, 0), 0),
        Status::ResourceExhausted as u32
    );
    assert_eq!(
        add_rule(&mut receiver, 500, port_rule(1, 0), 1),
        Status::NotFound as u32
    );
    assert_eq!(
        add_rule(&mut receiver, 5, port_rule(1, 4), 0),
        Status::InvalidArgument as u32
    );
    assert_eq!(add_rule(&mut receiver, 0, port_rule(0, 0), 2), 1);
    receiver.passes(Opcode::QueryFlowRules, &query);
    assert_eq!(receiver.load::<FlowQueryHeader>(at).num_rules.get(), 0);
}

#[test]
fn rss_is_configured_and_read_back() {
    let (sender, mut receiver, mut tx, mut rx) = pair(&[], &[0, 1, 2, 3]);
    let at = receiver.scratch();
    let query = QueryRss {
        available: 4096.into(),
        address: at.into(),
    };
    receiver.passes(Opcode::QueryRss, &query);
    let mut answer = vec![0; 560];
    receiver.memory.read(at, &mut answer).unwrap();
    assert_eq!(answer[..8], [0, 0, 2, 0x30, 0, 0xd2, 1, 0]);
    let table: Vec<u8> = (0..128).flat_map(|i| [0, 0, 0, (i % 4) as u8]).collect();
    assert_eq!(answer[48..], table);
    // Everything to queue 2.
    let table: Vec<u8> = (0..128).flat_map(|_| [0, 0, 0, 2]).collect();
    receiver.store(at, &table[..]);
    let request = ConfigureRss {
        hash_types: 0xd2.into(),
        hash_alg: 1,
        reserved: 0,
        hash_key_size: 0.into(),
        hash_lut_size: 128.into(),
        hash_key: 0.into(),
        hash_lut: at.into(),
    };
    receiver.passes(Opcode::ConfigureRss, &request);
    for source_port in 0..10 {
        sender.send(&mut tx, &tcp(source_port, 1), None, 0);
        sender.tx_completions(&mut tx);
    }
    assert_eq!(receiver.receive(&mut rx[2]).len(), 10);
    receiver.passes(Opcode::QueryRss, &query);
    receiver.memory.read(at, &mut answer).unwrap();
    assert_eq!(answer[48..], table);
    for (key_size, table_size) in [(39, 0), (0, 127), (0, 65535)] {
        let mut bad = request;
        bad.hash_key_size = key_size.into();
        bad.hash_lut_size = table_size.into();
        assert_eq!(
            receiver.command(Opcode::ConfigureRss as u32, &bad),
            Some(Status::InvalidArgument as u32)
        );
    }
}

#[test]
fn default_table_does_not_notice_a_restart() {
    let (_, mut receiver, _, _) = pair(&[], &[0, 1, 2]);
    let at = receiver.scratch();
    let query = QueryRss {
        available: 4096.into(),
        address: at.into(),
    };
    let table = |receiver: &mut Driver| {
        receiver.passes(Opcode::QueryRss, &query);
        let mut raw = vec![0; 512];
        receiver.memory.read(at + 48, &mut raw).unwrap();
        raw
    };
    let before = table(&mut receiver);
    for id in [2, 1] {
        receiver.destroy_rx(id);
        assert_eq!(table(&mut receiver), before);
        receiver.create_rx(id, true);
        assert_eq!(table(&mut receiver), before);
    }
    // Fewer queues after all were closed are another matter.
    for id in 0..3 {
        receiver.destroy_rx(id);
    }
    receiver.create_rx(0, true);
    assert_eq!(table(&mut receiver), vec![0; 512]);
}

#[test]
fn reset_forgets_everything() {
    let (sender, mut receiver, mut tx, mut rx) = pair(&[], &[0, 1]);
    add_rule(&mut receiver, 0, port_rule(1, 1), 0);
    receiver.release();
    assert_eq!(
        receiver.read_register(DEVICE_STATUS),
        status::IS_RESET | status::LINK_UP
    );
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.receive(&mut rx[0]).is_empty());
    receiver.probe();
    assert_eq!(receiver.read_register(DEVICE_STATUS), status::LINK_UP);
    for id in [0, 1] {
        rx[usize::from(id)] = receiver.create_rx(id, false);
        receiver.fill(&mut rx[usize::from(id)]);
    }
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    let counters = receiver.port.counters();
    assert_eq!(counters.steered_by_rule, 0);
    assert_eq!(counters.resets, 1);
    // A driver that died and starts anew, without a release.
    receiver.probe();
    assert_eq!(receiver.port.counters().resets, 2);
}

#[test]
fn frames_wait_for_buffers() {
    let (sender, receiver, mut tx, mut rx) = pair(&[], &[0]);
    let total = usize::from(RING) + 20;
    for index in 0..total {
        sender.send(&mut tx, &tcp(1, index), None, 0);
        sender.tx_completions(&mut tx);
    }
    let mut lengths = Vec::new();
    for _ in 0..3 {
        lengths.extend(receiver.receive(&mut rx[0]).iter().map(|r| r.payload.len()));
        receiver.fill(&mut rx[0]);
    }
    assert_eq!(lengths, (0..total).collect::<Vec<_>>());
    let counters = receiver.port.counters();
    assert_eq!(counters.rx[0].no_buffers, 0);
    assert_eq!(counters.rx[0].backlogged, 21);
}

#[test]
fn report_stands_at_the_end_of_the_buffer() {
    let (mut sender, mut receiver, _, _) = pair(&[], &[0, 2]);
    let at = receiver.scratch();
    let entries = 48u64;
    let request = ReportStats {
        length: (8 + 16 * entries).into(),
        address: at.into(),
        interval: 20_000.into(),
    };
    receiver.passes(Opcode::ReportStats, &request);
    receiver.port.tick(Instant::now() + Duration::from_secs(2));
    let stat = |index: u64| {
        let mut raw = [0; 16];
        receiver.memory.read(at + 8 + 16 * index, &mut raw).unwrap();
        (raw[3], raw[7])
    };
    assert_eq!(stat(entries - 9), (0, 0));
    assert_eq!(stat(entries - 8), (65, 0));
    assert_eq!(stat(entries - 4), (65, 2));
    assert_eq!(stat(entries - 1), (68, 2));
    let detach = ReportStats {
        length: 0.into(),
        address: 0.into(),
        interval: 0.into(),
    };
    receiver.passes(Opcode::ReportStats, &detach);
    sender.release();
}

#[test]
fn failing_and_hanging_commands() {
    let mut driver = machine(
        &config(),
        &[
            "admin-fail=opcode=CREATE_RX_QUEUE,queue=1,nth=1,status=RESOURCE_EXHAUSTED",
            "admin-hang=opcode=DESTROY_RX_QUEUE,queue=2",
        ],
        1,
    )
    .remove(0);
    driver.probe();
    let request = driver.rx_request(1, true);
    assert_eq!(
        driver.command(Opcode::CreateRxQueue as u32, &request),
        Some(Status::ResourceExhausted as u32)
    );
    driver.create_rx(1, true);
    driver.create_rx(2, true);
    let destroy = |id: u32| DestroyQueue {
        queue_id: id.into(),
    };
    assert_eq!(
        driver.command(Opcode::DestroyRxQueue as u32, &destroy(2)),
        None
    );
    assert_eq!(
        driver.command(Opcode::DestroyRxQueue as u32, &destroy(1)),
        None
    );
    driver.release();
    driver.probe();
    driver.create_rx(2, true);
    let counters = driver.port.counters();
    assert_eq!(counters.faults.get("admin-fail"), Some(&1));
    assert_eq!(counters.faults.get("admin-hang"), Some(&1));
}

#[test]
fn stuck_queue_takes_nothing() {
    let (sender, receiver, mut tx, mut rx) = pair(&["queue-stuck=dir=rx,queue=0,port=1"], &[0]);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.receive(&mut rx[0]).is_empty());
    assert_eq!(receiver.port.counters().rx[0].dropped, 1);
}

#[test]
fn link_goes_down_and_up() {
    let (sender, receiver, mut tx, mut rx) =
        pair(&["link-flap=port=1,after-ms=10,down-ms=10"], &[0]);
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    receiver.port.tick(at(100));
    assert_eq!(receiver.read_register(DEVICE_STATUS), 0);
    assert_eq!(receiver.fired.take(), [8]);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.receive(&mut rx[0]).is_empty());
    receiver.port.tick(at(200));
    assert_eq!(receiver.read_register(DEVICE_STATUS), status::LINK_UP);
    assert_eq!(receiver.fired.take(), [8]);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert_eq!(receiver.receive(&mut rx[0]).len(), 1);
}

#[test]
fn reset_request_is_served_by_a_reset() {
    let (_, mut receiver, _, _) = pair(&["reset-request=port=1,after-ms=10"], &[0]);
    receiver
        .port
        .tick(Instant::now() + Duration::from_millis(50));
    assert_ne!(
        receiver.read_register(DEVICE_STATUS) & status::RESET_REQUEST,
        0
    );
    assert_eq!(receiver.fired.take(), [8]);
    receiver.release();
    assert_eq!(
        receiver.read_register(DEVICE_STATUS) & status::RESET_REQUEST,
        0
    );
}

#[test]
fn reset_request_and_link_loss_in_the_middle_of_a_command() {
    let command = "opcode=CREATE_RX_QUEUE,queue=0";
    let asked = |receiver: &Driver| receiver.read_register(DEVICE_STATUS);
    let (_, receiver, _, _) = pair(&[&format!("reset-request=port=1,{command}")], &[0]);
    assert_ne!(asked(&receiver) & status::RESET_REQUEST, 0);
    assert!(receiver.fired.take().contains(&8));

    let (sender, receiver, mut tx, mut rx) =
        pair(&[&format!("link-flap=port=1,down-ms=10,{command}")], &[0]);
    assert_eq!(asked(&receiver), 0);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.receive(&mut rx[0]).is_empty());
    receiver
        .port
        .tick(Instant::now() + Duration::from_millis(50));
    assert_eq!(asked(&receiver), status::LINK_UP);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert_eq!(receiver.receive(&mut rx[0]).len(), 1);
}

#[test]
fn frames_are_lost_doubled_and_corrupted_on_request() {
    let (sender, receiver, mut tx, mut rx) = pair(
        &[
            "drop=port=0,nth=2",
            "duplicate=port=0,nth=2",
            "corrupt=port=0,nth=4",
        ],
        &[0],
    );
    for len in 1..=4 {
        sender.send(&mut tx, &tcp(1, len), None, 0);
    }
    let received = receiver.receive(&mut rx[0]);
    // 2 is lost; 3, now the second, comes twice; 4 is the fourth.
    let lengths: Vec<usize> = received.iter().map(|r| r.payload.len()).collect();
    assert_eq!(lengths, [1, 3, 3, 4]);
    let bad: Vec<bool> = received.iter().map(|r| r.last.csum_l4_err).collect();
    assert_eq!(bad, [false, false, false, true]);
}

#[test]
fn held_frames_leave_by_the_timer() {
    let (sender, receiver, mut tx, mut rx) = pair(&["reorder=port=0,by=1"], &[0]);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.receive(&mut rx[0]).is_empty());
    sender.hub.tick(Instant::now() + Duration::from_secs(1));
    assert_eq!(receiver.receive(&mut rx[0]).len(), 1);
}

#[test]
fn lost_interrupt() {
    let (sender, receiver, mut tx, _) = pair(&["irq-lost=port=1,block=4"], &[0]);
    receiver.arm(4);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert!(receiver.fired.take().is_empty());
    receiver.arm(4);
    sender.send(&mut tx, &tcp(1, 1), None, 0);
    assert_eq!(receiver.fired.take(), [4]);
    assert_eq!(receiver.port.counters().interrupts_lost, 1);
}
