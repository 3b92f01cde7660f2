// SPDX-License-Identifier: GPL-2.0
//! `serve --host` and `send` over the loopback: the same verification as with
//! a dma-buf, on any machine; and every way to spoil a stream has to be seen.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

const NCDEVMEM: &str = env!("CARGO_BIN_EXE_ncdevmem");

/// A directory for one test's files.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn json(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

/// Starts a server on a free port and waits until it listens.
fn serve(scratch: &Scratch, args: &str) -> (Child, u16) {
    let ready = scratch.path("ready.json");
    let child = Command::new(NCDEVMEM)
        .args([
            "serve",
            "--host",
            "--port",
            "0",
            "--timeout",
            "20",
            "--ready-file",
        ])
        .arg(&ready)
        .args(["--json", &scratch.path("serve.json")])
        .args(args.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !fs::exists(&ready).unwrap() {
        assert!(start.elapsed() < Duration::from_secs(20), "never ready");
        thread::sleep(Duration::from_millis(10));
    }
    let port = scratch.json("ready.json")["port"].as_u64().unwrap();
    (child, u16::try_from(port).unwrap())
}

fn send(scratch: &Scratch, to: &str, args: &str) -> Output {
    Command::new(NCDEVMEM)
        .args(["send", "--timeout", "20", "--to", to, "--json"])
        .arg(scratch.path("send.json"))
        .args(args.split_whitespace())
        .output()
        .unwrap()
}

/// Runs both ends, checks that they agree on success, and returns the
/// server's result.
fn run(name: &str, host: &str, serve_args: &str, send_args: &str) -> Value {
    let scratch = Scratch::new(name);
    let (server, port) = serve(&scratch, serve_args);
    let sent = send(&scratch, &format!("{host}:{port}"), send_args);
    let served = server.wait_with_output().unwrap();
    let result = scratch.json("serve.json");
    assert_eq!(served.status.success(), result["ok"], "{served:?}");
    assert_eq!(sent.status.success(), scratch.json("send.json")["ok"]);
    // The sender hears of it too.
    assert_eq!(
        sent.status.success(),
        served.status.success(),
        "{sent:?} {served:?}"
    );
    result
}

#[test]
fn four_flows_are_verified_over_each_family() {
    for (host, family) in [
        ("127.0.0.1", "ipv4-mapped"),
        ("[::1]", "ipv6"),
        ("[::ffff:127.0.0.1]", "ipv4-mapped"),
    ] {
        let bytes = (16 << 20) + 5;
        let result = run(
            "families",
            host,
            &format!("--flows 4 --verify --bytes {bytes}"),
            &format!("--flows 4 --bytes {bytes}"),
        );
        assert_eq!(result["ok"], true, "{result}");
        assert_eq!(result["verified"], true);
        assert_eq!(result["bytes_total"], bytes);
        assert_eq!(result["bytes_host"], bytes);
        assert_eq!(result["bytes_devmem"], 0);
        assert_eq!(result["families"], serde_json::json!([family]));
        assert_eq!(result["per_flow"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn plain_ipv4_and_odd_sizes_work() {
    let result = run(
        "odd",
        "127.0.0.1",
        "--addr 127.0.0.1 --flows 3 --verify --recv-size 777",
        "--flows 3 --bytes 300007 --chunk 1013 --nodelay --mss 536",
    );
    assert_eq!(result["ok"], true, "{result}");
    assert_eq!(result["families"], serde_json::json!(["ipv4"]));
    assert_eq!(result["bytes_total"], 300_007);
}

#[test]
fn the_smallest_stream_is_a_header() {
    let result = run("smallest", "127.0.0.1", "--verify", "--bytes 32");
    assert_eq!(
        (&result["ok"], &result["bytes_total"]),
        (&true.into(), &32.into())
    );
}

#[test]
fn every_fault_is_seen() {
    for (fault, word) in [
        ("flip:1000000", "1 bytes are wrong"),
        ("lose:1000000", "the bytes of flow 0 at"),
        ("double:1000000", "the bytes of flow 0 at"),
        ("swap:1000000", "the bytes of flow 0 at"),
        ("cut:1000000", "bytes are missing"),
        ("cut:7", "within its header"),
    ] {
        let result = run(
            &fault.replace(':', "-"),
            "127.0.0.1",
            "--flows 2 --verify",
            &format!("--flows 2 --bytes 4M --fault {fault}"),
        );
        assert_eq!(result["ok"], false, "{fault}: {result}");
        assert_eq!(result["verified"], false, "{fault}");
        let errors = result["errors"].to_string();
        assert!(errors.contains(word), "{fault}: {errors}");
        // The other flow is not blamed.
        let flows = result["per_flow"].as_array().unwrap();
        let good = flows.iter().filter(|flow| flow["verified"] == true);
        assert_eq!(good.count(), 1, "{fault}");
    }
}

#[test]
fn without_verify_nothing_is_called_verified() {
    let result = run(
        "unverified",
        "127.0.0.1",
        "--flows 1",
        "--bytes 1M --fault flip:5000",
    );
    assert_eq!(result["ok"], true);
    assert_eq!(result["verified"], false);
}

#[test]
fn a_wrong_total_fails_the_run() {
    let scratch = Scratch::new("total");
    let (server, port) = serve(&scratch, "--verify --bytes 2M");
    send(&scratch, &format!("127.0.0.1:{port}"), "--bytes 1M");
    assert_eq!(server.wait_with_output().unwrap().status.code(), Some(1));
    let result = scratch.json("serve.json");
    assert_eq!(result["ok"], false);
    assert_eq!(result["verified"], false);
}

#[test]
fn strangers_and_silence_fail_the_run() {
    use std::io::Write;
    let scratch = Scratch::new("stranger");
    let (server, port) = serve(&scratch, "--verify");
    let mut stranger = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stranger.write_all(&[b'x'; 4096]).unwrap();
    drop(stranger);
    assert_eq!(server.wait_with_output().unwrap().status.code(), Some(1));
    assert!(
        scratch.json("serve.json")["errors"]
            .to_string()
            .contains("ncdevmem send")
    );

    let scratch = Scratch::new("silence");
    let (server, port) = serve(&scratch, "--verify --flows 2 --timeout 0.5");
    let _silent = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(server.wait_with_output().unwrap().status.code(), Some(1));
    assert!(
        scratch.json("serve.json")["errors"]
            .to_string()
            .contains("1 of 2 flows connected")
    );
}

#[test]
fn a_failed_set_up_has_its_own_exit_status_and_json() {
    let scratch = Scratch::new("setup");
    let run = |command: &str| {
        let json = scratch.path(&format!("{command}.json"));
        let status = Command::new(NCDEVMEM)
            .args([command, "--dev", "no-such-if", "--queues", "1", "--json"])
            .arg(&json)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(3));
        scratch.json(&format!("{command}.json"))
    };
    let answer = run("bind");
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["errno_name"], "ENODEV");

    let result = run("serve");
    assert_eq!(result["ok"], false);
    assert_eq!(result["setup"]["errno_name"], "ENODEV");
    assert_eq!(
        (&result["bytes_total"], &result["verified"]),
        (&0.into(), &false.into())
    );
}

#[test]
fn source_ports_count_up() {
    let scratch = Scratch::new("ports");
    let (server, port) = serve(&scratch, "--flows 2 --verify");
    let base = 40_000 + (std::process::id() % 20_000);
    let args = format!("--flows 2 --bytes 64K --from 127.0.0.1 --bind-port {base}");
    let sent = send(&scratch, &format!("127.0.0.1:{port}"), &args);
    assert!(sent.status.success(), "{sent:?}");
    server.wait_with_output().unwrap();
    let result = scratch.json("serve.json");
    for flow in 0..2 {
        let peer = result["per_flow"][flow]["peer"].as_str().unwrap();
        assert!(
            peer.ends_with(&format!(":{}", base as usize + flow)),
            "{peer}"
        );
    }
}
