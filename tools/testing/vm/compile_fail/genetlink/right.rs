// SPDX-License-Identifier: GPL-2.0

//! A number is read, and blamed on its attribute: this compiles.

use kernel::{net::genetlink::Request, prelude::*};

fn read(request: Request<'_>) -> Result<u32> {
    let attr = request.require(1, c"no number")?;
    attr.u32().inspect_err(|_| request.extack().bad_attr(attr))
}
