#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Installs what is missing, builds, checks the sources and runs the tests.
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./selftests/run.sh [option]...
  --label L            only the tests of this label: unit, bpf, differential, fuzz, net, stress, vm
                       (repeatable; all of them unless given)
  --filter REGEX       only the tests whose name matches, such as 'net\.Steering'
  --build-type TYPE    a preset of CMakePresets.json: release (the default), debug, asan, tsan
  --frames N           of the differential test: how many frames the programs and the reference model read (ten million)
  --fuzz-seconds S     how long each libFuzzer target runs (3)
  --seed S             run what is random in a test again; it prints its seed
  --jobs N             tests and compilers at once (one a CPU unless given)
  --sanitizers         build the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer, and under
                       ThreadSanitizer, and run them too, before all others
  --demo               run examples/demo.sh with what was built, before the tests
  --each-kernel        that a kernel of the virtual machines cannot be run here is a failure, and no skip
  --no-lint            leave out clang-format and clang-tidy
END
}

labels=() filter='' preset=release lint=1 demo=0 sanitizers=0 jobs=$(nproc)
while (($#)); do
  case $1 in
    --label | --filter | --build-type | --frames | --fuzz-seconds | --seed | --jobs)
      (($# > 1)) || { echo "$1 needs a value" >&2; usage >&2; exit 2; }
      case $1 in
        --label) labels+=("$2") ;;
        --filter) filter=$2 ;;
        --build-type) preset=$2 ;;
        --frames) export MSTACK_FRAMES=$2 ;;
        --fuzz-seconds) export MSTACK_FUZZ_SECONDS=$2 ;;
        --seed) export MSTACK_SEED=$2 ;;
        --jobs) jobs=$2 ;;
      esac
      shift 2
      ;;
    --sanitizers) sanitizers=1; shift ;;
    --demo) demo=1; shift ;;
    --each-kernel) export MSTACK_EACH_KERNEL=1; shift ;;
    --no-lint) lint=0; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
((EUID == 0)) || { echo "run.sh: the tests make network namespaces: run it as root, sudo ./selftests/run.sh" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=support/packages.sh
source selftests/support/packages.sh
install_packages "${test_packages[@]}"
selftests/support/debian.sh || echo "run.sh: no sources from Debian's archive: the lwIP examples are not built, and their tests are skipped" >&2

if ((lint)); then
  selftests/support/format.sh
fi
build=build
[[ $preset == release ]] || build=build-$preset
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -j "$jobs"
if ((lint)); then
  selftests/support/tidy.sh "$preset" "$jobs"
fi

# The fuzz targets have sanitizers of their own. The rest of the tests with one: --build-type asan or tsan.
if ((sanitizers)); then
  for one in asan tsan; do
    cmake --preset "$one" >/dev/null
    cmake --build --preset "$one" -j "$jobs" --target unit_tests
    ctest --preset "$one" -j "$jobs" -L '^unit$' --no-tests=error
  done
fi

((!demo)) || examples/demo.sh --build "$build"

# Before the tests, since a download is none; and so that it is seen which kernels they run on.
if ((!${#labels[@]})) || [[ " ${labels[*]} " == *" vm "* ]]; then
  selftests/vm/run.sh --fetch --build "$build" 6.1 6.12 || true
fi

arguments=(--preset "$preset" -j "$jobs" --output-on-failure --no-tests=error)
if ((${#labels[@]})); then
  arguments+=(-L "^($(IFS='|'; echo "${labels[*]}"))\$")
fi
[[ -z $filter ]] || arguments+=(-R "$filter")
printed=$(mktemp)
trap 'rm -f "$printed"' EXIT
ctest "${arguments[@]}" | tee "$printed" && exit
status=$?
# What failed inside of a virtual machine is far above by now.
grep '^failed on ' "$printed" || true
tac "$printed" | sed '/^The following tests FAILED:/q' | tac || true
exit "$status"
