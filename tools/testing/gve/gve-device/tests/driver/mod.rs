// SPDX-License-Identifier: GPL-2.0
//! A driver in miniature: enough to bring a port up, send and receive, over
//! plain memory. It reads what the device wrote the way a driver would, by
//! index and generation.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, missing_docs)]
#![allow(clippy::indexing_slicing, clippy::expect_used)]

use gve_device::fault::FaultSet;
use gve_device::memory::PlainMemory;
use gve_device::{DeviceConfig, GuestMemory, Hub, InterruptSink, Port};
use gve_wire::adminq::{
    Command, ConfigureDeviceResources, CreateRxQueue, CreateTxQueue, DescribeDevice, DestroyQueue,
    FORMAT_DQO_RDA, Opcode, QueueResources, RAW_ADDRESSING_QPL, Status,
};
use gve_wire::registers;
use gve_wire::{rx, tx};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

pub const BASE: u64 = 0x10_0000;
pub const BYTES: usize = 0x60_0000;
const ADMINQ: u64 = BASE;
const SCRATCH: u64 = BASE + 0x1000;
const COUNTERS: u64 = BASE + 0x3000;
const IRQ_DOORBELLS: u64 = BASE + 0x4000;
const QUEUES: u64 = BASE + 0x10_0000;
const QUEUE_BYTES: u64 = 0x8_0000;
pub const RING: u16 = 64;
pub const BUFFER: u16 = 2048;
pub const HEADER: u16 = 256;

#[derive(Default)]
pub struct Fired(Mutex<Vec<u32>>);

impl Fired {
    pub fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl InterruptSink for Fired {
    fn fire(&self, vector: u32) {
        self.0.lock().unwrap().push(vector);
    }
}

/// Rings of one queue, in the driver's eyes.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Address that all else is relative to.
    base: u64,
    doorbell: u64,
    tail: u16,
    seen: u16,
    generation: bool,
}

impl Rings {
    fn step(&mut self) {
        self.seen = (self.seen + 1) % RING;
        if self.seen == 0 {
            self.generation = !self.generation;
        }
    }
}

/// A packet that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub header: Vec<u8>,
    pub payload: Vec<u8>,
    pub last: rx::Completion,
}

impl Received {
    pub fn whole(&self) -> Vec<u8> {
        [self.header.clone(), self.payload.clone()].concat()
    }
}

pub struct Driver {
    pub hub: Arc<Hub>,
    pub id: usize,
    pub port: Arc<Port>,
    pub memory: Arc<PlainMemory>,
    pub fired: Arc<Fired>,
    submitted: u32,
    blocks: u32,
}

/// Ports joined by a wire, and a driver on each.
pub fn machine(config: &DeviceConfig, faults: &[&str], ports: usize) -> Vec<Driver> {
    let specs: Vec<_> = faults.iter().map(|spec| spec.parse().unwrap()).collect();
    let devices: Vec<_> = (0..ports)
        .map(|id| {
            let faults = FaultSet::build(&specs, id, 1).unwrap();
            Arc::new(Port::new(id, config.clone(), faults))
        })
        .collect();
    let hub = Arc::new(Hub::new(devices, Box::new(gve_net::fabric::Wire)));
    (0..ports)
        .map(|id| {
            let port = hub.ports()[id].clone();
            let memory = Arc::new(PlainMemory::new(BASE, BYTES));
            let fired = Arc::new(Fired::default());
            port.set_memory(memory.clone());
            port.connect_interrupts(fired.clone());
            Driver {
                hub: hub.clone(),
                id,
                port,
                memory,
                fired,
                submitted: 0,
                blocks: config.blocks(),
            }
        })
        .collect()
}

impl Driver {
    pub fn read_register(&self, offset: u64) -> u32 {
        let mut raw = [0; 4];
        self.port.read_registers(offset, &mut raw);
        u32::from_be_bytes(raw)
    }

    pub fn write_register(&self, offset: u64, value: u32) {
        self.port
            .write_registers(offset, &value.to_be_bytes(), Instant::now());
    }

    pub fn load<T: FromBytes + IntoBytes>(&self, address: u64) -> T {
        (&*self.memory as &dyn GuestMemory).load(address).unwrap()
    }

    pub fn store<T: IntoBytes + Immutable + ?Sized>(&self, address: u64, value: &T) {
        self.memory.write(address, value.as_bytes()).unwrap();
    }

    /// Starts the admin queue.
    pub fn start(&mut self) {
        self.port.write_registers(
            registers::ADMINQ_LENGTH,
            &4096u16.to_be_bytes(),
            Instant::now(),
        );
        self.write_register(registers::ADMINQ_BASE_HI, (ADMINQ >> 32) as u32);
        self.write_register(registers::ADMINQ_BASE_LO, ADMINQ as u32);
        self.write_register(registers::DRIVER_STATUS, registers::driver_status::RUN);
        self.submitted = 0;
        assert_eq!(self.read_register(registers::ADMINQ_EVENT_COUNTER), 0);
    }

    /// Releases the admin queue and waits for the device's word.
    pub fn release(&mut self) {
        self.write_register(registers::DRIVER_STATUS, registers::driver_status::RESET);
        assert_ne!(
            self.read_register(registers::DEVICE_STATUS) & registers::status::IS_RESET,
            0
        );
    }

    fn put_command<T: IntoBytes + Immutable>(&mut self, opcode: u32, body: &T) -> u64 {
        let mut command = Command::new_zeroed();
        command.opcode = opcode.into();
        let bytes = body.as_bytes();
        command.body[..bytes.len()].copy_from_slice(bytes);
        let slot = ADMINQ + u64::from(self.submitted % 64) * 64;
        self.store(slot, &command);
        self.submitted += 1;
        slot
    }

    /// Runs one command; `None` if it does not complete.
    pub fn command<T: IntoBytes + Immutable>(&mut self, opcode: u32, body: &T) -> Option<u32> {
        let slot = self.put_command(opcode, body);
        self.write_register(registers::ADMINQ_DOORBELL, self.submitted);
        let done = self.read_register(registers::ADMINQ_EVENT_COUNTER) == self.submitted;
        done.then(|| self.load::<Command>(slot).status.get())
    }

    pub fn passes<T: IntoBytes + Immutable>(&mut self, opcode: Opcode, body: &T) {
        assert_eq!(
            self.command(opcode as u32, body),
            Some(Status::Passed as u32),
            "{opcode:?}"
        );
    }

    /// Runs a batch with one doorbell, and gives every status.
    pub fn batch<T: IntoBytes + Immutable>(&mut self, commands: &[(Opcode, T)]) -> Vec<u32> {
        let slots: Vec<u64> = commands
            .iter()
            .map(|(opcode, body)| self.put_command(*opcode as u32, body))
            .collect();
        self.write_register(registers::ADMINQ_DOORBELL, self.submitted);
        assert_eq!(
            self.read_register(registers::ADMINQ_EVENT_COUNTER),
            self.submitted
        );
        slots
            .into_iter()
            .map(|slot| self.load::<Command>(slot).status.get())
            .collect()
    }

    /// Scratch memory for a command's buffers.
    pub fn scratch(&self) -> u64 {
        SCRATCH
    }

    pub fn describe(&mut self) -> Vec<u8> {
        let request = DescribeDevice {
            address: SCRATCH.into(),
            version: 1.into(),
            available: 4096.into(),
        };
        self.passes(Opcode::DescribeDevice, &request);
        let mut raw = vec![0; 4096];
        self.memory.read(SCRATCH, &mut raw).unwrap();
        raw
    }

    pub fn configure(&mut self) {
        let request = ConfigureDeviceResources {
            counter_array: COUNTERS.into(),
            irq_db_address: IRQ_DOORBELLS.into(),
            num_counters: self.blocks.into(),
            num_irq_dbs: self.blocks.into(),
            irq_db_stride: 64.into(),
            ntfy_blk_msix_base: 0.into(),
            queue_format: FORMAT_DQO_RDA,
            reserved: [0; 7],
        };
        self.passes(Opcode::ConfigureDeviceResources, &request);
    }

    /// Handshake, description, resources.
    pub fn probe(&mut self) {
        self.start();
        self.describe();
        self.configure();
    }

    fn queue_base(&self, index: u16) -> u64 {
        QUEUES + u64::from(index) * QUEUE_BYTES
    }

    pub fn tx_request(&self, id: u16) -> CreateTxQueue {
        let base = self.queue_base(2 * id);
        CreateTxQueue {
            queue_id: u32::from(id).into(),
            reserved: 0.into(),
            queue_resources: base.into(),
            tx_ring: (base + 0x1000).into(),
            queue_page_list_id: RAW_ADDRESSING_QPL.into(),
            ntfy_id: u32::from(id).into(),
            completion_ring: (base + 0x2000).into(),
            tx_ring_size: RING.into(),
            completion_ring_size: RING.into(),
            padding: [0; 4],
        }
    }

    pub fn rx_request(&self, id: u16, split: bool) -> CreateRxQueue {
        let base = self.queue_base(2 * id + 1);
        CreateRxQueue {
            queue_id: u32::from(id).into(),
            index: 0.into(),
            reserved: 0.into(),
            ntfy_id: (self.blocks / 2 + u32::from(id)).into(),
            queue_resources: base.into(),
            completion_ring: (base + 0x2000).into(),
            buffer_ring: (base + 0x1000).into(),
            queue_page_list_id: RAW_ADDRESSING_QPL.into(),
            completion_ring_size: RING.into(),
            packet_buffer_size: BUFFER.into(),
            buffer_ring_size: RING.into(),
            enable_rsc: 1,
            padding1: 0,
            header_buffer_size: if split { HEADER } else { 0 }.into(),
            padding2: [0; 2],
        }
    }

    fn rings(&self, index: u16) -> Rings {
        let base = self.queue_base(index);
        let resources: QueueResources = self.load(base);
        Rings {
            base,
            doorbell: u64::from(resources.db_index.get()) * 4,
            tail: 0,
            seen: 0,
            generation: true,
        }
    }

    pub fn create_tx(&mut self, id: u16) -> Rings {
        let request = self.tx_request(id);
        self.store(self.queue_base(2 * id), &vec![0u8; 0x4000][..]);
        self.passes(Opcode::CreateTxQueue, &request);
        self.rings(2 * id)
    }

    pub fn create_rx(&mut self, id: u16, split: bool) -> Rings {
        let request = self.rx_request(id, split);
        self.store(self.queue_base(2 * id + 1), &vec![0u8; 0x4000][..]);
        self.passes(Opcode::CreateRxQueue, &request);
        self.rings(2 * id + 1)
    }

    pub fn destroy_rx(&mut self, id: u16) {
        let request = DestroyQueue {
            queue_id: u32::from(id).into(),
        };
        self.passes(Opcode::DestroyRxQueue, &request);
    }

    pub fn doorbell(&self, offset: u64, value: u32) -> Option<Instant> {
        self.hub
            .write_doorbell(self.id, offset, &value.to_le_bytes(), Instant::now())
    }

    /// Arms a notification block, by the index that the device told.
    pub fn arm(&self, block: u32) -> Option<Instant> {
        let mut raw = [0; 4];
        self.memory
            .read(IRQ_DOORBELLS + u64::from(block) * 64, &mut raw)
            .unwrap();
        self.doorbell(u64::from(u32::from_be_bytes(raw)) * 4, 0x19)
    }

    /// Posts every buffer but one.
    pub fn fill(&self, rings: &mut Rings) {
        let count = (rings.seen + RING - 1 - rings.tail) % RING;
        self.post(rings, count);
    }

    pub fn post(&self, rings: &mut Rings, count: u16) {
        for _ in 0..count {
            let mut buffer = rx::Buffer::new_zeroed();
            let id = rings.tail;
            buffer.buf_id = id.into();
            buffer.address = data(rings, id).into();
            buffer.header_address = header(rings, id).into();
            let at = rings.base + 0x1000 + u64::from(id) * rx::BUFFER_BYTES;
            self.store(at, &buffer);
            rings.tail = (rings.tail + 1) % RING;
        }
        self.doorbell(rings.doorbell, rings.tail.into());
    }

    /// Sends descriptors that are made from addresses in the queue's memory.
    pub fn send(&self, rings: &mut Rings, packet: &[u8], tso: Option<tx::TsoContext>, tag: u16) {
        let address = rings.base + 0x8000;
        self.store(address, packet);
        let mut raw = Vec::new();
        raw.extend(tso.map(|tso| tso.encode()));
        raw.push(tx::general_context());
        let pieces: Vec<(u64, usize)> = (0..packet.len())
            .step_by(10_000)
            .map(|at| (address + at as u64, 10_000.min(packet.len() - at)))
            .collect();
        for (index, (address, length)) in pieces.iter().enumerate() {
            raw.push(
                tx::Packet {
                    address: *address,
                    length: *length as u16,
                    tag,
                    end_of_packet: index + 1 == pieces.len(),
                    checksum_offload: true,
                    report_event: false,
                }
                .encode(),
            );
        }
        for descriptor in raw {
            let at = rings.base + 0x1000 + u64::from(rings.tail) * tx::DESCRIPTOR_BYTES;
            self.store(at, &descriptor);
            rings.tail = (rings.tail + 1) % RING;
        }
        self.doorbell(rings.doorbell, rings.tail.into());
    }

    pub fn tx_completions(&self, rings: &mut Rings) -> Vec<tx::Completion> {
        let mut found = Vec::new();
        loop {
            let mut raw = [0; 8];
            let at = rings.base + 0x2000 + u64::from(rings.seen) * tx::COMPLETION_BYTES;
            self.memory.read(at, &mut raw).unwrap();
            match tx::Completion::decode(u64::from_le_bytes(raw)) {
                Some((completion, generation)) if generation == rings.generation => {
                    found.push(completion);
                }
                _ => return found,
            }
            rings.step();
        }
    }

    pub fn receive(&self, rings: &mut Rings) -> Vec<Received> {
        let mut packets = Vec::new();
        let mut received: Option<Received> = None;
        loop {
            let mut raw = [0; 32];
            let at = rings.base + 0x2000 + u64::from(rings.seen) * rx::COMPLETION_BYTES;
            self.memory.read(at, &mut raw).unwrap();
            let (completion, generation) = rx::Completion::decode(&raw);
            if raw[0] != 1 || generation != rings.generation {
                assert!(received.is_none(), "packet without its end");
                return packets;
            }
            rings.step();
            assert!(!completion.rx_error);
            let first = received.is_none();
            let packet = received.get_or_insert_with(|| Received {
                header: Vec::new(),
                payload: Vec::new(),
                last: completion,
            });
            assert!(first || !completion.split_header);
            let id = completion.buf_id;
            let memory = &*self.memory;
            memory
                .append(
                    header(rings, id),
                    completion.header_len.into(),
                    &mut packet.header,
                )
                .unwrap();
            memory
                .append(
                    data(rings, id),
                    completion.packet_len.into(),
                    &mut packet.payload,
                )
                .unwrap();
            if completion.end_of_packet {
                packet.last = completion;
                packets.extend(received.take());
            }
        }
    }
}

fn data(rings: &Rings, id: u16) -> u64 {
    rings.base + 0x20000 + u64::from(id) * u64::from(BUFFER)
}

fn header(rings: &Rings, id: u16) -> u64 {
    rings.base + 0x10000 + u64::from(id) * u64::from(HEADER)
}
