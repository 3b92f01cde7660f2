// SPDX-License-Identifier: GPL-2.0
//! What the kernel says when it refuses a request.

use std::fmt;
use std::io;

use netlink_bindings::builtin::{IterableNlmsgerrAttrs, Nlmsghdr};
use netlink_bindings::utils::chop_header;
use netlink_socket2::ReplyError;
use nix::errno::Errno;
use serde::Serialize;

/// Bytes of `struct genlmsghdr`, which stands before the attributes.
const GENL_HEADER: usize = 4;

/// The attribute that the kernel objects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadAttribute {
    /// Its place in the message, in bytes from the start of `struct nlmsghdr`.
    pub offset: u32,
    /// Its name with those of the nests around it, as the `netdev` family's
    /// specification has it: `queues/id`.
    pub name: Option<String>,
}

/// The attribute that the kernel misses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingAttribute {
    /// Its number.
    #[serde(rename = "type")]
    pub kind: u16,
    /// Where the nest starts that it belongs into, in bytes from the start of
    /// `struct nlmsghdr`; nothing at the top level.
    pub nest_offset: Option<u32>,
    /// Its name: `fd`, `queues/id`.
    pub name: Option<String>,
}

/// A refused netlink request, with the kernel's extended acknowledgment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetlinkError {
    /// The request: `bind-rx`, `queue-get`, …
    pub operation: &'static str,
    /// The errno, if the kernel gave one.
    pub errno: Option<i32>,
    /// The kernel's message, or ours if there is no errno.
    pub message: Option<String>,
    /// The attribute that is wrong.
    pub bad_attribute: Option<BadAttribute>,
    /// The attribute that is missing.
    pub missing_attribute: Option<MissingAttribute>,
}

impl NetlinkError {
    pub(super) fn from_io(operation: &'static str, err: &io::Error) -> Self {
        Self {
            operation,
            errno: err.raw_os_error(),
            message: err.raw_os_error().is_none().then(|| err.to_string()),
            bad_attribute: None,
            missing_attribute: None,
        }
    }

    pub(super) fn from_reply(operation: &'static str, err: &ReplyError) -> Self {
        let mut this = Self::from_io(operation, err.as_io_error());
        if let Some(ack) = err.ext_ack() {
            this.read_ext_ack(&ack, err.request().unwrap_or_default());
        }
        this
    }

    /// What an extended acknowledgment, of the request `payload`, says of a
    /// failure.
    pub(super) fn from_ack(
        operation: &'static str,
        err: &io::Error,
        ack: &IterableNlmsgerrAttrs<'_>,
        payload: &[u8],
    ) -> Self {
        let mut this = Self::from_io(operation, err);
        this.read_ext_ack(ack, payload);
        this
    }

    /// The message of an extended acknowledgment.
    pub(super) fn message_of(ack: &IterableNlmsgerrAttrs<'_>) -> Option<String> {
        let message = ack.get_msg().ok()?;
        Some(message.to_string_lossy().trim_end().to_owned())
    }

    /// Takes over an extended acknowledgment. `request` is the refused
    /// message after its `struct nlmsghdr`.
    fn read_ext_ack(&mut self, ack: &IterableNlmsgerrAttrs<'_>, request: &[u8]) {
        if let Some(message) = Self::message_of(ack) {
            self.message = Some(message);
        }
        self.bad_attribute = ack.get_offset().ok().map(|offset| BadAttribute {
            offset,
            name: name_at(request, offset).map(|path| path.join("/")),
        });
        self.missing_attribute = ack.get_missing_type().ok().map(|kind| {
            let nest_offset = ack.get_missing_nest().ok();
            MissingAttribute {
                kind,
                nest_offset,
                name: missing_name(request, kind, nest_offset),
            }
        });
    }

    /// The errno's symbol: `EINVAL`.
    pub fn errno_name(&self) -> Option<String> {
        self.errno.map(errno_name)
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        if let Some(errno) = self.errno {
            write!(f, "{} ({})", errno_name(errno), errno_text(errno))?;
            if self.message.is_some() {
                f.write_str(": ")?;
            }
        }
        if let Some(message) = &self.message {
            f.write_str(message)?;
        }
        if let Some(bad) = &self.bad_attribute {
            let name = bad.name.as_deref().unwrap_or("?");
            write!(f, " [attribute {name} at byte {}]", bad.offset)?;
        }
        if let Some(missing) = &self.missing_attribute {
            match &missing.name {
                Some(name) => write!(f, " [attribute {name} is missing]")?,
                None => write!(f, " [attribute number {} is missing]", missing.kind)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for NetlinkError {}

/// The symbol of an errno. The kernel has numbers that libc does not name.
pub fn errno_name(errno: i32) -> String {
    match errno {
        524 => "ENOTSUPP".into(),
        525 => "ETOOSMALL".into(),
        _ => match Errno::from_raw(errno) {
            Errno::UnknownErrno => format!("errno {errno}"),
            known => format!("{known:?}"),
        },
    }
}

/// The C library's words for an errno; the standard library adds the number.
fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.into(),
        None => text,
    }
}

/// Names in the attribute set `dmabuf` (`NETDEV_A_DMABUF_*`), and in the nest
/// `queues` (`NETDEV_A_QUEUE_*`).
fn name_of(kind: u16, in_queues: bool) -> Option<&'static str> {
    match (in_queues, kind) {
        (false, 1) => Some("ifindex"),
        (false, 2) => Some("queues"),
        (false, 3) => Some("fd"),
        (false, 4) => Some("id"),
        (false, 5) => Some("rx-page-size"),
        (true, 1) => Some("id"),
        (true, 3) => Some("type"),
        _ => None,
    }
}

/// The attribute that starts `offset` bytes into the message, with its nest.
fn name_at(request: &[u8], offset: u32) -> Option<Vec<&'static str>> {
    let target = (offset as usize).checked_sub(Nlmsghdr::len())?;
    find(request, GENL_HEADER, request.len(), target, false)
}

fn find(
    request: &[u8],
    start: usize,
    end: usize,
    target: usize,
    in_queues: bool,
) -> Option<Vec<&'static str>> {
    let attributes = request.get(start..end)?;
    let mut next = 0;
    loop {
        let at = start + next;
        let (header, body) = chop_header(attributes, &mut next)?;
        let name = name_of(header.r#type, in_queues);
        if at == target {
            return Some(vec![name?]);
        }
        let body_start = at + 4;
        let body_end = body_start + body.len();
        if (body_start..body_end).contains(&target) && name == Some("queues") {
            let mut path = find(request, body_start, body_end, target, true)?;
            path.insert(0, "queues");
            return Some(path);
        }
    }
}

fn missing_name(request: &[u8], kind: u16, nest_offset: Option<u32>) -> Option<String> {
    let mut path = match nest_offset {
        None => vec![],
        Some(offset) => name_at(request, offset)?,
    };
    path.push(name_of(kind, path == ["queues"])?);
    Some(path.join("/"))
}

#[cfg(test)]
mod tests {
    use netlink_bindings::builtin::NlmsgerrAttrs;

    use super::*;

    /// genlmsghdr, then ifindex 7, queues {type rx, id 99}, fd 5.
    #[rustfmt::skip]
    const REQUEST: [u8; 40] = [
        13, 1, 0, 0,
        8, 0, 1, 0,  7, 0, 0, 0,
        20, 0, 2, 0x80,
            8, 0, 3, 0,  0, 0, 0, 0,
            8, 0, 1, 0,  99, 0, 0, 0,
        8, 0, 3, 0,  5, 0, 0, 0,
    ];

    fn read(ack: &[u8]) -> NetlinkError {
        let mut err = NetlinkError::from_io("bind-rx", &io::Error::from_raw_os_error(22));
        err.read_ext_ack(&NlmsgerrAttrs::new(ack), &REQUEST);
        err
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_message_and_attribute() {
        // NLMSGERR_ATTR_MSG (1) "bad", NLMSGERR_ATTR_OFFS (2) 40: the nested id.
        let ack = [8, 0, 1, 0, b'b', b'a', b'd', 0, 8, 0, 2, 0, 40, 0, 0, 0];
        let err = read(&ack);
        assert_eq!(err.message.as_deref(), Some("bad"));
        assert_eq!(
            err.bad_attribute,
            Some(BadAttribute {
                offset: 40,
                name: Some("queues/id".into())
            })
        );
        assert_eq!(err.missing_attribute, None);
        assert_eq!(
            err.to_string(),
            "bind-rx: EINVAL (Invalid argument): bad [attribute queues/id at byte 40]"
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_missing_attributes() {
        // NLMSGERR_ATTR_MISS_TYPE (5), at the top level.
        let err = read(&[8, 0, 5, 0, 3, 0, 0, 0]);
        let missing = err.missing_attribute.unwrap();
        assert_eq!((missing.kind, missing.nest_offset), (3, None));
        assert_eq!(missing.name.as_deref(), Some("fd"));
        // … and in the nest that starts at byte 28 (NLMSGERR_ATTR_MISS_NEST, 6).
        let err = read(&[8, 0, 5, 0, 1, 0, 0, 0, 8, 0, 6, 0, 28, 0, 0, 0]);
        let missing = err.missing_attribute.unwrap();
        assert_eq!(missing.nest_offset, Some(28));
        assert_eq!(missing.name.as_deref(), Some("queues/id"));
    }

    #[test]
    fn names_every_attribute_and_nothing_between() {
        let name = |offset| name_at(&REQUEST, offset).map(|path| path.join("/"));
        assert_eq!(name(20).as_deref(), Some("ifindex"));
        assert_eq!(name(28).as_deref(), Some("queues"));
        assert_eq!(name(32).as_deref(), Some("queues/type"));
        assert_eq!(name(40).as_deref(), Some("queues/id"));
        assert_eq!(name(48).as_deref(), Some("fd"));
        for offset in [0, 15, 16, 21, 24, 36, 44, 52, 56, 1000] {
            assert_eq!(name(offset), None, "{offset}");
        }
    }

    #[test]
    fn an_error_without_acknowledgment_has_the_errno_alone() {
        let err = NetlinkError::from_io("bind-rx", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(err.to_string(), "bind-rx: EPERM (Operation not permitted)");
        assert_eq!(errno_text(libc::ERANGE), "Numerical result out of range");
        assert_eq!(errno_name(525), "ETOOSMALL");
        assert_eq!(errno_name(99_999), "errno 99999");
    }
}
