// SPDX-License-Identifier: GPL-2.0
//! RSS and flow rules, configured and read back.

use super::{Outcome, Refusal};
use crate::config::{RSS_KEY_BYTES, RSS_TABLE_ENTRIES};
use crate::port::State;
use crate::steering::FlowError;
use gve_wire::adminq::{
    ConfigureRss, EXTENDED_CONFIGURE_FLOW_RULE, Extended, QueryFlowRules, QueryRss, Status,
};
use gve_wire::steering::{
    ConfigureFlowRule, FlowOperation, FlowQuery, FlowQueryHeader, HASH_TOEPLITZ, QueriedRule,
    RssHeader,
};
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U32;

/// Drivers keep a page for the answer to a query, whatever they say.
const QUERY_BYTES: u64 = 4096;

impl State {
    pub(super) fn configure_rss(&mut self, request: &ConfigureRss) -> Outcome {
        let key = match usize::from(request.hash_key_size.get()) {
            0 => None,
            RSS_KEY_BYTES => {
                let mut key = [0; RSS_KEY_BYTES];
                self.memory.read(request.hash_key.get(), &mut key)?;
                Some(key)
            }
            other => return Err(Refusal::invalid(format!("key of {other} bytes"))),
        };
        let table = match usize::from(request.hash_lut_size.get()) {
            0 => None,
            RSS_TABLE_ENTRIES => {
                let raw: [U32; RSS_TABLE_ENTRIES] = self.memory.load(request.hash_lut.get())?;
                Some(raw.map(U32::get))
            }
            other => return Err(Refusal::invalid(format!("table of {other} entries"))),
        };
        self.steering
            .rss_mut()
            .configure(request.hash_alg, request.hash_types.get(), key, table)
            .map_err(|error| Refusal::invalid(error.to_string()))
    }

    pub(super) fn query_rss(&mut self, request: &QueryRss) -> Outcome {
        let rss = self.steering.rss();
        let table = rss.table().map(U32::new);
        let total = size_of::<RssHeader>() + RSS_KEY_BYTES + size_of_val(&table);
        let header = RssHeader {
            total_length: (total as u32).into(),
            hash_types: rss.hash_types().into(),
            hash_alg: HASH_TOEPLITZ,
            reserved: 0,
        };
        let answer = [header.as_bytes(), rss.key(), table.as_bytes()].concat();
        self.answer(request.available.get(), request.address.get(), &answer)
    }

    pub(super) fn query_flow_rules(&mut self, request: &QueryFlowRules) -> Outcome {
        let raw = request.query.get();
        let query = FlowQuery::from_raw(raw)
            .ok_or_else(|| Refusal::invalid(format!("flow rule query {raw}")))?;
        let room = request
            .available
            .get()
            .min(QUERY_BYTES)
            .saturating_sub(size_of::<FlowQueryHeader>() as u64) as usize;
        let flows = self.steering.flows();
        let rules = flows.from(request.start_id.get());
        let mut records = Vec::new();
        let mut count: u32 = 0;
        for (location, rule) in rules {
            let location = U32::new(location);
            let record = QueriedRule {
                location,
                rule: *rule,
            };
            let bytes = match query {
                FlowQuery::Rules => record.as_bytes(),
                FlowQuery::Ids => location.as_bytes(),
                FlowQuery::Stats => break,
            };
            if records.len() + bytes.len() > room {
                break;
            }
            records.extend_from_slice(bytes);
            count += 1;
        }
        let header = FlowQueryHeader {
            num_rules: (flows.len() as u32).into(),
            max_rules: flows.max().into(),
            num_queried: count.into(),
            total_length: ((size_of::<FlowQueryHeader>() + records.len()) as u32).into(),
        };
        let answer = [header.as_bytes(), &records].concat();
        self.answer(request.available.get(), request.address.get(), &answer)
    }

    pub(super) fn extended(&mut self, request: &Extended) -> Outcome {
        let opcode = request.inner_opcode.get();
        if opcode != EXTENDED_CONFIGURE_FLOW_RULE {
            return Err(Refusal::new(
                Status::Unimplemented,
                format!("extended opcode {opcode:#x}"),
            ));
        }
        if (request.inner_length.get() as usize) < size_of::<ConfigureFlowRule>() {
            return Err(Refusal::invalid("flow rule is too short"));
        }
        let command: ConfigureFlowRule = self.memory.load(request.inner_address.get())?;
        self.configure_flow_rule(&command)
    }

    fn configure_flow_rule(&mut self, command: &ConfigureFlowRule) -> Outcome {
        let raw = command.operation.get();
        let operation = FlowOperation::from_raw(raw)
            .ok_or_else(|| Refusal::invalid(format!("flow rule operation {raw}")))?;
        let location = command.location.get();
        let flows = self.steering.flows_mut();
        let result = match operation {
            FlowOperation::Add => {
                if command.rule.action.get() >= self.config.queues {
                    return Err(Refusal::invalid(format!(
                        "rule for queue {} of {}",
                        command.rule.action.get(),
                        self.config.queues
                    )));
                }
                flows.add(location, command.rule)
            }
            FlowOperation::Delete => flows.delete(location),
            FlowOperation::Reset => {
                flows.clear();
                Ok(())
            }
        };
        result.map_err(|error| {
            let status = match error {
                FlowError::Type(_) => Status::InvalidArgument,
                FlowError::Full(_) => Status::ResourceExhausted,
                FlowError::Missing(_) => Status::NotFound,
            };
            Refusal::new(status, error.to_string())
        })
    }

    fn answer(&self, available: u64, address: u64, answer: &[u8]) -> Outcome {
        if available < answer.len() as u64 {
            return Err(Refusal::invalid(format!(
                "answer of {} bytes in {available}",
                answer.len()
            )));
        }
        Ok(self.memory.write(address, answer)?)
    }
}
