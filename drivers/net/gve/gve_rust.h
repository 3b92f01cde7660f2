/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The border between the C driver of gVNIC and its queue management in Rust.
 * Bindgen reads it, so it needs nothing of gve.h.
 */

#ifndef _GVE_RUST_H
#define _GVE_RUST_H

#include <linux/types.h>

struct gve_rx_ring;
struct net_device;

/* Rust: gives a device in DQO-RDA mode its queue ops, before it is registered */
void gve_rust_attach(struct net_device *dev);

/*
 * C, for Rust. All under the instance lock, in process context. The device is
 * asked to create or destroy a queue between gve_glue_quiesce() and
 * gve_glue_resume() only, and the other steps from gve_glue_install() on are
 * taken while the queue's own NAPI instance is off.
 */
bool gve_glue_is_running(struct net_device *dev);
bool gve_glue_has_xdp(struct net_device *dev);
bool gve_glue_reset_pending(struct net_device *dev);
void gve_glue_schedule_reset(struct net_device *dev);

struct gve_rx_ring *gve_glue_shell(void);
struct gve_rx_ring *gve_glue_alloc(struct net_device *dev, u32 index);
void gve_glue_free(struct gve_rx_ring *ring);
bool gve_glue_has_ring(struct net_device *dev, u32 index);
bool gve_glue_overstays(struct net_device *dev, u32 index);

/* @but: U32_MAX if all are meant */
void gve_glue_quiesce(struct net_device *dev, u32 but);
void gve_glue_resume(struct net_device *dev, u32 but);
void gve_glue_run(struct net_device *dev, u32 index);

void gve_glue_install(struct net_device *dev, u32 index,
		      struct gve_rx_ring *ring);
void gve_glue_remove(struct net_device *dev, u32 index,
		     struct gve_rx_ring *ring);
int gve_glue_create(struct net_device *dev, u32 index);
int gve_glue_destroy(struct net_device *dev, u32 index);
void gve_glue_post(struct net_device *dev, u32 index);

#endif /* _GVE_RUST_H */
