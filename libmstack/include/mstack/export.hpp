// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#if __cplusplus <= 202002L
#error "libmstack needs C++23: compile with -std=c++23 or newer"
#endif

/// Marks what libmstack.so exports. Everything else in it is hidden.
#define MSTACK_API [[gnu::visibility("default")]]
