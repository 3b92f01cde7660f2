# SPDX-License-Identifier: GPL-2.0

"""
The device memory TCP ABI as seen from an application: constants of
include/linux/socket.h and include/uapi/asm-generic/socket.h, the two
structures of include/uapi/linux/uio.h, and the parts of udmabuf and
dma-buf that a test needs.
"""

import struct

MSG_SOCK_DEVMEM = 0x2000000

SCM_DEVMEM_LINEAR = 78
SCM_DEVMEM_DMABUF = 79
SO_DEVMEM_DONTNEED = 80
# not in Python's socket module
SO_RCVBUFFORCE = 33
SO_PEEK_OFF = 42

# struct dmabuf_cmsg: frag_offset, frag_size, frag_token, dmabuf_id, flags
DMABUF_CMSG = struct.Struct("=QIIII")
# struct dmabuf_token: token_start, token_count
DMABUF_TOKEN = struct.Struct("=II")

# struct cmsghdr: cmsg_len, cmsg_level, cmsg_type
CMSG_HEADER = struct.Struct("=QII")

# A control buffer of this many bytes has room for one of our messages.
CMSG_SPACE = CMSG_HEADER.size + DMABUF_CMSG.size

# Limits of one SO_DEVMEM_DONTNEED call.
MAX_DONTNEED_TOKENS = 128
MAX_DONTNEED_FRAGS = 1024

# What recvmsg() says when the control buffer has no room for one message. It
# is an errno of the kernel's own (include/linux/errno.h) that reaches user
# space here, and so has no name in errno.h.
ETOOSMALL = 525

# ioctls
UDMABUF_CREATE = 0x40187542
UDMABUF_ARGS = struct.Struct("=IIQQ")
UDMABUF_FLAGS_CLOEXEC = 1
DMA_BUF_IOCTL_SYNC = 0x40086200
DMA_BUF_SYNC_READ = 1
DMA_BUF_SYNC_END = 4
