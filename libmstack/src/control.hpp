// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "client.hpp"
#include "fd.hpp"
#include "mstack/error.hpp"
#include "mstack/tuple.hpp"
#include "protocol.hpp"

namespace mstack::detail {

// A vport's connection to mstackd: thread-safe, and made anew when mstackd was restarted.
class Control {
 public:
  // `queue0` is a duplicate of queue 0's AF_XDP socket: to hold it is to hold the vport.
  Control(std::string run_dir, Client client, std::uint32_t vport, Fd queue0)
      : run_dir_(std::move(run_dir)), client_(std::move(client)), vport_(vport), queue0_(std::move(queue0)) {}

  // One result for each descriptor, at most protocol::max_descriptors. An error: of the message as a whole.
  Expected<std::vector<Expected<Tuple>>> claim(std::span<const int> sockets);
  Expected<void> release(const Tuple& tuple);
  // The connection ends and the vport with it; calls that come later fail with ENOTCONN.
  void close();

 private:
  template <class Request, class Response>
  Expected<void> call(Request& request, Response& response, std::span<const int> descriptors = {});
  Expected<void> resume();

  std::mutex mutex_;  // over all below
  const std::string run_dir_;
  Client client_;
  const std::uint32_t vport_;
  Fd queue0_;
};

}  // namespace mstack::detail
