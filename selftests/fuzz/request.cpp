// SPDX-License-Identifier: BSD-2-Clause
// What mstackd takes from a client: any bytes, with any number of descriptors.
#include "daemon/request.hpp"

#include <vector>

#include "daemon/service.hpp"
#include "daemon/vport.hpp"
#include "messages.hpp"
#include "target.hpp"

namespace {

namespace protocol = mstack::protocol;
using fuzz::require;

template <class Message>
Message read(std::span<const std::byte> message) {
  Message value;
  require(message.size() == sizeof value, "a request has its type's size");
  std::memcpy(&value, message.data(), sizeof value);
  return value;
}

void open_vport(const protocol::OpenVport& request) {
  const auto checked = mstack::daemon::check_request(request);
  if (!checked) return require(fuzz::is_printable(checked.error().what), "an error can be shown");
  require(request.queues >= 1 && request.queues <= protocol::max_queues, "queues");
  require(request.frames <= protocol::max_frames && request.ring_size <= request.frames, "sizes");
  require(mstack::daemon::umem_bytes_of(request) <= std::uint64_t{16} << 30, "memory is bounded");
}

void release(const protocol::Release& request) {
  require(request.count >= 1 && request.count <= request.tuples.size(), "no more tuples than there are");
  for (std::uint32_t i = 0; i < request.count; ++i) (void)protocol::from_wire(request.tuples[i]).to_string();
}

void any_text(std::span<const std::byte> message) {
  protocol::Reply reply{};
  mstack::daemon::set_text(reply, {reinterpret_cast<const char*>(message.data()), message.size()});
  require(reply.text.back() == '\0', "a text has an end");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto descriptors = input.take<std::uint8_t>();
  // On the heap, and no longer than it is: to read on is an error.
  const auto rest = std::as_bytes(input.rest());
  const std::vector<std::byte> message(rest.begin(), rest.end());
  any_text(message);
  if (const char* fault = mstack::daemon::fault_of(message, descriptors)) {
    require(*fault != '\0', "a fault has a name");
    return 0;
  }
  require(message.size() <= mstack::daemon::largest_request, "a request is read whole");
  protocol::Header header;
  std::memcpy(&header, message.data(), sizeof header);
  switch (header.type) {
    case protocol::Type::open_vport: open_vport(read<protocol::OpenVport>(message)); break;
    case protocol::Type::resume_vport:
      read<protocol::ResumeVport>(message);
      require(descriptors == 1, "a socket to resume by");
      break;
    case protocol::Type::bind_vport: read<protocol::BindVport>(message); break;
    case protocol::Type::claim:
      require(descriptors == read<protocol::Claim>(message).count, "a descriptor for each claim");
      break;
    case protocol::Type::release: release(read<protocol::Release>(message)); break;
    case protocol::Type::attach_uplink:
    case protocol::Type::detach_uplink: read<protocol::Uplink>(message); break;
  }
  return 0;
}
