// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "mstack/claim.hpp"
#include "mstack/error.hpp"
#include "mstack/export.hpp"
#include "mstack/queue.hpp"
#include "mstack/tuple.hpp"

namespace mstack {

struct VportOptions {
  std::uint32_t queues = 1;         ///< 1 to 16: one a thread
  std::uint32_t frames = 4096;      ///< of each queue, a power of two, 64 to 262,144
  std::uint32_t frame_size = 2048;  ///< bytes, 2048 or 4096. 256 of them are headroom
  std::uint32_t ring_size =
      0;                    ///< entries of each ring, a power of two, 64 to `frames`. 0: half of `frames`, at most 2048
  bool throughput = false;  ///< send in larger batches, each up to 50 us later: for bulk, not for short round trips
  /// Packets of several frames, up to the uplink's MTU: see Queue::receive() and Queue::transmit(). Needs Linux 6.6.
  /// Without it a packet is one frame, and a larger one is dropped.
  bool multi_buffer = false;
  std::string run_dir = {};  ///< mstackd's run directory. "": MSTACK_RUN_DIR, or else /run/mstack
};

struct ClaimOptions {
  bool v6only = false;  ///< for [::] alone: do not claim the port on 0.0.0.0 too (IPV6_V6ONLY)
};

/// A virtual port: where a user-level stack meets MultiStack. One connection to mstackd, one or more queues, and the
/// claims made through it. No privilege is needed.
///
/// Control calls (claim, claim_all, Claim::release) may be made by any thread; they take turns, and wait for mstackd,
/// at most 30 s a message. Queues are used apart from them and from each other, see Queue.
///
/// mstackd may be restarted meanwhile. The queues do not notice; the first control call after it connects anew, takes
/// the vport back by its AF_XDP socket, and goes on. The errors of a control call, besides mstackd's refusals:
/// ECONNREFUSED, ENOENT (no mstackd at this run directory), EACCES (it lets only a group in), ECONNRESET (it closed the
/// connection), ETIMEDOUT (it hangs), EPROTONOSUPPORT, EPROTO (another version).
class MSTACK_API Vport {
 public:
  /// EINVAL: an option is out of its limits, nothing was asked of mstackd. EDQUOT: over this user's quota. ENOSPC: no
  /// room for another vport. EOPNOTSUPP: multi_buffer, and the kernel is too old. EPROTO: mstackd's answer is not what
  /// was agreed. ENOMEM, EMFILE: as of mmap and recvmsg.
  [[nodiscard]] static Expected<Vport> open(const VportOptions& options = {});

  Vport(Vport&&) noexcept;
  Vport& operator=(Vport&&) noexcept;
  Vport(const Vport&) = delete;
  Vport& operator=(const Vport&) = delete;
  /// Ends the connection: mstackd removes the vport and every claim on it. No thread may be using a queue by then.
  ~Vport();

  /// Makes a socket, binds it to the tuple and claims it; the Claim owns the socket. `tuple` may be the error of
  /// udp() or tcp(), which is then returned. The kernel decides who may bind what: EADDRINUSE (someone has it), EACCES
  /// (a port below 1024, for most), EADDRNOTAVAIL (not an address of this host). mstackd refuses with EADDRINUSE
  /// (claimed, or shared by SO_REUSEADDR or SO_REUSEPORT), EDQUOT (quota), and others; Error::what says what and why.
  [[nodiscard]] Expected<Claim> claim(const Expected<Tuple>& tuple, const ClaimOptions& options = {});

  /// Claims what the socket is bound to: TCP, UDP, UDP-Lite or DCCP, bound since mstackd runs, to a port by its number
  /// (not to port 0, which it could lose again) and to no device, never connected, not listening, and never with
  /// SO_REUSEADDR or SO_REUSEPORT. It stays the caller's, and the claim lives until its last descriptor is closed, or
  /// until it is connected, bound to a device or given one of those options. Errors: ENOTSOCK, EAFNOSUPPORT,
  /// ESOCKTNOSUPPORT (another kind of socket), ENOKEY (not bound, or not since mstackd runs), EOPNOTSUPP (it could lose
  /// or share its port), EISCONN (connected), EINVAL (listening), EXDEV (of another network namespace), EADDRNOTAVAIL
  /// (not an address to claim), EADDRINUSE (claimed, or not alone on its port), EDQUOT (quota), ENOSPC (no room for a
  /// claim).
  [[nodiscard]] Expected<Claim> claim(int bound_socket);

  /// The same for many sockets, up to 250 in a message. One result for each, in their order.
  [[nodiscard]] std::vector<Expected<Claim>> claim_all(std::span<const int> bound_sockets);

  [[nodiscard]] std::size_t queues() const;
  /// `index` must be below queues(): the program is aborted otherwise.
  [[nodiscard]] Queue& queue(std::size_t index);
  /// The name of the vport in what `mstack` prints. Never used twice by the same mstackd.
  [[nodiscard]] std::uint32_t id() const;

 private:
  struct Parts;
  explicit Vport(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace mstack
