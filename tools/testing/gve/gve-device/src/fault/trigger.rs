// SPDX-License-Identifier: GPL-2.0
//! When a fault strikes.

use super::{Arguments, SpecError};

/// Counts occasions, or rolls dice.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// Occasions `from` up to, not including, `until`.
    Occasions {
        /// Occasions so far.
        seen: u64,
        /// First that strikes, from 1.
        from: u64,
        /// First that strikes no more.
        until: u64,
    },
    /// Each occasion for itself.
    Chance {
        /// Probability, 0 to 1.
        probability: f64,
        /// The dice.
        rng: fastrand::Rng,
    },
}

impl Trigger {
    /// From `nth`, `count` and `p`.
    pub fn take(arguments: &mut Arguments, rng: fastrand::Rng) -> Result<Trigger, SpecError> {
        let probability = arguments.parsed("p", "probability from 0 to 1", |value| {
            value.parse().ok().filter(|p| (0.0..=1.0).contains(p))
        })?;
        let nth = arguments.parsed("nth", "number from 1", |value| {
            value.parse().ok().filter(|&n: &u64| n > 0)
        })?;
        let count: Option<u64> = arguments.number("count")?;
        if let Some(probability) = probability {
            return Ok(Trigger::Chance { probability, rng });
        }
        let from = nth.unwrap_or(1);
        let until = match count.unwrap_or(1) {
            0 => u64::MAX,
            count => from.saturating_add(count),
        };
        Ok(Trigger::Occasions {
            seen: 0,
            from,
            until,
        })
    }

    /// This is an occasion: does the fault strike?
    pub fn strikes(&mut self) -> bool {
        match self {
            Trigger::Occasions { seen, from, until } => {
                *seen = seen.saturating_add(1);
                (*from..*until).contains(seen)
            }
            Trigger::Chance { probability, rng } => rng.f64() < *probability,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occasions() {
        let mut trigger = Trigger::Occasions {
            seen: 0,
            from: 2,
            until: 4,
        };
        let strikes: Vec<bool> = (0..5).map(|_| trigger.strikes()).collect();
        assert_eq!(strikes, [false, true, true, false, false]);
    }
}
