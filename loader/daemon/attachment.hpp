// SPDX-License-Identifier: BSD-2-Clause
//
// How uplink_rx is on a device: alone, by a bpf_link of ours that nobody else replaces; or in a chain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "daemon/bpf_link.hpp"
#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "net/link.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

class Attachment {
 public:
  // In a chain if `chained`, or if one is there. EBUSY: another's program is there, named. Otherwise why the driver
  // does not have the mode, or the kernel no chains.
  static Expected<Attachment> attach(const Datapath& datapath, net::Links& links, const net::Link& device,
                                     protocol::XdpMode mode, bool chained);
  // What an earlier mstackd has there, with our program in the place of its own. nullopt, and nothing is left of it: it
  // is not on this device, which may have the ifindex of another that is gone.
  static Expected<std::optional<Attachment>> take_over(const Datapath& datapath, std::uint32_t ifindex,
                                                       const net::Link* device, bool chained);
  Attachment(Attachment&& other) noexcept
      : datapath_(other.datapath_),
        ifindex_(other.ifindex_),
        native_(other.native_),
        chained_(std::exchange(other.chained_, false)),
        pin_(std::move(other.pin_)) {}
  Attachment& operator=(Attachment&&) = delete;
  ~Attachment();

  [[nodiscard]] bool is_native() const { return native_; }
  [[nodiscard]] bool is_chained() const { return chained_; }
  // Whether it is (still) on that device: an ifindex may come to be another's, and a device that went to another
  // network namespace takes its programs along.
  [[nodiscard]] bool is_on(const net::Link& device) const;
  void leave();  // as it is, without an owner; otherwise it is detached

 private:
  Attachment(const Datapath& datapath, std::uint32_t ifindex, bool native, std::optional<LinkPin> pin)
      : datapath_(&datapath),
        ifindex_(ifindex),
        native_(native),
        chained_(!pin),
        pin_(pin ? std::move(*pin) : LinkPin()) {}
  static Expected<Attachment> attach_as(const Datapath& datapath, const net::Link& device, bool native, bool chained);

  const Datapath* datapath_;
  std::uint32_t ifindex_;
  bool native_;
  bool chained_;
  LinkPin pin_;  // if not chained
};

}  // namespace mstack::daemon
