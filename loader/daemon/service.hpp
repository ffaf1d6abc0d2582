// SPDX-License-Identifier: BSD-2-Clause
//
// What requests mean: each connection's vport, and the answers.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/claims.hpp"
#include "daemon/server.hpp"
#include "daemon/uplinks.hpp"
#include "daemon/vports.hpp"

namespace mstack::daemon {

class ClientService : public Service {
 public:
  // All must outlive it.
  ClientService(Vports& vports, Claims& claims, Uplinks& uplinks)
      : vports_(&vports), claims_(&claims), uplinks_(&uplinks) {}

  Answer request(Connection connection, const Peer& peer, std::span<const std::byte> message,
                 std::span<const Fd> descriptors) override;
  void ended(Connection connection) override;
  // The connection that has a vport.
  [[nodiscard]] std::optional<Connection> connection_of(std::uint32_t vport) const;
  // From here on vports outlive their connections: mstackd ends, and leaves them.
  void leave_vports() { leaves_vports_ = true; }

 private:
  Answer open_vport(Connection connection, const Peer& peer, const protocol::OpenVport& request);
  Answer bind_vport(Connection connection, const protocol::BindVport& request);
  Answer resume_vport(Connection connection, const Peer& peer, const protocol::ResumeVport& request, int socket);
  Answer claim(Connection connection, const Peer& peer, const protocol::Claim& request,
               std::span<const Fd> descriptors);
  Answer release(Connection connection, const protocol::Release& request);
  Answer change_uplink(const Peer& peer, const protocol::Uplink& request);
  [[nodiscard]] const Vport* vport_of(Connection connection) const;

  Vports* vports_;
  Claims* claims_;
  Uplinks* uplinks_;
  std::unordered_map<Connection, std::uint32_t> vport_of_;
  bool leaves_vports_ = false;
};

// Cut to what a reply holds, between characters.
void set_text(protocol::Reply& reply, std::string_view text);

}  // namespace mstack::daemon
