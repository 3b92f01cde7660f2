// SPDX-License-Identifier: GPL-2.0
//! A request whose acknowledgment may say something although it is granted,
//! which `netlink-socket2` does not hand out.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_bindings::builtin::{NlmsgerrAttrs, Nlmsghdr};
use netlink_bindings::nlctrl;
use netlink_bindings::traits::NetlinkRequest;
use netlink_bindings::utils::align_up;
use netlink_socket2::NetlinkSocket;
use nix::sys::socket::{MsgFlags, recv, send};

use super::NetlinkError;
use crate::sys;

/// What a request is answered with, if it is granted.
pub(super) struct Granted<T> {
    /// Of the reply.
    pub value: T,
    /// What the kernel says beside it.
    pub warning: Option<String>,
    /// The socket that the request was sent on.
    pub socket: OwnedFd,
}

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Message<'a> {
    Reply(&'a [u8]),
    /// The errno, 0 for none, and the attributes of the extended
    /// acknowledgment.
    Ack(i32, &'a [u8]),
}

/// Takes the next message off `buffer`.
fn next_message<'a>(buffer: &mut &'a [u8]) -> Option<Message<'a>> {
    let header = Nlmsghdr::new_from_slice(buffer.get(..Nlmsghdr::len())?)?;
    let message = buffer.get(..header.len as usize)?;
    let body = message.get(Nlmsghdr::len()..)?;
    *buffer = &buffer[align_up(message.len(), 4).min(buffer.len())..];
    if i32::from(header.r#type) != libc::NLMSG_ERROR {
        return Some(Message::Reply(body));
    }
    let (code, asked) = body.split_first_chunk()?;
    let echoed = if i32::from(header.flags) & libc::NLM_F_CAPPED != 0 {
        Nlmsghdr::len()
    } else {
        let header = Nlmsghdr::new_from_slice(asked.get(..Nlmsghdr::len())?)?;
        align_up(header.len as usize, 4)
    };
    let attributes = if i32::from(header.flags) & libc::NLM_F_ACK_TLVS != 0 {
        asked.get(echoed..)?
    } else {
        &[]
    };
    Some(Message::Ack(-i32::from_ne_bytes(*code), attributes))
}

/// The number of a generic netlink family.
fn family_id(name: &'static [u8]) -> io::Result<u16> {
    let mut request = nlctrl::Request::new().op_getfamily_do();
    request.encode().push_family_name_bytes(name);
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request)?;
    Ok(reply.recv_one()?.get_family_id()?)
}

/// Sends a request on a socket of its own, and waits for reply and
/// acknowledgment.
pub(super) fn exchange<R: NetlinkRequest, T>(
    operation: &'static str,
    family: &'static [u8],
    request: &R,
    decode: impl Fn(R::ReplyType<'_>) -> io::Result<T>,
) -> Result<Granted<T>, NetlinkError> {
    let failed = |err: &io::Error| NetlinkError::from_io(operation, err);
    let family = family_id(family).map_err(|err| failed(&err))?;
    let socket = sys::netlink_socket().map_err(|err| failed(&err))?;

    let payload = request.payload();
    let header = Nlmsghdr {
        len: (Nlmsghdr::len() + payload.len()) as u32,
        r#type: family,
        flags: request.flags() | (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16,
        seq: 1,
        pid: 0,
    };
    let message = [header.as_slice(), payload].concat();
    send(socket.as_raw_fd(), &message, MsgFlags::empty()).map_err(|err| failed(&err.into()))?;

    let mut buffer = vec![0; netlink_socket2::RECV_BUF_SIZE];
    let mut value = None;
    loop {
        let got = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(nix::errno::Errno::EINTR) => continue,
            got => got.map_err(|err| failed(&err.into()))?,
        };
        let mut rest = &buffer[..got];
        while let Some(message) = next_message(&mut rest) {
            match message {
                Message::Reply(body) => {
                    value = Some(decode(R::decode_reply(body)).map_err(|err| failed(&err))?);
                }
                Message::Ack(0, attributes) => {
                    let missing = || io::Error::other("granted, but without a reply");
                    return Ok(Granted {
                        value: value.ok_or_else(|| failed(&missing()))?,
                        warning: NetlinkError::message_of(&NlmsgerrAttrs::new(attributes)),
                        socket,
                    });
                }
                Message::Ack(errno, attributes) => {
                    let err = io::Error::from_raw_os_error(errno);
                    let attributes = NlmsgerrAttrs::new(attributes);
                    return Err(NetlinkError::from_ack(
                        operation,
                        &err,
                        &attributes,
                        payload,
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    /// NLMSG_ERROR, of a request of 20 bytes.
    fn ack(flags: u16, code: i32, echo: &[u8], attributes: &[u8]) -> Vec<u8> {
        let mut asked = Nlmsghdr::new();
        asked.len = 20;
        let body = [&code.to_ne_bytes()[..], asked.as_slice(), echo, attributes].concat();
        let mut header = Nlmsghdr::new();
        header.len = (16 + body.len()) as u32;
        header.r#type = libc::NLMSG_ERROR as u16;
        header.flags = flags;
        [header.as_slice(), &body].concat()
    }

    const TLVS: u16 = libc::NLM_F_ACK_TLVS as u16;
    const CAPPED: u16 = libc::NLM_F_CAPPED as u16;
    const MSG: [u8; 8] = [8, 0, 1, 0, b'f', b'e', b'w', 0];

    #[test]
    fn finds_the_attributes_behind_the_echo() {
        for (bytes, errno, attributes) in [
            (ack(CAPPED, 0, &[], &[]), 0, &[][..]),
            (ack(CAPPED | TLVS, 0, &[], &MSG), 0, &MSG),
            (ack(TLVS, -22, &[0; 4], &MSG), 22, &MSG),
            (ack(0, -1, &[0; 4], &[]), 1, &[]),
        ] {
            let mut rest = &bytes[..];
            assert_eq!(
                next_message(&mut rest),
                Some(Message::Ack(errno, attributes))
            );
            assert!(rest.is_empty());
        }
        assert_eq!(
            NetlinkError::message_of(&NlmsgerrAttrs::new(&MSG)).as_deref(),
            Some("few")
        );
        assert_eq!(NetlinkError::message_of(&NlmsgerrAttrs::new(&[])), None);
    }

    #[test]
    fn a_reply_and_an_ack_may_come_together() {
        let mut header = Nlmsghdr::new();
        header.len = 18;
        header.r#type = 30;
        let both = [header.as_slice(), &[1, 2, 0, 0], &ack(CAPPED, 0, &[], &[])].concat();
        let mut rest = &both[..];
        assert_eq!(next_message(&mut rest), Some(Message::Reply(&[1, 2])));
        assert_eq!(next_message(&mut rest), Some(Message::Ack(0, &[])));
        assert_eq!(next_message(&mut rest), None);
    }

    #[test]
    fn what_is_cut_is_no_message() {
        let whole = ack(TLVS, -22, &[0; 4], &MSG);
        for len in 0..whole.len() {
            assert_eq!(next_message(&mut &whole[..len]), None);
        }
        // One that claims to echo more than there is.
        let lie = ack(TLVS, -22, &[], &[]);
        assert_eq!(next_message(&mut &lie[..]), None);
    }
}
