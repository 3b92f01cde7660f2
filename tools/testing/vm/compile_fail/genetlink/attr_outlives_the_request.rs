// SPDX-License-Identifier: GPL-2.0

//! An attribute is kept when its request is over.
//@ error lifetime may not live long enough

use kernel::net::genetlink::{Attr, Request};

fn keep<'a>(request: Request<'a>) -> Option<Attr<'static>> {
    request.attr(1)
}
