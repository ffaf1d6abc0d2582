/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How large a frame is. A program sees what is in its first buffer, up to data_end; the rest of a large frame is in
 * further ones, which only the kernel can count, and to call it takes time. An ordinary frame is not worth it: one that
 * is no larger than all devices take, and whose packet does not go on. (What else is in further buffers then is no
 * packet's. A device may refuse the frame for it, and nobody misses it.)
 *
 * Headers are read in the first buffer alone, which a veth fills up to 3.5 KB before it begins the next, however the
 * sender cut the packet up.
 */
#ifndef MSTACK_LIB_FRAME_SIZE_H
#define MSTACK_LIB_FRAME_SIZE_H

#include "parse.h"

static __always_inline __u32 first_buffer_size(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data_end - (void *)(long)ctx->data;
}

static __always_inline __u32 frame_size(struct xdp_md *ctx, const struct packet *packet)
{
	__u32 first = first_buffer_size(ctx);

	if (first <= MSTACK_MIN_FRAME && packet->network_offset + packet->length <= first)
		return first;
	return bpf_xdp_get_buff_len(ctx);
}

#endif
