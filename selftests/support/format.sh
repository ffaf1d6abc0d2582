#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Whether every source is as clang-format has it. `format.sh --fix` makes it so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
mode=(--dry-run --Werror)
[[ ${1-} != --fix ]] || mode=(-i)
find bpf libmstack loader examples selftests \( -name '*.cpp' -o -name '*.hpp' -o -name '*.c' -o -name '*.h' \) -print0 |
  xargs -0 clang-format-14 "${mode[@]}"
