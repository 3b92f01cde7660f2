// SPDX-License-Identifier: GPL-2.0
//! Values of arguments: queues, sizes, times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A list of queue numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues(pub Vec<u32>);

impl FromStr for Queues {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim()
                .parse::<u32>()
                .map_err(|err| format!("{text:?}: {err}"))
        };
        let mut queues = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('-') {
                None => queues.push(number(part)?),
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(format!("{part:?} runs backwards"));
                    }
                    if last - first >= 4096 {
                        return Err(format!("{part:?} is more queues than any NIC has"));
                    }
                    queues.extend(first..=last);
                }
            }
        }
        Ok(Self(queues))
    }
}

impl fmt::Display for Queues {
    /// As [`FromStr`] reads it, with no ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

/// A number of bytes, with a binary suffix: `64M`.
///
/// # Errors
/// Text that is no number or too large.
pub fn size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|err| err.to_string())
}

/// As [`size`], within 32 bits.
///
/// # Errors
/// As [`size`].
pub fn size32(text: &str) -> Result<u32, String> {
    u32::try_from(size(text)?).map_err(|err| err.to_string())
}

/// As [`size`], for memory of this process, and not 0.
///
/// # Errors
/// As [`size`].
pub fn size_usize(text: &str) -> Result<usize, String> {
    match usize::try_from(size(text)?) {
        Ok(0) => Err("must not be 0".into()),
        Ok(size) => Ok(size),
        Err(err) => Err(err.to_string()),
    }
}

/// A number of seconds, with or without a fraction.
///
/// # Errors
/// Text that is no number, or a negative or too large one.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|err| format!("{err}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_numbers_and_ranges() {
        let queues = |text: &str| text.parse::<Queues>().map(|queues| queues.0);
        assert_eq!(queues("").unwrap(), [0; 0]);
        assert_eq!(queues("7").unwrap(), [7]);
        assert_eq!(queues("0-2,9").unwrap(), [0, 1, 2, 9]);
        for bad in ["x", "3-1", "1-", "-1", "0-4294967295"] {
            assert!(queues(bad).is_err(), "{bad}");
        }
        assert_eq!(Queues(vec![1, 3]).to_string(), "1,3");
    }

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(size("64M"), Ok(64 << 20));
        assert_eq!(size("1k"), Ok(1024));
        assert!(size("x").is_err());
        assert!(size32("4G").is_err());
        assert!(size_usize("0").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err());
    }
}
