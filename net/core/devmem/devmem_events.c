// SPDX-License-Identifier: GPL-2.0

/* The code behind the tracepoints that the Rust crate calls. */

#include <linux/types.h>

#define CREATE_TRACE_POINTS
#define CREATE_RUST_TRACE_POINTS
#include <trace/events/net_devmem.h>
