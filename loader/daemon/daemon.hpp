// SPDX-License-Identifier: BSD-2-Clause
//
// mstackd, put together.
#pragma once

#include <memory>
#include <optional>

#include "checks/machine.hpp"
#include "daemon/cgroup.hpp"
#include "daemon/claims.hpp"
#include "daemon/datapath.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/events.hpp"
#include "daemon/local_addresses.hpp"
#include "daemon/options.hpp"
#include "daemon/pin_dir.hpp"
#include "daemon/server.hpp"
#include "daemon/service.hpp"
#include "daemon/uplinks.hpp"
#include "daemon/vports.hpp"
#include "net/addresses.hpp"
#include "net/link.hpp"
#include "net/netns.hpp"

namespace mstack::daemon {

class Daemon {
 public:
  explicit Daemon(Options options) : options_(std::move(options)) {}
  Daemon(const Daemon&) = delete;

  // Starts, serves until SIGTERM, SIGINT or SIGHUP, and ends. An error means that it did not start, or cannot go on; a
  // start that fails leaves nothing new behind.
  Expected<void> run();

 private:
  Expected<void> start();
  Expected<void> open_kernel();  // namespaces, programs, maps
  Expected<void> take_over();    // what there is already, and the hooks
  void attach_to_loopback();
  void return_to_loopback();
  Expected<void> start_serving();
  void end();
  void remove_everything();
  void leave_everything();

  Expected<void> watch(int fd, std::function<void()> handler);
  void read_route_events();
  void sync_addresses();
  void look_for_host_ends();
  void end_vport_of(std::uint32_t host_end);
  void tick();
  void set_timer();

  Options options_;
  // In the order in which they are needed; they go the other way round.
  Fd run_lock_;
  checks::Needed needed_;
  std::optional<EventLoop> loop_;
  std::optional<PinDir> pins_;
  std::optional<net::Links> links_, stack_links_;
  std::optional<net::Sysfs> sysfs_;
  std::optional<net::RouteMonitor> monitor_;
  std::optional<Datapath> datapath_;
  std::optional<Events> events_;
  std::optional<ClaimStore> store_;
  std::optional<LocalAddresses> addresses_;
  std::optional<Uplinks> uplinks_;
  std::optional<VportHost> vport_host_;
  std::optional<Vports> vports_;
  std::optional<Claims> claims_;
  std::optional<ClientService> service_;
  std::optional<Server> server_;
  bool on_loopback_ = false, loopback_in_doubt_ = false;
  Fd signals_, timer_;
};

}  // namespace mstack::daemon
