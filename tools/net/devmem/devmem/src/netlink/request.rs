// SPDX-License-Identifier: GPL-2.0
//! Asking and reading the answer, with the kernel's words in the error.

use std::result::Result as StdResult;

use netlink_bindings::traits::NetlinkRequest;
use netlink_bindings::utils::{ErrorContext, chop_header};
use netlink_socket2::NetlinkSocket;

use super::NetlinkError;
use crate::error::Result;

/// The answers to a request, decoded: one to a `do`, any number to a `dump`.
/// What `decode` makes nothing of is left out.
pub(super) fn ask<R, T>(
    socket: &mut NetlinkSocket,
    operation: &'static str,
    request: &R,
    decode: impl Fn(&R::ReplyType<'_>) -> StdResult<Option<T>, ErrorContext>,
) -> Result<Vec<T>>
where
    R: NetlinkRequest,
{
    let mut reply = socket
        .request(request)
        .map_err(|err| NetlinkError::from_io(operation, &err))?;
    let mut items = Vec::new();
    while let Some(attributes) = reply.recv() {
        let attributes = attributes.map_err(|err| NetlinkError::from_reply(operation, &err))?;
        let item =
            decode(&attributes).map_err(|err| NetlinkError::from_io(operation, &err.into()))?;
        items.extend(item);
    }
    Ok(items)
}

/// An attribute of type `uint`: 4 bytes on the wire, or 8 where the value needs
/// them. The bindings read the first 4 only.
pub(super) fn uint(attributes: &[u8], kind: u16) -> Option<u64> {
    let mut next = 0;
    loop {
        let (header, body) = chop_header(attributes, &mut next)?;
        if header.r#type != kind {
            continue;
        }
        return match body.len() {
            4 => Some(u32::from_ne_bytes(body.try_into().ok()?).into()),
            8 => Some(u64::from_ne_bytes(body.try_into().ok()?)),
            _ => None,
        };
    }
}
