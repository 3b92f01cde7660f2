// SPDX-License-Identifier: GPL-2.0

//! An ACK points at an attribute that is gone when it is sent.
//@ error lifetime may not live long enough

use kernel::net::genetlink::{Attr, ExtAck};

fn blame<'ack, 'attr>(ack: ExtAck<'ack>, attr: Attr<'attr>) {
    ack.bad_attr(attr);
}
