// SPDX-License-Identifier: GPL-2.0
//! Numbers for people. What is not known is a dash.

use crate::bindings::{Niovs, Socket};

/// A value or a dash.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

/// Bytes with a binary unit.
pub fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value.fract() != 0.0);
    format!("{value:.digits$} {}", units[unit])
}

/// Numbers separated by commas; a dash for none.
pub fn list(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "-".into();
    }
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

/// `used/total`, and the percentage.
pub fn usage(niovs: &Niovs) -> String {
    match (niovs.used, niovs.total) {
        (Some(used), Some(total)) if total > 0 => {
            format!("{used}/{total} ({} %)", used * 100 / total)
        }
        (used, _) => or_dash(used),
    }
}

/// Occupancy as a bar: `#` out, `+` idle, `.` free. Whatever there is of a kind
/// shows as one character at least.
pub fn bar(niovs: &Niovs, width: usize) -> String {
    let (Some(total), Some(out), Some(idle)) = (niovs.total, niovs.out, niovs.idle) else {
        return "?".into();
    };
    if total == 0 || width == 0 {
        return String::new();
    }
    let cells = |part: u64| {
        let cells = (u128::from(part) * width as u128 / u128::from(total)) as usize;
        cells.max(usize::from(part > 0)).min(width)
    };
    let out = cells(out);
    let idle = cells(idle).min(width - out);
    let free = width - out - idle;
    format!(
        "{}{}{}",
        "#".repeat(out),
        "+".repeat(idle),
        ".".repeat(free)
    )
}

/// The processes of a socket: `name[123]`.
pub fn owner(socket: &Socket) -> String {
    let mut names: Vec<String> = socket
        .processes
        .iter()
        .map(|process| format!("{}[{}]", process.comm, process.pid))
        .collect();
    names.dedup();
    if !names.is_empty() {
        return names.join(" ");
    }
    if socket.inode == 0 {
        "(closed)".into()
    } else {
        format!("socket:[{}]", socket.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_suits() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (64 << 20, "64 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_bar_shows_every_part() {
        let niovs = |total, out, idle| Niovs {
            total: Some(total),
            out: Some(out),
            idle: Some(idle),
            ..Default::default()
        };
        assert_eq!(bar(&niovs(100, 50, 25), 8), "####++..");
        assert_eq!(bar(&niovs(1_000_000, 1, 1), 8), "#+......");
        assert_eq!(bar(&niovs(100, 100, 0), 8), "########");
        assert_eq!(bar(&niovs(100, 99, 100), 8), "#######+");
        assert_eq!(bar(&niovs(0, 0, 0), 8), "");
        assert_eq!(bar(&Niovs::default(), 8), "?");
    }

    #[test]
    fn usage_without_a_total_is_a_number() {
        let mut niovs = Niovs {
            used: Some(5),
            ..Default::default()
        };
        assert_eq!(usage(&niovs), "5");
        niovs.total = Some(20);
        assert_eq!(usage(&niovs), "5/20 (25 %)");
        assert_eq!(usage(&Niovs::default()), "-");
    }
}
