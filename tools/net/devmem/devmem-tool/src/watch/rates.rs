// SPDX-License-Identifier: GPL-2.0
//! Counters of a binding, and their change per second.

use std::collections::BTreeMap;
use std::time::Instant;

use devmem::Netdev;
use devmem::netlink::RxCount;
use schemars::JsonSchema;
use serde::Serialize;

use crate::bindings::Binding;

/// Changes per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Rates {
    /// Bytes per second.
    pub bytes: Option<f64>,
    /// What these bytes are.
    pub counted: Counted,
    /// Frags per second.
    pub frags: Option<f64>,
    /// Times per second that no niov was left.
    pub alloc_failures: Option<f64>,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Payload in the dma-buf.
    Payload,
    /// All that came by the bound queues, headers among it.
    Queues,
    /// Neither is known.
    #[default]
    Nothing,
}

/// Counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    bytes: Option<u64>,
    counted: Counted,
    frags: Option<u64>,
    alloc_failures: Option<u64>,
}

/// The counters of each binding.
pub fn counts(netdev: &mut Netdev, bindings: &[Binding]) -> Vec<Counts> {
    let mut by_queue: BTreeMap<u32, Vec<RxCount>> = BTreeMap::new();
    for binding in bindings {
        let Some(ifindex) = binding.ifindex.filter(|_| binding.netns_is_ours) else {
            continue;
        };
        if binding.received.bytes.is_none() && !binding.queues.is_empty() {
            // A driver that does not count is no failure.
            by_queue
                .entry(ifindex)
                .or_insert_with(|| netdev.rx_counts(ifindex).unwrap_or_default());
        }
    }
    let count = |binding: &Binding| {
        let counts = binding.ifindex.and_then(|ifindex| by_queue.get(&ifindex));
        of(binding, counts.map_or(&[], Vec::as_slice))
    };
    bindings.iter().map(count).collect()
}

fn of(binding: &Binding, queues: &[RxCount]) -> Counts {
    let received = binding.received;
    let by_queue: Option<u64> = queues
        .iter()
        .filter(|count| binding.queues.contains(&count.queue))
        .map(|count| count.bytes)
        .reduce(|sum, bytes| Some(sum? + bytes?))
        .flatten();
    Counts {
        bytes: received.bytes.or(by_queue),
        counted: match (received.bytes, by_queue) {
            (Some(_), _) => Counted::Payload,
            (None, Some(_)) => Counted::Queues,
            (None, None) => Counted::Nothing,
        },
        frags: received.frags,
        alloc_failures: received.alloc_failures,
    }
}

/// Remembers the last look at each binding.
#[derive(Debug, Default)]
pub struct Meter {
    last: BTreeMap<u32, (Instant, Counts)>,
}

impl Meter {
    /// What has changed since the look before.
    pub fn rates(&mut self, id: u32, now_counts: Counts, now: Instant) -> Rates {
        let mut rates = Rates {
            counted: now_counts.counted,
            ..Default::default()
        };
        if let Some((then, before)) = self.last.insert(id, (now, now_counts)) {
            let seconds = (now - then).as_secs_f64();
            let per_second = |before: Option<u64>, now: Option<u64>| {
                // A counter that runs backwards is that of a new queue.
                let change = now?.checked_sub(before?)?;
                (seconds > 0.0).then(|| change as f64 / seconds)
            };
            if before.counted == now_counts.counted {
                rates.bytes = per_second(before.bytes, now_counts.bytes);
            }
            rates.frags = per_second(before.frags, now_counts.frags);
            rates.alloc_failures = per_second(before.alloc_failures, now_counts.alloc_failures);
        }
        rates
    }

    /// Forgets bindings that were not there at the last look.
    pub fn forget_before(&mut self, now: Instant) {
        self.last.retain(|_, (then, _)| *then == now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bindings::tests::sample;

    fn queue(queue: u32, bytes: Option<u64>) -> RxCount {
        RxCount {
            ifindex: 2,
            queue,
            bytes,
            packets: None,
        }
    }

    #[test]
    fn queues_count_where_the_binding_does_not() {
        let mut binding = sample();
        let queues = [queue(0, Some(1000)), queue(2, Some(10)), queue(3, Some(5))];
        let counts = of(&binding, &queues);
        assert_eq!((counts.bytes, counts.counted), (Some(7), Counted::Payload));
        binding.received.bytes = None;
        let counts = of(&binding, &queues);
        assert_eq!((counts.bytes, counts.counted), (Some(15), Counted::Queues));
        assert_eq!(of(&binding, &[]).counted, Counted::Nothing);
        assert_eq!(of(&binding, &[queue(2, None)]).bytes, None);
    }

    #[test]
    fn rates_are_changes_over_time() {
        let start = Instant::now();
        let counts = |bytes, frags| Counts {
            bytes: Some(bytes),
            counted: Counted::Payload,
            frags,
            alloc_failures: Some(0),
        };
        let mut meter = Meter::default();
        let first = meter.rates(1, counts(100, Some(1)), start);
        assert_eq!((first.bytes, first.frags), (None, None));
        let later = start + Duration::from_secs(2);
        let second = meter.rates(1, counts(1100, None), later);
        assert_eq!(
            (second.bytes, second.frags, second.alloc_failures),
            (Some(500.0), None, Some(0.0))
        );
        let third = meter.rates(1, counts(5, None), later + Duration::from_secs(1));
        assert_eq!(third.bytes, None);
        // One that was not seen in between starts anew.
        meter.forget_before(later);
        let fourth = meter.rates(1, counts(6, None), later + Duration::from_secs(2));
        assert_eq!(fourth.bytes, None);
    }
}
