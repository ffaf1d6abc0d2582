#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Builds, measures, and prints a table for the README on stdout; what it is doing meanwhile goes to stderr.
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./selftests/bench/run.sh [option]...
  --quick         shorter measurements, as many rounds
  --rounds N      rounds, of which the median counts (5)
  --only NAME     this alone: uplink_rx, receive, transmit, echo, echo_rate, control (repeatable)
  --lane NAME     only what is called so in the table, without ratios: for a profiler
  --json FILE     write every round there
  --build-dir DIR a build of one's own, made already, instead of the release preset
END
}

arguments=() build_dir=''
while (($#)); do
  case $1 in
    --quick) arguments+=("$1"); shift ;;
    --rounds | --only | --lane | --json | --build-dir)
      (($# > 1)) || { echo "$1 needs a value" >&2; usage >&2; exit 2; }
      case $1 in
        --build-dir) build_dir=$(realpath "$2") ;;
        --json) arguments+=("$1" "$(realpath "$2")") ;;
        *) arguments+=("$1" "$2") ;;
      esac
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
((EUID == 0)) || { echo "run.sh: it makes network namespaces: run it as root, sudo ./selftests/bench/run.sh" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ -z $build_dir ]]; then
  # shellcheck source=../support/packages.sh
  source selftests/support/packages.sh
  {
    install_packages "${test_packages[@]}"
    cmake --preset release
    cmake --build --preset release
  } >&2
  build_dir=$PWD/build
fi
export MSTACKD=$build_dir/loader/mstackd MSTACK=$build_dir/loader/mstack
# Whatever else runs here comes second.
exec nice -n -20 "$build_dir/selftests/bench/mstack_bench" --uplink-rx-cost "$build_dir/selftests/bench/uplink_rx_cost" "${arguments[@]}"
