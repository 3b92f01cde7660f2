/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Tracepoints of device memory TCP in Rust (net/core/devmem/).
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM net_devmem

#if !defined(_TRACE_NET_DEVMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_NET_DEVMEM_H

#include <linux/tracepoint.h>

/* A dma-buf was bound to RX queues. */
TRACE_EVENT(net_devmem_bind,

	TP_PROTO(u32 id, u32 ifindex, u32 queues, u32 niovs, u32 niov_size),

	TP_ARGS(id, ifindex, queues, niovs, niov_size),

	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, ifindex)
		__field(u32, queues)
		__field(u32, niovs)
		__field(u32, niov_size)
	),

	TP_fast_assign(
		__entry->id = id;
		__entry->ifindex = ifindex;
		__entry->queues = queues;
		__entry->niovs = niovs;
		__entry->niov_size = niov_size;
	),

	TP_printk("id=%u ifindex=%u queues=%u niovs=%u niov_size=%u",
		  __entry->id, __entry->ifindex, __entry->queues,
		  __entry->niovs, __entry->niov_size)
);

/*
 * A binding left its queues. Its memory stays mapped until the niovs that are
 * still away from our pool have come back.
 */
TRACE_EVENT(net_devmem_unbind,

	TP_PROTO(u32 id, u32 away),

	TP_ARGS(id, away),

	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, away)
	),

	TP_fast_assign(
		__entry->id = id;
		__entry->away = away;
	),

	TP_printk("id=%u away=%u",
		  __entry->id, __entry->away)
);

/* A page pool wanted niovs, and there were none. */
TRACE_EVENT(net_devmem_alloc_fail,

	TP_PROTO(u32 id, u64 failures),

	TP_ARGS(id, failures),

	TP_STRUCT__entry(
		__field(u64, failures)
		__field(u32, id)
	),

	TP_fast_assign(
		__entry->id = id;
		__entry->failures = failures;
	),

	TP_printk("id=%u failures=%llu",
		  __entry->id, __entry->failures)
);

/* User space was told of a piece of device memory. */
TRACE_EVENT(net_devmem_token_issue,

	TP_PROTO(u64 inode, u32 token, u32 id, u64 offset, u32 len),

	TP_ARGS(inode, token, id, offset, len),

	TP_STRUCT__entry(
		__field(u64, inode)
		__field(u64, offset)
		__field(u32, token)
		__field(u32, id)
		__field(u32, len)
	),

	TP_fast_assign(
		__entry->inode = inode;
		__entry->token = token;
		__entry->id = id;
		__entry->offset = offset;
		__entry->len = len;
	),

	TP_printk("socket=%llu token=%u id=%u offset=%llu len=%u",
		  __entry->inode, __entry->token, __entry->id, __entry->offset,
		  __entry->len)
);

/* User space gave a token back. */
TRACE_EVENT(net_devmem_token_release,

	TP_PROTO(u64 inode, u32 token),

	TP_ARGS(inode, token),

	TP_STRUCT__entry(
		__field(u64, inode)
		__field(u32, token)
	),

	TP_fast_assign(
		__entry->inode = inode;
		__entry->token = token;
	),

	TP_printk("socket=%llu token=%u",
		  __entry->inode, __entry->token)
);

#endif /* _TRACE_NET_DEVMEM_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
