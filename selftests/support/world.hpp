// SPDX-License-Identifier: BSD-2-Clause
//
//   host namespace                       wire namespace                          far namespace (optional)
//   up0  192.0.2.1  2001:db8::1  ======  wire0  192.0.2.2  2001:db8::2
//        192.0.2.10 2001:db8::10         near0  198.51.100.1 2001:db8:1::1  ==  far0 198.51.100.2 2001:db8:1::2
//   up1  203.0.113.1 2001:db8:3::1  ===  wire1  203.0.113.2 2001:db8:3::2       (optional: a second uplink)
//
// mstackd and its clients are in `host`, whose up0 is the uplink. The host's default route leads to 192.0.2.2. up0 and
// wire0 are a veth pair, unless MSTACK_TEST_UPLINK gives NICs to use: see nic_pair.hpp.
#pragma once

#include <signal.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/capture.hpp"
#include "support/frame.hpp"
#include "support/netns.hpp"
#include "support/nic_pair.hpp"
#include "support/pins.hpp"
#include "support/process.hpp"
#include "support/sockets.hpp"

namespace mstack::test {

inline const std::string host4 = "192.0.2.1", host4_second = "192.0.2.10", wire4 = "192.0.2.2";
inline const std::string host6 = "2001:db8::1", host6_second = "2001:db8::10", wire6 = "2001:db8::2";
inline const std::string near4 = "198.51.100.1", far4 = "198.51.100.2";
inline const std::string near6 = "2001:db8:1::1", far6 = "2001:db8:1::2";
inline const std::string uplink = "up0", wire_end = "wire0";
inline const std::string second4 = "203.0.113.1", second_wire4 = "203.0.113.2";
inline const std::string second6 = "2001:db8:3::1", second_wire6 = "2001:db8:3::2";
inline const std::string second_uplink = "up1", second_wire_end = "wire1";

struct WorldOptions {
  bool far = false;
  bool second = false;  // up1; mstackd is attached to it too
  // What the wire's end of the veth does. A veth takes redirected XDP frames only if its other end runs NAPI, so
  // there is either GRO or an XDP program: `drop` is for measuring, since nothing then goes up the wire's stack.
  enum class WireEnd { gro, pass, drop } wire = WireEnd::gro;
  int mtu = 1500;
  int queues = 1;  // of the veth, each direction; NICs have what they have
};

struct DaemonOptions {
  std::vector<std::string> arguments = {};  // added to those that every test needs
  bool attach = true;                       // --uplink up0, and up1 if there is one
  std::string xdp_mode = "auto";
  std::map<std::string, std::string> environment = {};
};

class World;

// A running mstackd. Its log is printed when the test has failed.
class Daemon {
 public:
  // Returns once mstackd serves clients; throws with its log if it ends or never does.
  explicit Daemon(const World& world, const DaemonOptions& options = {});
  Daemon(Daemon&&) = default;
  Daemon& operator=(Daemon&&) = default;
  ~Daemon();

  static std::vector<std::string> command_line(const World& world, const DaemonOptions& options);
  // For an mstackd that is expected to refuse: what became of it.
  static Completed run_to_end(const World& world, const DaemonOptions& options = {});

  pid_t pid() const { return process_.pid(); }
  bool running() { return process_.running(); }
  Exit stop(int signal = SIGTERM);
  Exit kill();  // SIGKILL
  std::string log() const { return process_.err() + process_.out(); }
  std::size_t times_told(std::string_view words) const;  // in the log
  std::size_t descriptors() const { return open_descriptors(pid()); }

 private:
  Fd notify_;
  Process process_;
};

class World {
 public:
  explicit World(const WorldOptions& options = {});
  World(World&&) = delete;
  ~World();

  const Namespace& host() const { return host_; }
  const Namespace& wire() const { return wire_; }
  const Namespace& far() const { return far_; }
  const Mac& host_mac() const { return host_mac_; }
  const Mac& wire_mac() const { return wire_mac_; }
  unsigned uplink_index() const { return uplink_index_; }
  unsigned index_of(const std::string& interface) const;  // in `host`, 0: it is not there
  bool has_second() const { return second_; }
  // up1 and wire1, anew, with their addresses, up. `extra` is for the device up1: "index 77", ...
  void make_second(const std::string& extra = {}) const;
  // For what makes a NIC start anew. Returns at once on a veth.
  void wait_for_carrier() const;
  // Why the uplink's driver runs no XDP programs; empty if it does, as a veth's.
  const std::string& no_native_xdp() const { return no_native_xdp_; }

  const std::string& directory() const { return directory_; }
  std::string run_dir() const { return directory_ + "/run"; }
  std::string pin_dir() const { return directory_ + "/bpf/mstack"; }
  const std::string& cgroup() const { return cgroup_; }           // the test and all its processes are in it
  const std::string& outside_cgroup() const { return outside_; }  // where mstackd's hooks do not reach
  Pins pins() const { return Pins{pin_dir()}; }

  // `mstack` with this world's directories, in the host namespace.
  Completed command(std::vector<std::string> arguments, Identity who = {}) const;
  // ip(8) and others, one command, words split at spaces.
  static std::string in(const Namespace& netns, const std::string& command);

  std::unique_ptr<Capture> capture() const { return std::make_unique<Capture>(wire_, wire_end); }
  // A frame from the wire to the host: addressed to up0's MAC, from wire0's, unless the segment says otherwise.
  void send(Segment segment) const;
  void send(std::span<const std::uint8_t> frame) const { injector_->send(frame); }
  // The same over the second uplink as it is now, which may be in another namespace.
  void send_by_second(Segment segment) const { send_by_second(std::move(segment), host_); }
  void send_by_second(Segment segment, const Namespace& where) const;
  // As a stack would build it: MACs that mean nothing, since vport_tx writes its own.
  static Segment udp(const Endpoint& from, const Endpoint& to, std::string payload);
  static Segment tcp(const Endpoint& from, const Endpoint& to, std::string payload, std::uint8_t flags = tcp_syn);

  // What is left that should not be, one line each. With mstackd ended: pins, host ends, XDP on the uplink, cgroup
  // programs. With mstackd alive: claims, counts of claims, vports, host ends.
  std::vector<std::string> leftovers_after_end() const;
  std::vector<std::string> leftovers_while_running() const;
  std::vector<std::string> host_links() const;  // names

 private:
  void connect_ends(const WorldOptions& options);
  void add_far() const;

  std::string directory_, cgroup_, outside_;
  bool second_ = false;
  Namespace host_ = Namespace::create();
  Namespace wire_ = Namespace::create();
  Namespace far_ = Namespace::create();
  Mac host_mac_{}, wire_mac_{};
  unsigned uplink_index_ = 0;
  std::optional<NicPair> nics_;
  std::string no_native_xdp_;
  Fd wire_xdp_;
  std::unique_ptr<Injector> injector_;
};

// A program that does nothing but return the verdict. Named, for the test that finds it on an uplink.
Fd xdp_program(const std::string& name, int verdict);
void attach_xdp(const Namespace& netns, const std::string& interface, const Fd& program, unsigned flags = 0);
// The id of the XDP program on the interface, 0 for none.
std::uint32_t attached_xdp(const Namespace& netns, const std::string& interface);

}  // namespace mstack::test
