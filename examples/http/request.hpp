// SPDX-License-Identifier: BSD-2-Clause
//
// The head of an HTTP/1.x request (RFC 9112), read strictly: what two parsers could understand differently is refused.
// Pure functions of text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace http {

inline constexpr std::size_t most_head = 8192;         // bytes, of request line and header fields; else 431
inline constexpr std::size_t most_target = 4096;       // else 414
inline constexpr std::size_t most_fields = 100;        // else 431
inline constexpr std::uint64_t most_body = 64 * 1024;  // of a request, which is read and forgotten; else 413

enum class Method { get, head, other };

// What of a request matters to this server. Views are into the text that was parsed.
struct Request {
  Method method = Method::get;
  std::string path;  // of the target, decoded, from the first slash on; without the query
  bool keep_alive = false;
  std::uint64_t body = 0;  // bytes that follow the head
  std::optional<std::string_view> range, if_range;
};

struct Head {
  enum class State { incomplete, refused, complete };
  State state = State::incomplete;
  int status = 0;        // refused: the status to answer with
  std::size_t size = 0;  // complete: bytes of the text that are the head
  Request request = {};
};

// The first head in the text, which may go on. Incomplete only if more bytes could make it a head.
Head parse_head(std::string_view text);

struct Range {
  enum class Kind { none, satisfiable, unsatisfiable };
  Kind kind = Kind::none;  // none: the field is absent or not for us, and the whole is sent
  std::uint64_t first = 0, end = 0;
};

// RFC 9110, 14.1.2, for one range of bytes. Several ranges, other units and nonsense count as none, which RFC 9110
// allows and asks for.
Range parse_range(std::string_view field, std::uint64_t size);

// A decimal number without sign, blanks or overflow.
std::optional<std::uint64_t> parse_number(std::string_view text);

}  // namespace http
