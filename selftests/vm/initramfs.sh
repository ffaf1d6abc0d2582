#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# initramfs.sh BUILD KERNEL JOB FILE: the whole file system of the virtual machine: the built tree where it is on this
# machine, what it is linked with, the tools that the tests call, and the modules of one kernel. JOB is a shell script, the
# guest's work; see init.
set -euo pipefail

# With their dependencies; what the kernel has built in, or lacks, is left out. They are loaded when they are asked for.
guest_modules=(virtio_pci virtio_blk virtio_net e1000e veth dummy tun sch_ingress cls_bpf inet_diag tcp_diag udp_diag
               raw_diag sctp sctp_diag dccp dccp_ipv4 dccp_ipv6 dccp_diag fuse 8021q bridge macvlan af_packet_diag
               xsk_diag vrf nf_tables nft_chain_nat nft_nat)
guest_tools=(ctest ip tc ethtool sysctl bash tcpdump ping traceroute nft curl iperf ab wrk xdp-filter xdp-loader)

# copy_libraries ROOT FILE...: all that the files are linked with
copy_libraries() {
  local root=$1 library
  shift
  ldd "$@" 2>/dev/null | grep -o '/[^ ]*' | grep -v ':$' | sort -u | while read -r library; do
    mkdir -p "$root/${library%/*}"
    cp -Lu "$library" "$root/$library"
  done
}

# copy_modules ROOT KERNEL RELEASE
copy_modules() {
  local root=$1 kernel=$2 release=$3 module target
  mkdir -p "$root/lib/modules/$release"
  for module in "${guest_modules[@]}"; do
    modprobe -d "$kernel" -S "$release" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" {print $2}' || true
  done | sort -u | while read -r module; do
    target=$root/lib/modules/$release/${module##*/modules/"$release"/}
    mkdir -p "${target%/*}"
    # Unpacked here: the guest is slow.
    if [[ $module == *.xz ]]; then xz -dc "$module" >"${target%.xz}"; else cp "$module" "$target"; fi
  done
  cp "$kernel/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$release/"
  depmod -b "$root" "$release"
}

make_initramfs() {
  local build=$1 kernel=$2 job=$3 file=$4 here root release binary tool cmake
  here=$(dirname "${BASH_SOURCE[0]}")
  release=$(ls "$kernel/lib/modules")
  root=$file.root
  rm -rf "$root"
  mkdir -p "$root"/{bin,usr/bin,etc,dev,proc,sys,run,tmp,root}
  chmod 755 "$root"  # other users are there too
  ln -s bin "$root/sbin"
  cp "$(command -v busybox)" "$root/bin/busybox"
  install -m 755 "$here/init" "$root/init"
  install -m 755 "$job" "$root/job"
  cp /etc/passwd /etc/group "$root/etc/"
  cp -r --parents /etc/iproute2 /etc/protocols "$root" 2>/dev/null || true
  copy_modules "$root" "$kernel" "$release"
  for tool in "${guest_tools[@]}"; do cp -L "$(command -v "$tool")" "$root/usr/bin/"; done
  copy_libraries "$root" "${guest_tools[@]/#/"$root/usr/bin/"}"
  cp -r --parents /usr/lib/*/bpf "$root"  # libxdp's dispatcher, and the programs of xdp-filter
  # ctest will not start without the modules of cmake, though it reads none of them.
  cmake=$(sed -n 's/^CMAKE_ROOT:INTERNAL=//p' "$build/CMakeCache.txt")
  mkdir -p "$root/$cmake/Modules"
  cp "$cmake/Modules/CMake.cmake" "$root/$cmake/Modules/"
  find "$build"/selftests/{bpf,net}_tests "$build"/loader "$build"/examples "$build"/libmstack -maxdepth 1 -type f \
    -executable | while read -r binary; do
    mkdir -p "$root/${binary%/*}"
    objcopy --strip-debug "$binary" "$root/$binary"
    copy_libraries "$root" "$binary"
  done
  cp -P --parents "$build"/libmstack/*.so* "$root" 2>/dev/null || true  # its other names
  if [[ -d $build/debian/nginx ]]; then
    cp -r --parents "$build/debian/nginx" "$root"
    copy_libraries "$root" "$build/debian/nginx/usr/sbin/nginx"
  fi
  (cd "$build" && find . -path ./vm -prune -o \( -name CTestTestfile.cmake -o -name '*_include.cmake' -o -name '*_tests.cmake' \) \
    -exec cp --parents {} "$root/$build" \;)
  # A limit is there to end what hangs; here everything takes ten times as long.
  sed -i -E 's/(TIMEOUT )([0-9]+)/\1\20/' "$root/$build"/selftests/*_tests.cmake
  (cd "$root" && find . | cpio --quiet -o -H newc) >"$file"
}

trap 'rm -rf "$4.root"' EXIT
make_initramfs "$@"
