// SPDX-License-Identifier: GPL-2.0
//! Every frame is taken apart and verified by `etherparse`, which had no hand
//! in making it.

use super::*;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 256) as u8).collect()
}

/// A packet as a driver hands it over: lengths of the whole, checksum wrong.
fn tcp_packet(v6: bool, options: usize, payload: &[u8], vlan: bool) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([1; 6], [2; 6]);
    let mut out = Vec::new();
    macro_rules! finish {
        ($ip:expr) => {
            $ip.tcp(1000, 2000, 0xffff_ff00, 1024)
                .ack(77)
                .psh()
                .fin()
                .cwr()
                .options_raw(&vec![1; options])
                .unwrap()
                .write(&mut out, payload)
                .unwrap()
        };
    }
    match (v6, vlan) {
        (false, false) => finish!(link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)),
        (true, false) => finish!(link.ipv6([1; 16], [2; 16], 64)),
        (false, true) => finish!(link.single_vlan(7u16.try_into().unwrap()).ipv4(
            [10, 0, 0, 1],
            [10, 0, 0, 2],
            64
        )),
        (true, true) => finish!(
            link.single_vlan(7u16.try_into().unwrap())
                .ipv6([1; 16], [2; 16], 64)
        ),
    }
    spoil_checksum(&mut out);
    out
}

fn udp_packet(v6: bool, payload: &[u8]) -> Vec<u8> {
    let link = PacketBuilder::ethernet2([1; 6], [2; 6]);
    let mut out = Vec::new();
    if v6 {
        link.ipv6([1; 16], [2; 16], 64)
            .udp(5, 6)
            .write(&mut out, payload)
            .unwrap();
    } else {
        link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .udp(5, 6)
            .write(&mut out, payload)
            .unwrap();
    }
    spoil_checksum(&mut out);
    out
}

fn spoil_checksum(packet: &mut [u8]) {
    let layout = Layout::parse(packet);
    let at = gve_net::checksum::l4_checksum_offset(&layout).unwrap();
    packet[at..at + 2].copy_from_slice(&[0x12, 0x34]);
}

fn finish_all(packet: TxPacket) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    finish(packet, &mut out).unwrap();
    for frame in &out {
        let again = Frame::new(Bytes::from(frame.to_vec()));
        assert_eq!(again.layout(), frame.layout());
        assert_eq!(again.head(), frame.head());
    }
    out.iter().map(Frame::to_vec).collect()
}

/// Checks both checksums and gives the transport header and its payload.
fn verified(frame: &[u8]) -> (TransportSlice<'_>, Vec<u8>, u16) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let transport = packet.transport.clone().unwrap();
    let mut id = 0;
    match (packet.net.as_ref().unwrap(), &transport) {
        (NetSlice::Ipv4(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            id = header.identification;
            let sum = tcp
                .calc_checksum_ipv4(header.source, header.destination)
                .unwrap();
            assert_eq!(sum, tcp.checksum());
        }
        (NetSlice::Ipv6(ip), TransportSlice::Tcp(tcp)) => {
            let header = ip.header().to_header();
            let sum = tcp
                .calc_checksum_ipv6(header.source, header.destination)
                .unwrap();
            assert_eq!(sum, tcp.checksum());
        }
        (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let sum = udp
                .to_header()
                .calc_checksum_ipv4(&header, udp.payload())
                .unwrap();
            assert_eq!(sum, udp.checksum());
        }
        (NetSlice::Ipv6(ip), TransportSlice::Udp(udp)) => {
            let header = ip.header().to_header();
            let sum = udp
                .to_header()
                .calc_checksum_ipv6(&header, udp.payload())
                .unwrap();
            assert_eq!(sum, udp.checksum());
        }
        other => panic!("unexpected layers: {other:?}"),
    }
    let body = match &transport {
        TransportSlice::Tcp(tcp) => tcp.payload().to_vec(),
        TransportSlice::Udp(udp) => udp.payload().to_vec(),
        other => panic!("unexpected transport: {other:?}"),
    };
    (transport, body, id)
}

#[test]
fn tcp_is_cut_into_segments() {
    for v6 in [false, true] {
        for vlan in [false, true] {
            for (options, len, mss) in [
                (0, 1, 88),
                (12, 4000, 1448),
                (40, 2896, 1448),
                (12, 65000, 8948),
                (12, 1449, 1448),
                (12, 200_000, 1428),
            ] {
                let bytes = payload(len);
                // The builder can't make packets over 64 KiB, as BIG TCP does.
                let mut data = tcp_packet(v6, options, &bytes[..len.min(1000)], vlan);
                data.extend_from_slice(&bytes[len.min(1000)..]);
                let header_len = data.len() - len;
                let length_field = if v6 { 18 } else { 16 } + if vlan { 4 } else { 0 };
                let total = u16::try_from(len + header_len - if v6 { 54 } else { 14 })
                    .unwrap_or(0)
                    .saturating_sub(if vlan { 4 } else { 0 });
                data[length_field..length_field + 2].copy_from_slice(&total.to_be_bytes());
                let frames = finish_all(TxPacket {
                    data,
                    tso: Some(TsoContext {
                        total_payload: len as u32,
                        mss,
                        header_len: header_len as u8,
                        enabled: true,
                    }),
                    checksum: true,
                });
                assert_eq!(frames.len(), len.div_ceil(mss.into()));
                let mut all = Vec::new();
                let first_id = verified(&frames[0]).2;
                for (index, frame) in frames.iter().enumerate() {
                    assert!(frame.len() <= header_len + usize::from(mss));
                    let (transport, body, id) = verified(frame);
                    let TransportSlice::Tcp(tcp) = transport else {
                        panic!("not TCP");
                    };
                    let last = index + 1 == frames.len();
                    assert_eq!(
                        tcp.sequence_number(),
                        0xffff_ff00_u32.wrapping_add(all.len() as u32)
                    );
                    assert_eq!(tcp.psh(), last);
                    assert_eq!(tcp.fin(), last);
                    assert_eq!(tcp.cwr(), index == 0);
                    assert_eq!(tcp.acknowledgment_number(), 77);
                    if !v6 {
                        assert_eq!(id, first_id.wrapping_add(index as u16));
                    }
                    all.extend(body);
                }
                assert_eq!(all, bytes);
            }
        }
    }
}

#[test]
fn udp_is_cut_into_datagrams() {
    for v6 in [false, true] {
        let bytes = payload(5000);
        let frames = finish_all(TxPacket {
            data: udp_packet(v6, &bytes),
            tso: Some(TsoContext {
                total_payload: 5000,
                mss: 1200,
                header_len: if v6 { 62 } else { 42 },
                enabled: true,
            }),
            checksum: true,
        });
        assert_eq!(frames.len(), 5);
        let all: Vec<u8> = frames.iter().flat_map(|frame| verified(frame).1).collect();
        assert_eq!(all, bytes);
    }
}

#[test]
fn checksums_of_single_frames_are_finished() {
    for v6 in [false, true] {
        for len in [0, 1, 2, 99, 1448, 8948] {
            for data in [
                tcp_packet(v6, 12, &payload(len), false),
                udp_packet(v6, &payload(len)),
            ] {
                let frames = finish_all(TxPacket {
                    data,
                    tso: None,
                    checksum: true,
                });
                assert_eq!(frames.len(), 1);
                assert_eq!(verified(&frames[0]).1, payload(len));
            }
        }
    }
}

#[test]
fn frames_without_offload_pass_unchanged() {
    let data = tcp_packet(false, 0, b"abc", false);
    for checksum in [false, true] {
        let arp = [vec![0xff; 12], vec![0x08, 0x06], vec![7; 28]].concat();
        let frames = finish_all(TxPacket {
            data: arp.clone(),
            tso: None,
            checksum,
        });
        assert_eq!(frames, [arp]);
    }
    let frames = finish_all(TxPacket {
        data: data.clone(),
        tso: None,
        checksum: false,
    });
    assert_eq!(frames, [data]);
}

#[test]
fn nonsense_is_dropped() {
    let good = TsoContext {
        total_payload: 2000,
        mss: 1448,
        header_len: 54,
        enabled: true,
    };
    let data = tcp_packet(false, 0, &payload(2000), false);
    let refuse = |data: Vec<u8>, tso: Option<TsoContext>| {
        let mut out = Vec::new();
        let result = finish(
            TxPacket {
                data,
                tso,
                checksum: true,
            },
            &mut out,
        );
        assert!(out.is_empty());
        result.unwrap_err()
    };
    assert_eq!(refuse(vec![0; 13], None), TxDrop::TooShort(13));
    assert_eq!(refuse(vec![0; 9729], None), TxDrop::TooLong(9729));
    for mss in [0, 87, 9729] {
        let tso = TsoContext { mss, ..good };
        assert_eq!(refuse(data.clone(), Some(tso)), TxDrop::SegmentSize(mss));
    }
    for (total_payload, header_len) in [(1999, 54), (2001, 54), (2000, 53), (1990, 64), (0, 54)] {
        let tso = TsoContext {
            total_payload,
            header_len,
            ..good
        };
        assert_eq!(refuse(data.clone(), Some(tso)), TxDrop::Context(data.len()));
    }
    assert_eq!(refuse(vec![0; 2054], Some(good)), TxDrop::NotSegmentable);
}
