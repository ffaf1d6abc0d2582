#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# run.sh BINARY SEEDS: lets a fuzz target run for MSTACK_FUZZ_SECONDS (3 unless given), from the seeds in the tree and
# from what earlier runs of this build found. A crash is written beside the binary as NAME-crash-...; give that file to
# the binary to see it again.
#
# Seeds: X.hex is bytes in hexadecimal, 00x192 for 192 of them, with comments from # to the end of the line; any other
# file is taken as it is.
set -euo pipefail
binary=$1 seeds=$2 name=$(basename "$1")
found=$binary.corpus
mkdir -p "$found"
given=$(mktemp -d)
trap 'rm -rf "$given"' EXIT

hex() {
  sed 's/#.*//' "$1" | tr -s ' \n' '\n' |
    awk '{ split($1, part, "x"); for (n = part[2] ? part[2] : 1; n > 0; n--) if (part[1] != "") printf "\\x%s", part[1] }'
}
for seed in "$seeds"/*; do
  case $seed in
    *.hex) printf '%b' "$(hex "$seed")" >"$given/$(basename "$seed" .hex)" ;;
    *) cp "$seed" "$given" ;;
  esac
done
"$binary" -max_total_time="${MSTACK_FUZZ_SECONDS:-3}" -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="$binary-" "$found" "$given" 2>&1 | tail -n 60
