#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# MultiStack in one go: two network namespaces joined by a veth, one of them "this host", the other "the wire"; a
# user-level UDP service as an unprivileged user on the address that the kernel serves too; and what it cannot do.
# Everything it makes but the build is gone when it ends, and two can run side by side. sudo ./examples/demo.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'END'
usage: sudo ./examples/demo.sh [--build DIR]
  --build DIR   where CMake was run already, such as build, in place of a build of its own in build/demo
END
}

build=''
while (($#)); do
  case $1 in
    --build) (($# > 1)) || { echo "--build needs a value" >&2; exit 2; }; build=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

if ((EUID != 0)); then
  echo "demo.sh: it makes network namespaces and attaches BPF programs: run it as root, sudo ./examples/demo.sh" >&2
  exit 1
fi

work=$(mktemp -d "/tmp/mstack-demo.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }
ok() { printf '   ok: %s\n' "$*"; }
fail() {
  printf '   FAILED: %s\n' "$*" >&2
  [[ ! -s $work/mstackd.log ]] || sed 's/^/   mstackd: /' "$work/mstackd.log" >&2
  exit 1
}

# Runs a command whose output only matters if it fails.
quietly() {
  if ! "$@" >"$work/output" 2>&1; then
    tail -n 40 "$work/output" >&2
    fail "$*"
  fi
}

# Runs a command until it succeeds, at most a hundred times: ten seconds and more.
await() {
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  return 1
}

step "installing what is missing and building"
# shellcheck source=../selftests/support/packages.sh
source selftests/support/packages.sh
install_packages "${build_packages[@]}" "${demo_packages[@]}"
mkdir -p build
{
  flock 9 # one at a time
  if [[ -z $build ]]; then
    build=build/demo
    quietly cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMSTACK_TESTS=OFF
  fi
  quietly cmake --build "$build" --target mstackd mstack_command udp_echo pkt_gen claim_denied
} 9>build/demo.lock
bin=$(realpath "$build")
# What the unprivileged user runs is copied, since this folder may be below one that nobody else may enter.
cp "$bin"/examples/{udp_echo,pkt_gen,claim_denied} "$bin"/libmstack/libmstack.so.?* "$work"
ok "built in $build"

# --- a small world of our own ------------------------------------------------------------------------------------
id=$$
host=msdemo-host-$id wire=msdemo-wire-$id
cgroup2=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
[[ -n $cgroup2 ]] || fail "no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup"
cgroup=$cgroup2/mstack-demo-$id
pids=()

cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  ip netns del "$host" 2>/dev/null || true
  ip netns del "$wire" 2>/dev/null || true
  umount "$work/bpf" 2>/dev/null || true
  rmdir "$cgroup" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# What runs a command in a namespace: on the host side in the demo's cgroup too, where binds are watched. Arrays, so
# that a command in the background is the process that $! names; nsenter, since `ip netns exec` would hide the BPF file
# system behind a new /sys.
# shellcheck disable=SC2016
in_host=(bash -c 'echo $$ >"$0/cgroup.procs" && exec nsenter --net="/run/netns/$1" -- "${@:2}"' "$cgroup" "$host")
on_wire=(nsenter --net="/run/netns/$wire" --)
# An unprivileged user with no capability and no way to get one.
as_user=("${in_host[@]}" setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all
         env LD_LIBRARY_PATH="$work")
mstack() { nsenter --net="/run/netns/$host" -- "$bin/loader/mstack" --run-dir "$work/run" --pin-dir "$work/bpf/mstack" "$@"; }
# Says a line to a UDP port of the host from the wire, and compares what comes back.
answers() { [[ $("${on_wire[@]}" bash -c 'echo "$1" | socat -t1 -T1 - "UDP:192.0.2.1:$0"' "$1" "$2") == "$3" ]]; }

step "two namespaces, $host (192.0.2.1) and $wire (192.0.2.2), joined by a veth"
mkdir "$cgroup" "$work/run" "$work/bpf"
mount -t bpf bpf "$work/bpf"
ip netns add "$host"
ip netns add "$wire"
ip -n "$host" link add eth0 type veth peer name eth0 netns "$wire"
ip -n "$host" addr add 192.0.2.1/24 dev eth0
ip -n "$wire" addr add 192.0.2.2/24 dev eth0
# A veth hands XDP packets with unfinished checksums otherwise, and takes redirected frames only with NAPI: before it is up,
# or it does not say that it does.
for namespace in "$host" "$wire"; do
  nsenter --net="/run/netns/$namespace" -- ethtool -K eth0 tx off gro on >/dev/null
done
for namespace in "$host" "$wire"; do
  ip -n "$namespace" link set lo up
  ip -n "$namespace" link set eth0 up
done
ok "the wire reaches the host: $("${on_wire[@]}" ping -c1 -W2 192.0.2.1 | grep -o 'time=.*')"

step "mstackd attaches to eth0"
"${in_host[@]}" "$bin/loader/mstackd" --uplink eth0 --run-dir "$work/run" --pin-dir "$work/bpf/mstack" --cgroup "$cgroup" \
  2>"$work/mstackd.log" &
pids+=($!)
serves() { [[ $(mstack status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["daemon"]["state"])') == running ]]; }
await serves || fail "mstackd does not serve"
mstack uplinks

step "a kernel service on 192.0.2.1:7001 and, by an unprivileged user, a user-level one on 192.0.2.1:7"
sysctl_port() { nsenter --net="/run/netns/$host" -- sysctl -qw net.ipv4.ip_unprivileged_port_start="$1"; }
sysctl_port 7 # the kernel decides who may bind a low port; here everybody may
"${in_host[@]}" socat UDP-RECVFROM:7001,bind=192.0.2.1,fork SYSTEM:'read -r line; echo "the kernel says $line"' &
pids+=($!)
"${as_user[@]}" "$work/udp_echo" --run-dir "$work/run" --bind 192.0.2.1:7 >"$work/echo.log" &
echo_pid=$!
pids+=("$echo_pid")
await grep -q ready "$work/echo.log" || fail "udp_echo is not ready: $(cat "$work/echo.log")"
ok "udp_echo runs as $(ps -o user= -p "$echo_pid"), capabilities $(awk '/^CapEff/ { print $2 }' "/proc/$echo_pid/status")"
await answers 7 "hello, user level" "hello, user level" || fail "no echo from the user-level service"
ok "the user-level service answers on port 7"
await answers 7001 "hello, kernel" "the kernel says hello, kernel" || fail "the kernel's service does not answer"
ok "the kernel's service answers on port 7001 of the same address"
mstack vports
mstack claims
PATH=$PATH:/usr/sbin bpftool map dump pinned "$work/bpf/mstack/claims" >"$work/claims"
cat "$work/claims"
grep -q '"cookie"' "$work/claims" || fail "bpftool prints no field names"
ok "bpftool prints the map of claims by field names"

step "what it may not do"
"${as_user[@]}" "$work/claim_denied" --run-dir "$work/run" || fail "a claim that must be refused was admitted"
ok "claims without ownership are refused"
"${on_wire[@]}" tcpdump -i eth0 -Q in -nn -l 'udp src port 9' >"$work/spoofed" 2>"$work/tcpdump.log" &
pids+=($!)
await grep -q 'listening on' "$work/tcpdump.log" || fail "tcpdump does not listen"
"${as_user[@]}" "$work/pkt_gen" tx --run-dir "$work/run" --bind 192.0.2.1:5000 --to 192.0.2.2:5000 \
  --spoof 192.0.2.1:9 --seconds 2 --rate 10000 --json >"$work/spoof.json"
dropped=$(mstack stats --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["counters"]["TX_DROP_UNCLAIMED"])')
((dropped > 0)) || fail "no spoofed packet was counted"
[[ ! -s $work/spoofed ]] || fail "a spoofed packet reached the wire: $(head -1 "$work/spoofed")"
ok "$dropped packets from a source it does not own died in the kernel; none reached the wire"

step "the claim ends with its process"
kill -KILL "$echo_pid"
wait "$echo_pid" 2>/dev/null || true
no_claim() { [[ $(mstack claims --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["claims"]))') == 0 ]]; }
await no_claim || fail "the claim outlived its process"
ok "udp_echo was killed, its claim is gone"
"${in_host[@]}" socat UDP-RECVFROM:7,bind=192.0.2.1,fork SYSTEM:'read -r line; echo "the kernel says $line"' &
pids+=($!)
await answers 7 again "the kernel says again" || fail "port 7 did not go back to the kernel"
ok "port 7 is the kernel's again"

printf '\nAll steps passed.\n'
