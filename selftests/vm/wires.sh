# SPDX-License-Identifier: BSD-2-Clause
# What the virtual machine has for uplinks: two wires with two NICs each, one the host's and the other the wire's end.
# shellcheck shell=bash

# nics UPLINK CPUS: QEMU's options.
nics() {
  local device=$1 cpus=$2 options='' back n
  case $1 in
    veth) return ;;
    virtio)
      device=virtio-net-pci
      # A queue for each CPU, and another for what its XDP programs send. XDP refuses frames that a virtual switch may have
      # merged, or left without a checksum. AF_XDP's memory is mapped for the device, as behind an IOMMU.
      # Frames of any VLAN come in: the device's own filter cannot be turned off from inside.
      options=",ctrl_vlan=off,mq=on,vectors=$((4 * cpus + 2)),disable-legacy=on,iommu_platform=on"
      options+=,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,csum=off,gso=off,host_tso4=off
      options+=,host_tso6=off,host_ecn=off,host_ufo=off
      ;;
  esac
  for n in 0 1 2 3; do
    back="hubport,id=port$n,hubid=$((n / 2))"
    [[ $1 != virtio ]] || back="tap,id=port$n,ifname=tap$n,script=no,downscript=no,vhost=off,queues=$((2 * cpus))"
    printf '%s\n' -netdev "$back" -device "$device,netdev=port$n,mac=52:54:00:00:00:0$n$options"
  done
}

# make_taps: the wires of NICs with several queues, which QEMU's own hubs have not. What goes into one tap comes out of its
# neighbour, whatever it is: the four bytes that every filter reads are in front of the frame, for it may have no others.
make_taps() {
  local n
  sysctl -qw net.ipv6.conf.default.disable_ipv6=1
  for n in 0 1 2 3; do
    ip tuntap add "tap$n" mode tap multi_queue vnet_hdr
    ip link set "tap$n" mtu 9100 up
    tc qdisc add dev "tap$n" clsact
  done
  for n in 0 1 2 3; do
    tc filter add dev "tap$n" ingress protocol all u32 match u32 0 0 at -16 action mirred egress redirect dev "tap$((n ^ 1))"
  done
}

# beside_taps COMMAND...: in a namespace that ends with it
beside_taps() {
  # shellcheck disable=SC2016  # expanded there
  unshare --net bash -euc "$(declare -f make_taps)"'; make_taps; exec "$@"' bash "$@"
}
