// SPDX-License-Identifier: BSD-2-Clause
#include "control.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "messages.hpp"

namespace mstack::detail {
namespace {

// The results of a message that mstackd acted on. Its text is about the first that failed; the others have an errno.
Error error_of(const protocol::TuplesReply& reply, std::size_t index, bool& first) {
  const int code = reply.results[index].error;
  const auto text = protocol::text_of(reply.reply);
  if (!std::exchange(first, false) || text.empty()) return {.code = code, .what = error_text(code)};
  return {.code = code, .what = std::string(text)};
}

// To release what is released already is no error anyway: see release().
void mark_repeated(protocol::Claim& request) {
  request.flags = protocol::claim_repeated;
}
void mark_repeated(protocol::Release&) {}

}  // namespace

// The one retry: after mstackd ended, whoever sent the request cannot know whether it was carried out, and both
// requests that are sent here can be repeated. Another loss, or any other error, is the caller's.
template <class Request, class Response>
Expected<void> Control::call(Request& request, Response& response, std::span<const int> descriptors) {
  if (!queue0_) return failure(ENOTCONN, "the vport is closed");
  auto answer = client_.call(request, response, descriptors);
  if (!answer && answer.error().code == ECONNRESET) {
    if (auto resumed = resume(); !resumed) return resumed;
    mark_repeated(request);
    answer = client_.call(request, response, descriptors);
  }
  if (!answer) return std::unexpected(std::move(answer.error()));
  return {};
}

Expected<void> Control::resume() {
  auto client = Client::connect(run_dir_);
  if (!client) return std::unexpected(std::move(client.error()));
  protocol::ResumeVport request = {
      .header = {.version = 0, .type = protocol::Type::resume_vport, .sequence = 0, .zero = 0},
      .vport = vport_,
      .zero = 0};
  protocol::Reply reply = {};
  const int descriptors[] = {queue0_.get()};
  auto answer = client->call(request, reply, descriptors);
  if (!answer) {
    answer.error().what = "cannot take vport " + std::to_string(vport_) + " back: " + answer.error().what;
    return std::unexpected(std::move(answer.error()));
  }
  client_ = std::move(*client);
  return {};
}

Expected<std::vector<Expected<Tuple>>> Control::claim(std::span<const int> sockets) {
  const std::lock_guard lock(mutex_);
  protocol::Claim request = {.header = {.version = 0, .type = protocol::Type::claim, .sequence = 0, .zero = 0},
                             .count = static_cast<std::uint32_t>(sockets.size()),
                             .flags = 0};
  protocol::TuplesReply reply = {};
  if (auto done = call(request, reply, sockets); !done) return std::unexpected(std::move(done.error()));
  if (auto checked = protocol::check_tuples(reply, sockets.size()); !checked) {
    client_.close();
    return std::unexpected(std::move(checked.error()));
  }
  std::vector<Expected<Tuple>> results;
  results.reserve(sockets.size());
  bool first = true;
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    if (reply.results[i].error == 0)
      results.emplace_back(protocol::from_wire(reply.results[i].tuple));
    else
      results.emplace_back(std::unexpected(error_of(reply, i, first)));
  }
  return results;
}

Expected<void> Control::release(const Tuple& tuple) {
  const std::lock_guard lock(mutex_);
  protocol::Release request = {};
  request.header.type = protocol::Type::release;
  request.count = 1;
  request.tuples[0] = protocol::to_wire(tuple);
  protocol::TuplesReply reply = {};
  if (auto done = call(request, reply); !done) return done;
  if (auto checked = protocol::check_tuples(reply, 1); !checked) {
    client_.close();
    return checked;
  }
  // Gone already: its socket was closed, or the answer to an earlier try was lost with mstackd. As it should be.
  bool first = true;
  if (reply.results[0].error == 0 || reply.results[0].error == ENOENT) return {};
  return std::unexpected(error_of(reply, 0, first));
}

void Control::close() {
  const std::lock_guard lock(mutex_);
  client_.close();
  queue0_.reset();
}

}  // namespace mstack::detail
