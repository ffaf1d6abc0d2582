// SPDX-License-Identifier: BSD-2-Clause
//
// How uplink_rx is on a device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/bpf_link.hpp"
#include "daemon/datapath.hpp"
#include "mstack/error.hpp"
#include "net/link.hpp"
#include "protocol.hpp"

namespace mstack::daemon {

class Attachment {
 public:
  // EBUSY: another's program is there, named. Otherwise why the driver does not have the mode.
  static Expected<Attachment> attach(const Datapath& datapath, net::Links& links, const net::Link& device,
                                     protocol::XdpMode mode);
  // What an earlier mstackd pinned for the ifindex, with our program in the place of its own. nullopt, and nothing is
  // left of it: it is not on this device, which may have the ifindex of another that is gone.
  static Expected<std::optional<Attachment>> take_over(const Datapath& datapath, std::uint32_t ifindex,
                                                       const net::Link* device);

  [[nodiscard]] bool is_native() const { return native_; }
  // Whether it is (still) on that device: an ifindex may come to be another's, and a device that went to another
  // network namespace takes its programs along.
  [[nodiscard]] bool is_on(const net::Link& device) const;
  void leave() { pin_.leave(); }  // as it is, without an owner; otherwise it is detached

 private:
  Attachment(LinkPin pin, std::string path, bool native)
      : pin_(std::move(pin)), path_(std::move(path)), native_(native) {}
  LinkPin pin_;
  std::string path_;
  bool native_;
};

}  // namespace mstack::daemon
