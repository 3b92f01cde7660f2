// SPDX-License-Identifier: GPL-2.0
//! What the device says of itself.

use super::{Outcome, Refusal};
use crate::config::{DeviceConfig, RSS_KEY_BYTES, RSS_TABLE_ENTRIES};
use crate::port::State;
use gve_wire::adminq::DescribeDevice;
use gve_wire::describe::{
    BufferSizes, DeviceDescriptor, DqoRda, FlowSteering, JumboFrames, ModifyRing, OptionHeader,
    RssConfig, feature, option_id,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

impl State {
    pub(super) fn describe_device(&mut self, request: &DescribeDevice) -> Outcome {
        let description = describe(&self.config);
        if (request.available.get() as usize) < description.len() {
            return Err(Refusal::invalid("no room for the device descriptor"));
        }
        Ok(self.memory.write(request.address.get(), &description)?)
    }
}

/// The descriptor and its options, as the driver gets them.
fn describe(config: &DeviceConfig) -> Vec<u8> {
    let features = feature::MODIFY_RING
        | feature::JUMBO_FRAMES
        | feature::BUFFER_SIZES
        | feature::FLOW_STEERING
        | feature::RSS_CONFIG;
    let mut options = Options::default();
    options.add(
        option_id::DQO_RDA,
        &DqoRda {
            supported_features: features.into(),
            reserved: 0.into(),
        },
    );
    options.add(
        option_id::MODIFY_RING,
        &ModifyRing {
            supported_features: feature::MODIFY_RING.into(),
            max_rx: config.ring_max.into(),
            max_tx: config.ring_max.into(),
            min_rx: config.rx_ring_min.into(),
            min_tx: config.tx_ring_min.into(),
        },
    );
    options.add(
        option_id::JUMBO_FRAMES,
        &JumboFrames {
            supported_features: feature::JUMBO_FRAMES.into(),
            max_mtu: config.max_mtu.into(),
            reserved: 0.into(),
        },
    );
    options.add(
        option_id::BUFFER_SIZES,
        &BufferSizes {
            supported_features: feature::BUFFER_SIZES.into(),
            packet_buffer_size: config.packet_buffer.into(),
            header_buffer_size: config.header_buffer.into(),
        },
    );
    options.add(
        option_id::FLOW_STEERING,
        &FlowSteering {
            supported_features: feature::FLOW_STEERING.into(),
            reserved: 0.into(),
            max_flow_rules: config.max_flow_rules.into(),
        },
    );
    options.add(
        option_id::RSS_CONFIG,
        &RssConfig {
            supported_features: feature::RSS_CONFIG.into(),
            hash_key_size: (RSS_KEY_BYTES as u16).into(),
            hash_lut_size: (RSS_TABLE_ENTRIES as u16).into(),
        },
    );
    let mut descriptor = DeviceDescriptor::new_zeroed();
    descriptor.tx_queue_entries = config.ring_default.into();
    descriptor.rx_queue_entries = config.ring_default.into();
    descriptor.mtu = config.max_mtu.into();
    descriptor.counters = (2 * config.queues).into();
    descriptor.mac = config.mac;
    descriptor.num_device_options = options.count.into();
    let total = size_of::<DeviceDescriptor>() + options.bytes.len();
    descriptor.total_length = (total as u16).into();
    [descriptor.as_bytes(), &options.bytes].concat()
}

#[derive(Default)]
struct Options {
    bytes: Vec<u8>,
    count: u16,
}

impl Options {
    fn add<T: IntoBytes + Immutable>(&mut self, id: u16, data: &T) {
        let header = OptionHeader {
            id: id.into(),
            length: (size_of::<T>() as u16).into(),
            required_features: 0.into(),
        };
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(data.as_bytes());
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    /// Reads the description the way a driver does.
    #[test]
    fn options_can_be_walked() {
        let config = DeviceConfig::default();
        let raw = describe(&config);
        let (descriptor, mut rest) = DeviceDescriptor::ref_from_prefix(&raw).unwrap();
        assert_eq!(descriptor.total_length.get() as usize, raw.len());
        assert_eq!(raw.len(), 144);
        assert_eq!(descriptor.mtu.get(), 9000);
        assert!(descriptor.counters.get() > 0);
        assert!(descriptor.tx_queue_entries.get().is_power_of_two());
        let mut ids = Vec::new();
        for _ in 0..descriptor.num_device_options.get() {
            let (header, after) = OptionHeader::ref_from_prefix(rest).unwrap();
            assert_eq!(header.required_features.get(), 0);
            let (data, after) = after.split_at(header.length.get().into());
            if header.id.get() == option_id::DQO_RDA {
                let (dqo, _) = DqoRda::ref_from_prefix(data).unwrap();
                assert_eq!(dqo.supported_features.get(), 0xb5);
            }
            ids.push(header.id.get());
            rest = after;
        }
        assert!(rest.is_empty());
        assert_eq!(ids, [0x4, 0x6, 0x8, 0xa, 0xb, 0xe]);
    }
}
