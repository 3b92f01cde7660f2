// SPDX-License-Identifier: GPL-2.0

/* Fields of a dma-buf that the abstractions in rust/kernel/dma_buf read. */

#include <linux/dma-buf.h>
#include <linux/fs.h>

__rust_helper u64 rust_helper_dma_buf_inode(const struct dma_buf *dmabuf)
{
	return file_inode(dmabuf->file)->i_ino;
}

__rust_helper const char *
rust_helper_dma_buf_exporter_name(const struct dma_buf *dmabuf)
{
	return dmabuf->exp_name;
}

