// SPDX-License-Identifier: GPL-2.0
//! The program itself, with the vfio-user client of the crate in the place of
//! QEMU: sockets, memory from file descriptors, interrupts, signals, files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::expect_used)]

use gve_wire::adminq::{
    Command as AdminCommand, ConfigureDeviceResources, CreateTxQueue, DescribeDevice,
    FORMAT_DQO_RDA, Opcode, RAW_ADDRESSING_QPL, Status,
};
use gve_wire::describe::DeviceDescriptor;
use gve_wire::registers::{
    ADMINQ_BASE_LO, ADMINQ_DOORBELL, ADMINQ_EVENT_COUNTER, ADMINQ_LENGTH, DEVICE_STATUS,
    DRIVER_STATUS, status,
};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use vfio_user::Client;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

const REGISTERS: u32 = 0;
const CONFIG: u32 = 7;
const MSIX: u32 = 2;
/// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER`.
const EVENTFD_TRIGGER: u32 = 0x24;
const MEMORY: u64 = 0x10_0000;
const MEMORY_BYTES: u64 = 0x10_0000;
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(extra: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_gvnic"))
            .args(["--socket", &at("a"), "--socket", &at("b")])
            .args(["--ready-file", &at("ready"), "--stats", &at("stats.json")])
            .args(["--fault-file", &at("faults")])
            .args(extra)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { child, folder };
        wait_for("the server", || server.path("ready").exists().then_some(()));
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> (ExitStatus, tempfile::TempDir) {
        let status = wait_for("the end", || self.child.try_wait().unwrap());
        (status, self.folder)
    }
}

fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A guest as far as the device sees one.
struct Guest {
    client: Client,
    memory: File,
    commands: u32,
}

impl Guest {
    fn connect(socket: &Path) -> Guest {
        let memory = tempfile::tempfile().unwrap();
        memory.set_len(MEMORY_BYTES).unwrap();
        let mut client = Client::new(socket).unwrap();
        client
            .dma_map(0, MEMORY, MEMORY_BYTES, memory.as_raw_fd())
            .unwrap();
        Guest {
            client,
            memory,
            commands: 0,
        }
    }

    fn read(&mut self, region: u32, offset: u64) -> [u8; 4] {
        let mut raw = [0; 4];
        self.client.region_read(region, offset, &mut raw).unwrap();
        raw
    }

    fn register(&mut self, offset: u64) -> u32 {
        u32::from_be_bytes(self.read(REGISTERS, offset))
    }

    fn set_register(&mut self, offset: u64, data: &[u8]) {
        self.client.region_write(REGISTERS, offset, data).unwrap();
    }

    fn start(&mut self) {
        self.set_register(ADMINQ_LENGTH, &4096u16.to_be_bytes());
        self.set_register(ADMINQ_BASE_LO, &(MEMORY as u32).to_be_bytes());
        self.set_register(DRIVER_STATUS, &1u32.to_be_bytes());
    }

    fn command<T: IntoBytes + Immutable>(&mut self, opcode: Opcode, body: &T) -> u32 {
        let mut command = AdminCommand::new_zeroed();
        command.opcode = (opcode as u32).into();
        command.body[..size_of::<T>()].copy_from_slice(body.as_bytes());
        let slot = u64::from(self.commands % 64) * 64;
        self.memory.write_all_at(command.as_bytes(), slot).unwrap();
        self.commands += 1;
        self.set_register(ADMINQ_DOORBELL, &self.commands.to_be_bytes());
        assert_eq!(self.register(ADMINQ_EVENT_COUNTER), self.commands);
        let mut raw = [0; 4];
        self.memory.read_exact_at(&mut raw, slot + 4).unwrap();
        u32::from_be_bytes(raw)
    }
}

#[test]
fn from_connection_to_goodbye() {
    let server = Server::start(&["--queues", "4", "--mac-base", "02:00:00:00:00:10"]);
    let mut guest = Guest::connect(&server.path("a"));
    let mut other = Guest::connect(&server.path("b"));
    assert_eq!(guest.read(CONFIG, 0), [0xe0, 0x1a, 0x42, 0x00]);
    assert_eq!(guest.client.get_irq_info(MSIX).unwrap().count, 9);

    let event = eventfd(0, EventfdFlags::empty()).unwrap();
    guest
        .client
        .set_irqs(MSIX, EVENTFD_TRIGGER, 8, 1, &[event.as_raw_fd()])
        .unwrap();
    let passed = Status::Passed as u32;
    for (guest, last) in [(&mut guest, 0x10), (&mut other, 0x11)] {
        guest.start();
        let request = DescribeDevice {
            address: (MEMORY + 0x1000).into(),
            version: 1.into(),
            available: 4096.into(),
        };
        assert_eq!(guest.command(Opcode::DescribeDevice, &request), passed);
        let mut raw = [0; 40];
        guest.memory.read_exact_at(&mut raw, 0x1000).unwrap();
        let descriptor = DeviceDescriptor::read_from_bytes(&raw).unwrap();
        assert_eq!(descriptor.mac, [2, 0, 0, 0, 0, last]);
    }
    let resources = ConfigureDeviceResources {
        counter_array: (MEMORY + 0x2000).into(),
        irq_db_address: (MEMORY + 0x3000).into(),
        num_counters: 8.into(),
        num_irq_dbs: 8.into(),
        irq_db_stride: 64.into(),
        ntfy_blk_msix_base: 0.into(),
        queue_format: FORMAT_DQO_RDA,
        reserved: [0; 7],
    };
    let queue = CreateTxQueue {
        queue_id: 0.into(),
        reserved: 0.into(),
        queue_resources: (MEMORY + 0x4000).into(),
        tx_ring: (MEMORY + 0x5000).into(),
        queue_page_list_id: RAW_ADDRESSING_QPL.into(),
        ntfy_id: 0.into(),
        completion_ring: (MEMORY + 0x6000).into(),
        tx_ring_size: 256.into(),
        completion_ring_size: 256.into(),
        padding: [0; 4],
    };
    let configured = guest.command(Opcode::ConfigureDeviceResources, &resources);
    assert_eq!(configured, passed);
    assert_eq!(guest.command(Opcode::CreateTxQueue, &queue), passed);

    // A fault that comes while the device runs, and its interrupt.
    let applied = server.path("faults.applied");
    fs::write(
        server.path("faults"),
        "# soon\nreset-request=after-ms=1,port=0\n",
    )
    .unwrap();
    wait_for("the fault", || applied.exists().then_some(()));
    let mut ready = [PollFd::new(&event, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut ready, Some(&limit)).unwrap(), 1);
    let wanted = status::RESET_REQUEST | status::LINK_UP;
    assert_eq!(guest.register(DEVICE_STATUS), wanted);
    fs::write(server.path("faults"), "gremlins\n").unwrap();
    wait_for("the error", || {
        let text = fs::read_to_string(&applied).unwrap();
        text.starts_with("error: no fault is called 'gremlins'")
            .then_some(())
    });

    // The bus resets the device; its memory stays mapped.
    guest.client.reset().unwrap();
    assert_eq!(
        guest.register(DEVICE_STATUS),
        status::IS_RESET | status::LINK_UP
    );
    guest.commands = 0;
    guest.start();
    let configured = guest.command(Opcode::ConfigureDeviceResources, &resources);
    assert_eq!(configured, passed);
    // Without its memory the device can do nothing, and says so.
    guest.client.dma_unmap(MEMORY, MEMORY_BYTES).unwrap();
    guest.set_register(ADMINQ_DOORBELL, &2u32.to_be_bytes());
    assert_eq!(guest.register(ADMINQ_EVENT_COUNTER), 2);

    let _ = fs::remove_file(server.path("stats.json"));
    server.signal(Signal::USR1);
    let report = wait_for("counters", || fs::read(server.path("stats.json")).ok());
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let port = &report["ports"][0];
    assert_eq!(port["admin"]["DESCRIBE_DEVICE"], 1);
    assert_eq!(port["faults"]["reset-request"], 1);
    assert_eq!(port["tx"].as_array().unwrap().len(), 4);
    assert!(port["anomalies"]["dma_read"].as_u64().unwrap() > 0);

    drop(guest);
    drop(other);
    let (status, folder) = server.end();
    assert!(status.success());
    assert!(!folder.path().join("a").exists());
    assert!(folder.path().join("stats.json").exists());
}

#[test]
fn signal_ends_it() {
    let server = Server::start(&[]);
    let _guest = Guest::connect(&server.path("a"));
    server.signal(Signal::TERM);
    let (status, folder) = server.end();
    assert!(status.success());
    assert!(!folder.path().join("a").exists());
}

#[test]
fn persistent_server_takes_the_next_client() {
    let server = Server::start(&["--persist"]);
    for _ in 0..2 {
        let mut guest = Guest::connect(&server.path("a"));
        guest.start();
        assert_eq!(guest.register(DEVICE_STATUS), status::LINK_UP);
    }
    server.signal(Signal::INT);
    assert!(server.end().0.success());
}

#[test]
fn occupied_socket_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("taken");
    fs::write(&socket, b"").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gvnic"))
        .arg("--socket")
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("taken"), "{text}");
    assert!(socket.exists());
}
