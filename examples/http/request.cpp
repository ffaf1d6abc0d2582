// SPDX-License-Identifier: BSD-2-Clause
#include "request.hpp"

#include <algorithm>
#include <charconv>

namespace http {
namespace {

constexpr bool is_token(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

constexpr bool is_field_value(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(std::string_view left, std::string_view lower_case) {
  return std::ranges::equal(left, lower_case, {}, lower);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Up to the separator, which is taken off too.
std::string_view take_until(std::string_view& text, std::string_view separator) {
  const std::size_t at = text.find(separator);
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + separator.size());
  return part;
}

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (lower(c) >= 'a' && lower(c) <= 'f') return static_cast<unsigned>(lower(c) - 'a' + 10);
  return std::nullopt;
}

// Nothing for a target that is no path, or hides a NUL.
std::optional<std::string> decoded_path(std::string_view target) {
  // The absolute form is what a proxy gets, and every server must take.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() < scheme.size() || !same(target.substr(0, scheme.size()), scheme)) continue;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    if (!target.starts_with('/')) target = "/";
  }
  target = target.substr(0, target.find('?'));
  if (target.empty() || target.front() != '/') return std::nullopt;
  std::string path;
  path.reserve(target.size());
  for (std::size_t i = 0; i < target.size(); ++i) {
    char c = target[i];
    if (c == '%') {
      if (i + 2 >= target.size()) return std::nullopt;
      const auto high = hex_digit(target[i + 1]), low = hex_digit(target[i + 2]);
      if (!high || !low) return std::nullopt;
      c = static_cast<char>(*high << 4 | *low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    path.push_back(c);
  }
  return path;
}

// What the fields said so far, and what of it must not come twice.
struct Fields {
  bool has_host = false, has_length = false, has_encoding = false, close = false, keep_alive = false;
};

// A status to refuse with, or 0.
int read_field(std::string_view name, std::string_view value, Fields& fields, Request& request) {
  if (same(name, "host")) {
    if (fields.has_host) return 400;
    fields.has_host = true;
  } else if (same(name, "content-length")) {
    const auto length = parse_number(value);
    if (!length || (fields.has_length && *length != request.body)) return 400;
    fields.has_length = true;
    request.body = *length;
  } else if (same(name, "transfer-encoding")) {
    fields.has_encoding = true;
  } else if (same(name, "connection")) {
    while (!value.empty()) {
      const std::string_view option = trimmed(take_until(value, ","));
      fields.close |= same(option, "close");
      fields.keep_alive |= same(option, "keep-alive");
    }
  } else if (same(name, "range")) {
    request.range = request.range ? std::string_view() : value;  // two of them are none that we know
  } else if (same(name, "if-range")) {
    request.if_range = value;
  }
  return 0;
}

int read_request_line(std::string_view line, Request& request, bool& is_1_0) {
  const std::string_view method = take_until(line, " ");
  const std::string_view target = take_until(line, " ");
  const std::string_view version = line;
  if (method.empty() || !std::ranges::all_of(method, is_token) || target.empty()) return 400;
  if (version.size() != 8 || !version.starts_with("HTTP/") || version[6] != '.' || version[5] < '0' ||
      version[5] > '9' || version[7] < '0' || version[7] > '9')
    return 400;
  if (version[5] != '1') return 505;
  is_1_0 = version[7] == '0';
  if (target.size() > most_target) return 414;
  if (!std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f; })) return 400;
  request.method = method == "GET" ? Method::get : method == "HEAD" ? Method::head : Method::other;
  if (request.method == Method::other) {
    // Of what we know we say that it is not allowed here.
    for (const std::string_view known : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
      if (method == known) return 405;
    return 501;
  }
  auto path = decoded_path(target);
  if (!path) return 400;
  request.path = std::move(*path);
  return 0;
}

// The lines of a whole head, each ended by CRLF.
int read_head(std::string_view text, Request& request) {
  bool is_1_0 = false;
  if (const int status = read_request_line(take_until(text, "\r\n"), request, is_1_0); status != 0) return status;
  Fields fields;
  for (std::size_t count = 0; !text.empty(); ++count) {
    if (count == most_fields) return 431;
    std::string_view value = take_until(text, "\r\n");
    // No blank before the colon, nor a line that goes on: servers and proxies have disagreed about both.
    const std::size_t colon = value.find(':');
    if (colon == std::string_view::npos || colon == 0) return 400;
    const std::string_view name = value.substr(0, colon);
    value = trimmed(value.substr(colon + 1));
    if (!std::ranges::all_of(name, is_token) || !std::ranges::all_of(value, is_field_value)) return 400;
    if (const int status = read_field(name, value, fields, request); status != 0) return status;
  }
  if (!is_1_0 && !fields.has_host) return 400;
  if (fields.has_encoding) return fields.has_length ? 400 : 501;
  if (request.body > most_body) return 413;
  request.keep_alive = !fields.close && (!is_1_0 || fields.keep_alive);
  return 0;
}

Head refused(int status) {
  return {.state = Head::State::refused, .status = status, .size = 0};
}

// Whether a line ends with a line feed alone: it would be waited for in vain otherwise.
bool has_bare_line_feed(std::string_view text) {
  for (std::size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
    if (at == 0 || text[at - 1] != '\r') return true;
  return false;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Head parse_head(std::string_view text) {
  // Empty lines before a request line are to be ignored.
  std::size_t skipped = 0;
  while (text.substr(skipped).starts_with("\r\n") && skipped < 8) skipped += 2;
  text.remove_prefix(skipped);
  const std::size_t end = text.find("\r\n\r\n");
  // Looked for first, so that the answer hangs on what was sent and not on the pieces that it came in.
  if (has_bare_line_feed(text.substr(0, std::min(end, most_head)))) return refused(400);
  if (end == std::string_view::npos || end + 4 > most_head) {
    if (text.size() < most_head) return {};
    return refused(text.find("\r\n") > most_target ? 414 : 431);
  }
  Head head = {.state = Head::State::complete, .status = 0, .size = skipped + end + 4};
  if (const int status = read_head(text.substr(0, end + 2), head.request); status != 0) return refused(status);
  return head;
}

Range parse_range(std::string_view field, std::uint64_t size) {
  if (!same(field.substr(0, 6), "bytes=")) return {};
  field.remove_prefix(6);
  const std::size_t dash = field.find('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view first_text = trimmed(field.substr(0, dash)), last_text = trimmed(field.substr(dash + 1));
  const auto first = parse_number(first_text), last = parse_number(last_text);
  if ((!first && !first_text.empty()) || (!last && !last_text.empty()) || (!first && !last)) return {};
  if (!first) {  // the last so many bytes
    if (*last == 0 || size == 0) return {.kind = Range::Kind::unsatisfiable};
    return {.kind = Range::Kind::satisfiable, .first = size - std::min(size, *last), .end = size};
  }
  if (last && *last < *first) return {};
  if (*first >= size) return {.kind = Range::Kind::unsatisfiable};
  return {.kind = Range::Kind::satisfiable, .first = *first, .end = last && *last < size ? *last + 1 : size};
}

}  // namespace http
