// SPDX-License-Identifier: GPL-2.0
//! From a packet as the driver gave it to frames as a wire carries them:
//! segmentation of TCP and UDP, and checksums.

use bytes::{Bytes, BytesMut};
use gve_net::checksum::{finish_ipv4, finish_l4};
use gve_net::layout::{L3, L4};
use gve_net::{Frame, Layout};
use gve_wire::tx::{MAX_FRAME, MIN_MSS, TsoContext};
use thiserror::Error;

/// Fewest bytes of a frame: an Ethernet header.
const MIN_FRAME: usize = 14;
/// Offsets in an IPv4 header.
const IPV4_TOTAL_LENGTH: usize = 2;
const IPV4_ID: usize = 4;
/// Offset in an IPv6 header.
const IPV6_PAYLOAD_LENGTH: usize = 4;
const IPV6_HEADER: usize = 40;
/// Offsets in a TCP header, and flags.
const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;
/// Offset in a UDP header.
const UDP_LENGTH: usize = 4;

/// A packet that was taken from a transmit ring: a private copy.
#[derive(Clone, Debug, Default)]
pub struct TxPacket {
    /// Ethernet header and all that follows.
    pub data: Vec<u8>,
    /// How to cut it.
    pub tso: Option<TsoContext>,
    /// Whether to finish the transport checksum.
    pub checksum: bool,
}

/// Why a packet was not sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TxDrop {
    /// Less than an Ethernet header.
    #[error("packet of {0} bytes is no frame")]
    TooShort(usize),
    /// More than hardware sends as one frame.
    #[error("frame of {0} bytes is too long")]
    TooLong(usize),
    /// A segment size that hardware does not take.
    #[error("segment size {0} is out of range")]
    SegmentSize(u16),
    /// Headers or payload are not as long as the context says.
    #[error("segmentation context does not fit a packet of {0} bytes")]
    Context(usize),
    /// Neither TCP nor UDP over IP.
    #[error("packet can't be segmented")]
    NotSegmentable,
}

/// Turns the packet into frames, which are appended to `out`.
pub fn finish(packet: TxPacket, out: &mut Vec<Frame>) -> Result<(), TxDrop> {
    match packet.tso.filter(|tso| tso.enabled) {
        Some(tso) => segment(packet.data, &tso, out),
        None => single(packet.data, packet.checksum, out),
    }
}

fn single(mut data: Vec<u8>, checksum: bool, out: &mut Vec<Frame>) -> Result<(), TxDrop> {
    if data.len() < MIN_FRAME {
        return Err(TxDrop::TooShort(data.len()));
    }
    if data.len() > usize::from(MAX_FRAME) {
        return Err(TxDrop::TooLong(data.len()));
    }
    if !checksum {
        out.push(Frame::new(Bytes::from(data)));
        return Ok(());
    }
    let layout = Layout::parse(&data);
    let finished = data
        .split_at_mut_checked(usize::from(layout.header_end))
        .is_some_and(|(head, body)| finish_l4(head, body, &layout));
    let mut body = Bytes::from(data);
    if finished {
        let head = body.split_to(usize::from(layout.header_end).min(body.len()));
        out.push(Frame::finished(head, body, layout));
    } else {
        out.push(Frame::new(body));
    }
    Ok(())
}

fn segment(data: Vec<u8>, tso: &TsoContext, out: &mut Vec<Frame>) -> Result<(), TxDrop> {
    if !(MIN_MSS..=MAX_FRAME).contains(&tso.mss) {
        return Err(TxDrop::SegmentSize(tso.mss));
    }
    let layout = Layout::parse(&data);
    if !layout.splittable() || layout.l3 == L3::Other {
        return Err(TxDrop::NotSegmentable);
    }
    let header_len = usize::from(tso.header_len);
    let payload_len = tso.total_payload as usize;
    if header_len != usize::from(layout.header_end)
        || payload_len == 0
        || header_len + payload_len != data.len()
    {
        return Err(TxDrop::Context(data.len()));
    }
    let mss = usize::from(tso.mss);
    if header_len + mss.min(payload_len) > usize::from(MAX_FRAME) {
        return Err(TxDrop::TooLong(header_len + mss));
    }
    let mut payload = Bytes::from(data);
    let template = payload.split_to(header_len);
    let segments = payload_len.div_ceil(mss);
    let mut heads = BytesMut::with_capacity(header_len * segments);
    for index in 0..segments {
        let body = payload.split_to(mss.min(payload.len()));
        heads.extend_from_slice(&template);
        let mut head = heads.split();
        let layout = layout.with_frame_len(header_len + body.len());
        let place = Segment {
            index: index as u32,
            offset: (index * mss) as u32,
            first: index == 0,
            last: index + 1 == segments,
        };
        place.patch(&mut head, body.len(), &layout);
        finish_ipv4(&mut head, &layout);
        finish_l4(&mut head, &body, &layout);
        out.push(Frame::finished(head.freeze(), body, layout));
    }
    Ok(())
}

/// Where in its packet a segment stands.
struct Segment {
    index: u32,
    offset: u32,
    first: bool,
    last: bool,
}

impl Segment {
    /// Makes the copy of the packet's headers those of this segment, but for
    /// the checksums.
    fn patch(&self, head: &mut [u8], body_len: usize, layout: &Layout) {
        let l3 = usize::from(layout.l3_offset);
        let l4 = usize::from(layout.l4_offset);
        let total = (head.len() + body_len).saturating_sub(l3);
        match layout.l3 {
            L3::Ipv4 => {
                put_u16(head, l3 + IPV4_TOTAL_LENGTH, total as u16);
                let id = get_u16(head, l3 + IPV4_ID);
                put_u16(head, l3 + IPV4_ID, id.wrapping_add(self.index as u16));
            }
            L3::Ipv6 => {
                let payload = total.saturating_sub(IPV6_HEADER);
                put_u16(head, l3 + IPV6_PAYLOAD_LENGTH, payload as u16);
            }
            L3::Other => {}
        }
        match layout.l4 {
            L4::Tcp => {
                let at = l4 + TCP_SEQUENCE;
                if let Some(field) = head.get_mut(at..).and_then(|s| s.first_chunk_mut::<4>()) {
                    let sequence = u32::from_be_bytes(*field).wrapping_add(self.offset);
                    *field = sequence.to_be_bytes();
                }
                if let Some(flags) = head.get_mut(l4 + TCP_FLAGS) {
                    if !self.last {
                        *flags &= !(TCP_FIN | TCP_PSH);
                    }
                    if !self.first {
                        *flags &= !TCP_CWR;
                    }
                }
            }
            L4::Udp => {
                let len = head.len().saturating_sub(l4) + body_len;
                put_u16(head, l4 + UDP_LENGTH, len as u16);
            }
            _ => {}
        }
    }
}

fn get_u16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|bytes| bytes.first_chunk::<2>())
        .map_or(0, |field| u16::from_be_bytes(*field))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut::<2>()) {
        *field = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests;
