// SPDX-License-Identifier: GPL-2.0

/* Inlines and fields that the abstractions in rust/kernel/dma_buf need. */

#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/scatterlist.h>

__rust_helper u64 rust_helper_dma_buf_inode(const struct dma_buf *dmabuf)
{
	return file_inode(dmabuf->file)->i_ino;
}

__rust_helper void rust_helper_get_dma_buf(struct dma_buf *dmabuf)
{
	get_dma_buf(dmabuf);
}

__rust_helper const char *
rust_helper_dma_buf_exporter_name(const struct dma_buf *dmabuf)
{
	return dmabuf->exp_name;
}

__rust_helper void rust_helper_sg_set_page(struct scatterlist *sg,
					   struct page *page, unsigned int len,
					   unsigned int offset)
{
	sg_set_page(sg, page, len, offset);
}
