# SPDX-License-Identifier: BSD-2-Clause
# The one list of Debian packages, sourced by selftests/run.sh and examples/demo.sh.
# shellcheck shell=bash

# To build mstackd, mstack, the library and the examples, and to run them between network namespaces.
build_packages=(g++ cmake ninja-build pkg-config clang bpftool libbpf-dev libxdp-dev libmnl-dev libcli11-dev libfmt-dev
                nlohmann-json3-dev iproute2 ethtool procps)
# What examples/demo.sh shows it with.
demo_packages=(socat tcpdump iputils-ping python3 util-linux)
# What support/debian.sh unpacks a source package with.
unpack_packages=(dpkg-dev xz-utils)
# The clients of lwIP's servers, and what the nginx that debian.sh gets is linked with.
lwip_packages=(curl wrk apache2-utils iperf "${unpack_packages[@]}" libpcre2-8-0 libssl3 libcrypt1 zlib1g)
# To build, check and run the tests too.
test_packages=("${build_packages[@]}" libgtest-dev clang-format-14 clang-tidy-19 libclang-rt-19-dev xdp-tools iputils-ping
               traceroute python3-scapy nftables "${lwip_packages[@]}")
# To run them on other kernels too: selftests/vm/run.sh.
vm_packages=(qemu-system-x86 busybox-static kmod cpio xz-utils binutils python3 tcpdump)

# install_packages NAME...: what is missing of them. Asks the archive only then.
install_packages() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    echo "missing packages: ${missing[*]}: install them, or run this as root" >&2
    return 1
  fi
  echo "installing ${missing[*]}"
  # One at a time, so that two checkouts can do this side by side.
  (
    flock 9
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
  ) 9>/run/lock/mstack-packages.lock
}
