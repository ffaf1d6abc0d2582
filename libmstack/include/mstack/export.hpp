// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Marks what libmstack.so exports. Everything else in it is hidden.
#define MSTACK_API [[gnu::visibility("default")]]
