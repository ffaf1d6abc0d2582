/* SPDX-License-Identifier: BSD-2-Clause */
/* What lwIP asks of a platform: a hosted one with GNU C. */
#ifndef MSTACK_LWIP_ARCH_CC_H
#define MSTACK_LWIP_ARCH_CC_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PACK_STRUCT_BEGIN
#define PACK_STRUCT_STRUCT __attribute__((packed))
#define PACK_STRUCT_END

#define LWIP_NO_CTYPE_H 0
#define LWIP_TIMEVAL_PRIVATE 0
#include <sys/time.h>

#define LWIP_PLATFORM_DIAG(x) \
  do {                        \
    printf x;                 \
  } while (0)
/* An assertion of lwIP's is a broken invariant: better no stack than one that goes on. */
#define LWIP_PLATFORM_ASSERT(x)                                               \
  do {                                                                        \
    fprintf(stderr, "lwIP: %s, at line %d of %s\n", (x), __LINE__, __FILE__); \
    abort();                                                                  \
  } while (0)

#ifdef __cplusplus
extern "C" {
#endif
/* Random bits from the kernel, and the Internet checksum of lwIP's inner loops: see platform.cpp. */
uint32_t mstack_lwip_random(void);
uint16_t mstack_lwip_checksum(const void* data, int length);
#ifdef __cplusplus
}
#endif

#define LWIP_RAND() mstack_lwip_random()
#define LWIP_CHKSUM mstack_lwip_checksum

#endif
