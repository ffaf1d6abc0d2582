#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs the tests of the built tree on Debian's kernels, in virtual machines (QEMU, without hardware virtualisation).
set -euo pipefail

usage() {
  cat <<'END'
usage: sudo ./selftests/vm/run.sh [option]... [VERSION]...
  VERSION              of Linux, as 6.1, or newest; the newest package of it that apt offers is taken (6.1, 6.12 and newest
                       unless given)
  --build DIR          the built tree: build unless given
  --uplink U           veth, virtio (virtio-net, which has native XDP) or e1000e (a driver without; boots Debian's full
                       kernel). Repeatable; all of them unless given
  --label L            only the tests of this label: bpf or net. Repeatable; with an uplink other than veth, net alone
  --filter REGEX       only the tests whose name matches
  --quick              what continuous integration runs: of bpf and net what kernels differ in, on veth and virtio
  --jobs N             CPUs of the machine, and tests at once: 2
  --time-limit S       of one machine, seconds: 14400
  --each-kernel        that a kernel can be run on no uplink is a failure; MSTACK_EACH_KERNEL=1 says the same
  --fetch              no tests: only fetches the kernels, and says which, or why there is none
  --shell              no tests: a shell in the machine, on this terminal
  --readme             writes the table into README.md, with the earlier result of each kernel and uplink that is not run
                       now; not with --filter or --label. Its commits are those of these sources, built or not
Exit status: 0 all passed, 1 something failed, 77 something could not be run here, as the table says, and it was not all of
a kernel with --each-kernel; 2 wrong arguments.
END
}

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=selftests/vm
# shellcheck source=selftests/support/packages.sh
source selftests/support/packages.sh
# shellcheck source=selftests/vm/kernels.sh
source $here/kernels.sh
# shellcheck source=selftests/vm/wires.sh
source $here/wires.sh

# On other uplinks than a veth: what a driver can get wrong.
uplink_filter='^net\..*(Doctor\.AllIs|Steering|Transmit|Isolation|Lifetime|Crash|World|Guard|Vlan|Jumbo|RawSockets)'
# One of every kind of what kernels differ in: each program loads and runs, and is hooked, pinned and replaced; sockets and
# their end; rings, redirects, routes, the slow path; a vport's namespace. And what this machine's kernel may lack: SCTP,
# DCCP, VLANs.
quick_filter='^bpf\.(Every/Load|SockRelease|SockBind|UplinkRx\.|VportRx|VportTxRoute|VportTxSlow|VportTxAnswer)'
quick_filter+='|^net\.(LateBind|ThreadsShort|Doctor|Chain\.A(lone|Filter)|Guard\.Packet|JumboKernel\.|Mstackd/Lifetime\.Close|OtherProtocols|VlanTest)'
quick_filter+='|^net\.Modes/(Steering\.(Udp|Every)|Transmit\.(OnLink|ThroughAGateway)|VlanTraffic\.(AStack|AsMuchAsFits/native)'
quick_filter+='|GuardEach\.TheOwner|Jumbo(Frames\.BothWays|\.Segments)|Peers\..*/native)'
quick_uplink_filter='^net\.(Doctor\.AllIs|Isolation\.NeitherSends|Mstackd/Lifetime\.Close/AliveUdp'
quick_uplink_filter+='|Modes/(Steering\.Udp|Transmit\.OnLink))'

build=build uplinks=() labels=() filter='' quick=0 jobs=2 limit=14400 shell=0 readme=0 fetch=0 each_kernel=${MSTACK_EACH_KERNEL:+1} versions=()
while (($#)); do
  case $1 in
    --build | --uplink | --label | --filter | --jobs | --time-limit)
      (($# > 1)) || { echo "$1 needs a value" >&2; usage >&2; exit 2; }
      case $1 in
        --build) build=$2 ;;
        --uplink) uplinks+=("$2") ;;
        --label) labels+=("$2") ;;
        --filter) filter=$2 ;;
        --jobs) jobs=$2 ;;
        --time-limit) limit=$2 ;;
      esac
      shift 2
      ;;
    --quick) quick=1; shift ;;
    --shell) shell=1; shift ;;
    --fetch) fetch=1; shift ;;
    --readme) readme=1; shift ;;
    --each-kernel) each_kernel=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *)
      [[ $1 == newest || $1 =~ ^[0-9]+\.[0-9]+$ ]] || { echo "neither an option nor a version: $1" >&2; usage >&2; exit 2; }
      versions+=("$1")
      shift
      ;;
  esac
done
((${#versions[@]})) || versions=(6.1 6.12 newest)
# What of the tests is run: a result of all of them is not replaced by one of less.
tests=all
((!quick)) || tests=quick
[[ -z $filter ]] && ((!${#labels[@]} && !shell)) || tests=some
if ((readme)) && [[ $tests == some ]]; then
  echo "--readme is for all tests or --quick: the table would not say what was run" >&2
  exit 2
fi
((${#labels[@]})) || labels=(bpf net)
if ((!${#uplinks[@]})); then
  uplinks=(veth virtio)
  ((quick)) || uplinks+=(e1000e)
fi
for label in "${labels[@]}"; do
  [[ $label == @(bpf|net) ]] || { echo "no such label: $label" >&2; usage >&2; exit 2; }
done
for uplink in "${uplinks[@]}"; do
  [[ $uplink == @(veth|virtio|e1000e) ]] || { echo "no such uplink: $uplink" >&2; usage >&2; exit 2; }
done
build=$(realpath -m "$build")
((fetch)) || [[ -x $build/selftests/bpf_tests && -x $build/selftests/net_tests ]] ||
  { echo "$build holds no built tests: cmake --build it, or say --build DIR" >&2; exit 1; }
state=$build/vm
mkdir -p "$state/kernels"

# choose UPLINK: `chosen` becomes ctest with the tests for it
choose() {
  chosen=(ctest --test-dir "$build" -L "^($(IFS='|'; echo "${labels[*]}"))\$")
  [[ $1 == veth ]] || chosen+=(-L '^net$')
  if [[ -n $filter ]]; then
    chosen+=(-R "$filter")
  elif [[ $1 != veth ]]; then
    if ((quick)); then chosen+=(-R "$quick_uplink_filter"); else chosen+=(-R "$uplink_filter"); fi
  elif ((quick)); then
    chosen+=(-R "$quick_filter")
  fi
}

# job RELEASE UPLINK: the guest's work
job() {
  local release=$1 uplink=$2
  choose "$uplink"
  # A deadline only says when to give up.
  echo "export MSTACK_TEST_PATIENCE=${MSTACK_TEST_PATIENCE:-240}"
  [[ $uplink == veth ]] || echo 'export MSTACK_TEST_UPLINK="nic0:nic1 nic2:nic3"'
  # What the driver has is then no reason to skip.
  [[ $uplink != virtio ]] || echo 'export MSTACK_TEST_NATIVE=1'
  [[ $uplink != virtio ]] || ((${release%%.*} < 7)) || echo 'export MSTACK_TEST_ZERO_COPY=1'
  if ((shell)); then
    echo "cd ${build@Q}; exec setsid cttyhack /bin/sh"
  else
    chosen+=(-j "$jobs" --output-on-failure --no-tests=error --output-junit /results/junit.xml)
    echo "${chosen[@]@Q}"
    echo 'echo $? >/results/status'
  fi
}

# sources: the commit of what is here, and whether it was changed. Git's index, which may be another user's, stays as it is.
sources() {
  local index commit
  index=$(mktemp)
  if cp "$(git rev-parse --git-path index)" "$index" && commit=$(git rev-parse --short HEAD); then
    GIT_INDEX_FILE=$index git diff --quiet HEAD -- . ':!README.md' || commit+='-changed'
    echo "$commit"
  fi 2>/dev/null
  rm -f "$index"
}

place() {
  echo "$state/$1-$2-$tests"
}

# lock: its places, for as long as this runs, the report included; another run may be here too
lock() {
  local out fd
  while read -r out; do
    exec {fd}>"$out.lock"
    flock -n "$fd" || { echo "waiting for another run in $out ..." >&2; flock "$fd"; }
  done < <(printf '%s\n' "${runs[@]}" | sort -u)
}

# lost_flags LOG: whether a kernel died of flags that no processor can have, EFLAGS beyond bit 21. QEMU's translator mixes
# them up, rarely, when an instruction faults; that is not the kernel's doing.
lost_flags() {
  grep -aqE 'EFLAGS: (00[4-9a-f]|0[1-9a-f].|[1-9a-f]..)[0-9a-f]{5}' "$1" 2>/dev/null
}

# boot VERSION UPLINK: leaves the log in a directory of its own, and what came of it, or one line that says why nothing did
boot() {
  local version=$1 uplink=$2 flavour=cloud-amd64 kernel out status qemu_options beside=() why attempt
  [[ $uplink != e1000e ]] || flavour=amd64
  out=$(place "$version" "$uplink")
  rm -rf "$out"
  mkdir -p "$out"
  kernel=$(fetch_kernel "$version" $flavour "$state/kernels" 2>"$out/fetch.log") ||
    { tail -n 1 "$out/fetch.log" >"$out/not-run"; return 0; }
  if [[ $uplink == virtio ]]; then
    beside=(beside_taps)
    why=$(beside_taps true 2>&1) || { echo "no taps can be made here: ${why%%$'\n'*}" >"$out/not-run"; return 0; }
  fi
  echo "$commit" >"$out/commit"
  job "$(ls "$kernel/lib/modules")" "$uplink" >"$out/job"
  if ! $here/initramfs.sh "$build" "$kernel" "$out/job" "$out/initramfs" 2>"$out/initramfs.log"; then
    echo "its file system could not be made: $(tail -n 1 "$out/initramfs.log")" >"$out/broken"
    return 0
  fi
  mapfile -t qemu_options < <(nics "$uplink" "$jobs")
  local serial=(-serial "file:$out/log")
  ((!shell)) || serial=(-serial mon:stdio)
  # Without what is fast in hardware and slow here: bytes copied one by one, five levels of page tables, a new block of
  # code at every copy from user space, and what guards a kernel whose processor speculates.
  local cpu=max,erms=off,fsrm=off,la57=off,smap=off
  # no_timer_check: on a busy machine an emulated timer is late for the kernel's check of it, which ends in a panic.
  local arguments=(console=ttyS0 quiet panic=-1 oops=panic log_buf_len=8M no_timer_check nowatchdog mitigations=off
                   init_on_alloc=0)
  # One thread for all CPUs of the machine: with several, one may run what another has just patched over in the kernel's
  # code, and the guest dies of an int3 that nobody put there.
  for attempt in 1 2 3; do
    rm -f "$out/disk"
    truncate -s 64M "$out/disk"
    date +%s >"$out/started"
    status=0
    "${beside[@]}" setpriv --pdeathsig TERM timeout --foreground -k 30 "$limit" qemu-system-x86_64 \
      -accel tcg,thread=single -cpu "$cpu" -machine q35 -smp "$jobs" -m 3072 -nodefaults -display none -no-reboot \
      "${serial[@]}" -kernel "$kernel"/boot/vmlinuz-* -initrd "$out/initramfs" -append "${arguments[*]}" \
      -drive "file=$out/disk,format=raw,if=virtio" "${qemu_options[@]}" || status=$?
    lost_flags "$out/log" || break
    echo "QEMU lost the flags of a processor, attempt $attempt" >&2
    cp "$out/log" "$out/log.$attempt"
  done
  [[ $status != @(124|137) ]] || echo "ended by the time limit of $limit s" >"$out/broken"
  tar -C "$out" -xf "$out/disk" 2>/dev/null || true
  rm -f "$out/disk" "$out/initramfs"
  date +%s >"$out/ended"
}

if ! why=$(install_packages "${test_packages[@]}" "${vm_packages[@]}" 2>&1); then
  ((!each_kernel)) || echo -n 'failed on each kernel: ' >&2
  echo "virtual machines cannot be run here: ${why##*$'\n'}" >&2
  exit $((each_kernel ? 1 : 77))
fi
if ((fetch)); then
  for version in "${versions[@]}"; do
    kernel=$(fetch_kernel "$version" cloud-amd64 "$state/kernels" 2>"$state/fetch.log") ||
      { echo "Linux $version is not run: $(tail -n 1 "$state/fetch.log")"; continue; }
    echo "Linux $version is run in a virtual machine: ${kernel##*/}"
  done
  exit
fi
trap 'exit 130' INT  # QEMU ends by it as if all was well
machines=() runs=()
for version in "${versions[@]}"; do
  for uplink in "${uplinks[@]}"; do
    choose "$uplink"
    [[ $("${chosen[@]}" -N) != *'Total Tests: 0'* ]] || continue  # none of these tests is for it
    machines+=("$version $uplink")
    runs+=("$(place "$version" "$uplink")")
  done
done
((${#runs[@]})) || { echo "no test is called or labelled like that" >&2; exit 2; }
lock
commit=$(sources)
for machine in "${machines[@]}"; do
  echo "Linux ${machine/ /, uplink } ..." >&2
  boot "${machine% *}" "${machine#* }"
done
if ((shell)); then
  for why in "${runs[@]/%//not-run}" "${runs[@]/%//broken}"; do
    [[ ! -e $why ]] || { cat "$why" >&2; exit 1; }
  done
  exit 0
fi
arguments=()
((!readme)) || arguments+=(--readme README.md --earlier "$state")
((!each_kernel)) || arguments+=(--each-kernel)
exec $here/report.py "${arguments[@]}" "${runs[@]}"
