// SPDX-License-Identifier: GPL-2.0
//! What the program does on any machine: help, schemas, failures. What it says
//! of bindings is tested in the guest (`selftests/net/devmem/tool.py`).

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn devmem(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_devmem"))
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|err| panic!("{err}: {output:?}"))
}

#[test]
fn every_schema_describes_all_of_its_fields() {
    for of in ["list", "show", "watch", "bind", "check", "error"] {
        let schema = json(&devmem(&format!("schema {of}")));
        let properties = schema["properties"].as_object().unwrap();
        assert!(properties.contains_key("schema"), "{of}");
        for (name, field) in properties {
            let described = field.get("description").is_some() || field.get("$ref").is_some();
            assert!(described, "{of}: {name}");
        }
    }
}

#[test]
fn help_names_the_exit_statuses() {
    for command in ["list", "show", "watch", "bind", "check"] {
        let help = devmem(&format!("{command} --help"));
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains("Exit status:"), "{command}: {text}");
        assert!(text.contains("--json"), "{command}: {text}");
    }
    let text = String::from_utf8(devmem("bind --help").stdout).unwrap();
    assert!(text.contains("DEVMEM_DMABUF_FD"));
}

#[test]
fn failures_have_a_status_for_each_subcommand_and_an_object() {
    for (line, status) in [
        ("check --dev no-such-if --json", 3),
        ("bind --dev no-such-if --queues 1 --json -- true", 125),
    ] {
        let output = devmem(line);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let error = &json(&output)["error"];
        assert_eq!(error["errno_name"], "ENODEV");
        assert!(error["hint"].as_str().unwrap().contains("ip link"));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-if"));
    }
    for line in [
        "",
        "show",
        "show x",
        "bind --dev a --queues 1",
        "check",
        "watch -n 0",
    ] {
        assert_eq!(devmem(line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn a_file_gets_the_json() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("error.json");
    let _ = std::fs::remove_file(&file);
    let output = devmem(&format!("check --dev no-such-if --json={}", file.display()));
    assert!(output.stdout.is_empty());
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("no-such-if"));
}

#[test]
fn the_manual_is_written() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("man");
    assert!(
        devmem(&format!("manual {}", folder.display()))
            .status
            .success()
    );
    assert!(folder.join("devmem-check.1").is_file());
}
