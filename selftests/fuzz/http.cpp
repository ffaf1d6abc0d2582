// SPDX-License-Identifier: BSD-2-Clause
// What anybody on the wire writes to lwip_httpd: a stream of bytes, in whatever pieces TCP makes of it. The clock
// stands still (the linker's --wrap), or two responses to the same would differ by their dates.
#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include "http/connection.hpp"
#include "target.hpp"

extern "C" std::time_t __wrap_time(std::time_t* now);
std::time_t __wrap_time(std::time_t* now) {
  constexpr std::time_t then = 1'700'000'000;
  if (now != nullptr) *now = then;
  return then;
}

namespace {

using fuzz::require;
using http::Head;

constexpr std::size_t enough = 32 * 1024;  // of responses, which can be large

bool is_inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void head(std::string_view text) {
  const Head parsed = http::parse_head(text);
  if (parsed.state == Head::State::refused) {
    require(parsed.status >= 400 && parsed.status < 600, "a refusal has a status");
    return;
  }
  if (parsed.state == Head::State::incomplete) return require(text.size() < http::most_head + 16, "a head has an end");
  require(parsed.size >= 4 && parsed.size <= text.size(), "a head is in the text");
  const http::Request& request = parsed.request;
  require(request.path.starts_with('/') && !request.path.contains('\0'), "a path is one");
  require(request.body <= http::most_body, "a body has an end");
  for (const auto& field : {request.range, request.if_range})
    require(!field || is_inside(*field, text.substr(0, parsed.size)), "fields are in the head");
  // Connection takes off of a piece what was more than the beginning.
  for (std::size_t size = 0; size < parsed.size; size += 1 + parsed.size / 64)
    require(http::parse_head(text.substr(0, size)).state == Head::State::incomplete, "a beginning is not the whole");
  require(http::parse_head(text.substr(0, parsed.size)).size == parsed.size, "what is behind it is none of it");
  for (const std::uint64_t of : {std::uint64_t{0}, std::uint64_t{5000}, ~std::uint64_t{0}}) {
    const http::Range range = http::parse_range(request.range.value_or(""), of);
    if (range.kind == http::Range::Kind::satisfiable)
      require(range.first < range.end && range.end <= of, "a range is of the content");
  }
}

// As lwip_server does it: what is there to send, as far as there is room for it, then what is there to read.
std::string responses(std::string_view stream, std::size_t piece, std::size_t room) {
  static http::Service service{""};  // no files: what is made up alone
  http::Connection connection(service);
  std::string all;
  std::size_t arrived = 0;
  while (all.size() < enough) {
    const http::Output& output = connection.output();
    if (!output.bytes.empty()) {
      const std::size_t size = std::min(output.bytes.size(), room);
      all.append(reinterpret_cast<const char*>(output.bytes.data()), size);
      connection.sent(size);
      continue;
    }
    require(!connection.broken(), "what is made up can be had");
    if (connection.ends()) break;
    if (arrived == 0 && stream.empty()) {
      // The peer is silent.
      if (connection.in_request()) connection.time_out();
      if (connection.output().bytes.empty()) break;
      continue;
    }
    if (arrived == 0) arrived = std::min(piece, stream.size());
    const std::size_t taken = connection.receive(stream.substr(0, arrived));
    require(taken <= arrived, "no more is taken than there is");
    require(taken != 0 || !connection.output().bytes.empty(), "it reads or writes");
    stream.remove_prefix(taken);
    arrived -= taken;
  }
  all.resize(std::min(all.size(), enough));
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // On the heap, and no longer than it is: to read on is an error.
  const std::string_view given = fuzz::Input(data, size).text();
  const std::vector<char> bytes(given.begin(), given.end());
  const std::string_view stream(bytes.data(), bytes.size());
  head(stream);
  const std::string all = responses(stream, std::max<std::size_t>(stream.size(), 1), enough);
  require(all.empty() || all.starts_with("HTTP/1.1 "), "an answer is HTTP");
  require(responses(stream, 1 + size % 97, 1 + size % 1460) == all, "pieces make no difference");
  return 0;
}
