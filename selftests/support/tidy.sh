#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# tidy.sh PRESET JOBS: clang-tidy over every C++ source that has changed, itself or any header, since it last passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=build
[[ $1 == release ]] || build=build-$1
passed=$build/tidy
mkdir -p "$passed"

mapfile -d '' headers < <(find bpf libmstack loader examples selftests \( -name '*.hpp' -o -name '*.h' \) -print0 | sort -z)
base=$(cat .clang-tidy selftests/.clang-tidy "$build/CMakeCache.txt" "${headers[@]}" | sha256sum)

todo=()
while read -r source; do
  stamp=$passed/$({ echo "$base $source"; cat "$source"; } | sha256sum | cut -d' ' -f1)
  [[ -e $stamp ]] || todo+=("$source" "$stamp")
done < <(sed -n 's|^ *"file": "\(.*\)",\{0,1\}$|\1|p' "$build/compile_commands.json" | grep '\.cpp$' | sort -u)
((${#todo[@]})) || exit 0

echo "clang-tidy: $((${#todo[@]} / 2)) sources"
# -w: the compiler has warned already; here are clang-tidy's own checks alone.
printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$2" bash -c '
  clang-tidy-19 --quiet -p "$0" --extra-arg=-w "$1" 2>/dev/null && touch "$2"' "$build"
