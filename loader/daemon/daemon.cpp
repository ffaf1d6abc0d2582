// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/daemon.hpp"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "checks/places.hpp"
#include "daemon/egress.hpp"
#include "daemon/log.hpp"
#include "daemon/notify.hpp"
#include "daemon/run_lock.hpp"
#include "run_dir.hpp"

namespace mstack::daemon {
namespace {

// Every connection is a descriptor, and with a message may come as many as the kernel passes at once, 253.
void raise_descriptor_limit() {
  constexpr rlim_t wanted = 65536;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, wanted);
  const rlimit higher = {.rlim_cur = limit.rlim_cur, .rlim_max = std::max(limit.rlim_max, limit.rlim_cur)};
  if (::setrlimit(RLIMIT_NOFILE, &higher) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

Expected<Fd> catch_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) return system_failure(errno, "cannot block signals");
  ::signal(SIGPIPE, SIG_IGN);  // a reader of our log that leaves is no reason to end
  Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return system_failure(errno, "cannot wait for signals");
  return fd;
}

}  // namespace

Expected<void> Daemon::run() {
  if (auto started = start(); !started) {
    // Of a takeover everything is left as it was: stacks run on it.
    if (datapath_ && vports_ && datapath_->is_taken_over())
      leave_everything();
    else if (datapath_ && !datapath_->is_taken_over())
      remove_everything();
    return started;
  }
  log::info("ready");
  notify_service_manager("READY=1");
  auto ran = loop_->run();
  notify_service_manager("STOPPING=1");
  if (ran)
    end();
  else
    leave_everything();
  return ran;
}

Expected<void> Daemon::start() {
  raise_descriptor_limit();
  auto signals = catch_signals();
  if (!signals) return std::unexpected(signals.error());
  signals_ = std::move(*signals);
  needed_ = checks::needed_of_machine();
  needed_.checks.push_back(checks::cgroup_check(options_.cgroup));
  needed_.checks.push_back(checks::pin_dir_check(options_.pin_dir));
  if (auto fit = checks::require(needed_.checks); !fit) return fit;
  for (const checks::Check& check : needed_.checks)
    if (check.state == checks::State::warning) log::warn("{}", check.text);
  auto lock = lock_run_directory(options_.run_dir);
  if (!lock) return std::unexpected(lock.error());
  run_lock_ = std::move(*lock);
  auto loop = EventLoop::create();
  if (!loop) return std::unexpected(loop.error());
  loop_.emplace(std::move(*loop));
  if (auto done = open_kernel(); !done) return done;
  if (auto done = take_over(); !done) return done;
  for (const std::string& name : options_.uplinks)
    if (auto done = uplinks_->attach_temporarily(name, options_.xdp_mode, options_.chain); !done) return done;
  if (auto done = start_serving(); !done) return done;
  attach_to_loopback();  // last: one that does not start was never there
  return {};
}

Expected<void> Daemon::open_kernel() {
  auto links = net::Links::open();
  if (!links) return std::unexpected(links.error());
  links_.emplace(std::move(*links));
  const auto netns_cookie = links_->netns().cookie();
  if (!netns_cookie) return std::unexpected(netns_cookie.error());
  auto sysfs = net::Sysfs::open();
  if (!sysfs) return std::unexpected(sysfs.error());
  sysfs_.emplace(std::move(*sysfs));
  auto monitor = net::RouteMonitor::open();
  if (!monitor) return std::unexpected(monitor.error());
  monitor_.emplace(std::move(*monitor));

  // Stack ends are where nobody else can reach them, and where the first of them can have ifindex 2.
  auto stack_links = net::Links::open_anonymous();
  if (!stack_links) return std::unexpected(stack_links.error());
  stack_links_.emplace(std::move(*stack_links));

  auto pins = PinDir::open(options_.pin_dir);
  if (!pins) return std::unexpected(pins.error());
  pins_.emplace(std::move(*pins));
  auto datapath = Datapath::open(*pins_, {.netns_cookie = *netns_cookie,
                                          .max_claims = options_.claims,
                                          .send_fragments = options_.send_fragments,
                                          .guard = options_.guard,
                                          .multi_buffer = needed_.takes_multi_buffer});
  if (!datapath) return std::unexpected(datapath.error());
  datapath_.emplace(std::move(*datapath));
  return {};
}

Expected<void> Daemon::take_over() {
  store_.emplace(*datapath_);
  addresses_.emplace(*datapath_, *links_);
  uplinks_.emplace(*datapath_, *links_, options_.guard);
  vport_host_.emplace(VportHost{.datapath = *datapath_,
                                .claims = *store_,
                                .links = *links_,
                                .sysfs = *sysfs_,
                                .stack_links = *stack_links_,
                                .maps_bound_rings = needed_.maps_bound_rings,
                                .takes_multi_buffer = needed_.takes_multi_buffer});
  vports_.emplace(*vport_host_, *datapath_, options_.quota);

  // Addresses before uplinks: the first packet to a wildcard claim may come at once.
  if (auto done = addresses_->take_over(); !done) return done;
  if (auto done = addresses_->sync(); !done) return done;
  claims_.emplace(*datapath_, *store_, *addresses_, needed_.sees_bound_tcp);

  const auto cgroup = Cgroup::open(options_.cgroup);
  if (!cgroup) return std::unexpected(cgroup.error());
  if (auto done = datapath_->attach_hooks(*cgroup); !done) return done;
  if (auto done = uplinks_->take_over(); !done) return done;
  if (auto done = vports_->take_over(); !done) return done;
  claims_->follow_addresses();
  return {};
}

// Without it stacks still serve the wire and each other: no reason not to start.
void Daemon::attach_to_loopback() {
  const auto attached = egress::attach(*datapath_, {.ifindex = net::loopback_ifindex,
                                                    .device = "lo",
                                                    .program = datapath_->programs().lo_tx,
                                                    .loss = "does not reach stacks"});
  on_loopback_ = attached.has_value();
  if (!attached) log::warn("sockets of this host do not reach stacks: the loopback device: {}", attached.error().what);
}

void Daemon::return_to_loopback() {
  if (!on_loopback_) return;
  const auto lost = egress::is_lost(*datapath_, net::loopback_ifindex, "lo");
  loopback_in_doubt_ = !lost;
  if (lost && *lost) attach_to_loopback();
}

Expected<void> Daemon::start_serving() {
  auto events = Events::open(datapath_->map("events"));
  if (!events) return std::unexpected(events.error());
  events_.emplace(std::move(*events));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) return system_failure(errno, "cannot make a timer");

  service_.emplace(*vports_, *claims_, *uplinks_);
  server_.emplace(*loop_, *service_, [this] { set_timer(); });
  vports_->when_to_be_asked([this] { set_timer(); });
  if (auto done = watch(signals_.get(), [this] { loop_->stop(); }); !done) return done;
  if (auto done = watch(monitor_->fd(), [this] { read_route_events(); }); !done) return done;
  if (auto done = watch(events_->fd(), [this] { events_->consume(); }); !done) return done;
  if (auto done = watch(timer_.get(), [this] { tick(); }); !done) return done;
  set_timer();
  return server_->listen(socket_path(options_.run_dir), options_.group);
}

Expected<void> Daemon::watch(int fd, std::function<void()> handler) {
  auto token = loop_->add(fd, EPOLLIN, [handler = std::move(handler)](std::uint32_t) { handler(); });
  if (!token) return std::unexpected(token.error());
  return {};
}

void Daemon::sync_addresses() {
  if (auto synced = addresses_->sync(); !synced) log::warn("addresses: {}", synced.error().what);
  claims_->follow_addresses();
}

void Daemon::read_route_events() {
  const auto events = monitor_->drain();
  if (!events) {
    log::warn("{}", events.error().what);
    return;
  }
  using Kind = net::RouteEvent::Kind;
  for (const net::RouteEvent& event : *events) switch (event.kind) {
      case Kind::addresses_changed: sync_addresses(); break;
      case Kind::vlans_changed: uplinks_->vlans_changed(); break;
      case Kind::filters_gone:
        if (event.ifindex == net::loopback_ifindex) return_to_loopback();
        uplinks_->filters_gone(event.ifindex);
        break;
      case Kind::link_changed:
        uplinks_->link_changed(event);
        if (addresses_->is_outdated_by(event)) sync_addresses();
        break;
      case Kind::link_gone:
        uplinks_->link_gone(event.ifindex);
        end_vport_of(event.ifindex);
        break;
      case Kind::resync:
        log::info("more happened to devices and addresses than the kernel kept news of: looking at all of them");
        sync_addresses();
        uplinks_->resync();
        return_to_loopback();
        look_for_host_ends();
        break;
    }
  set_timer();
}

// After news were lost: whose device is gone?
void Daemon::look_for_host_ends() {
  const auto devices = links_->host_ends();
  if (!devices) {
    log::warn("{}", devices.error().what);
    return;
  }
  for (const std::uint32_t ifindex : vports_->host_ends())
    if (std::ranges::find(*devices, ifindex, &net::Link::ifindex) == devices->end()) end_vport_of(ifindex);
}

// The device of one of its queues is gone. Somebody removed it, and the client learns of that by the end of its
// connection; or the vport is an orphan whose stack ended: the old namespace of the stack ends, which only its sockets
// held, ends with them.
void Daemon::end_vport_of(std::uint32_t host_end) {
  const auto vport = vports_->owner_of_host_end(host_end);
  if (!vport) return;
  const auto connection = service_->connection_of(*vport);
  if (!connection) return vports_->close(*vport);
  log::warn("the device of vport {} was removed: the vport ends", *vport);
  server_->close(*connection);
}

// Once a second, while there is anything that tells no news of itself.
void Daemon::tick() {
  std::uint64_t expirations;
  [[maybe_unused]] const auto size = ::read(timer_.get(), &expirations, sizeof(expirations));
  vports_->remove_dead();
  if (server_->is_starved()) server_->retry();
  if (uplinks_->is_in_doubt()) uplinks_->resync();
  if (loopback_in_doubt_) return_to_loopback();
  set_timer();
}

void Daemon::set_timer() {
  itimerspec timer = {};
  // One that runs goes on: whoever sets it again and again does not put it off.
  if (::timerfd_gettime(timer_.get(), &timer) == 0 && (timer.it_value.tv_sec != 0 || timer.it_value.tv_nsec != 0))
    return;
  const bool needed =
      vports_->is_to_be_asked() || server_->is_starved() || uplinks_->is_in_doubt() || loopback_in_doubt_;
  timer.it_value.tv_sec = needed ? 1 : 0;
  timer.it_value.tv_nsec = 0;
  (void)::timerfd_settime(timer_.get(), 0, &timer, nullptr);
}

void Daemon::end() {
  if (!options_.keep) {
    uplinks_->detach_temporary();
    if (uplinks_->empty()) {
      remove_everything();
      log::info("ended: uplinks are detached; vports, claims, hooks and pins are gone");
      return;
    }
  }
  leave_everything();
  log::info("ended; uplinks, vports and claims stay as they are");
}

void Daemon::remove_everything() {
  server_.reset();  // its connections end, and their vports
  if (vports_) vports_->close_all();
  if (uplinks_) uplinks_->detach_all();
  if (auto detached = egress::detach(*datapath_, net::loopback_ifindex); !detached)
    log::warn("the loopback device: {}", detached.error().what);
  pins_->remove_all();
}

void Daemon::leave_everything() {
  if (service_) service_->leave_vports();
  if (vports_) vports_->leave_all();
  server_.reset();
}

}  // namespace mstack::daemon
