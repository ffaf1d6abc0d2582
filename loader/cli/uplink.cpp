// SPDX-License-Identifier: BSD-2-Clause
//
// attach and detach: the commands that change something, by asking mstackd.
#include <fmt/format.h>

#include <algorithm>

#include "cli/text.hpp"
#include "cli/verbs.hpp"
#include "client.hpp"
#include "messages.hpp"

namespace mstack::cli {
namespace {

Expected<Output> ask(const Options& options, protocol::Type type, const char* done) {
  const std::string shown = printable(options.interface);
  protocol::Uplink request = {};
  request.header.type = type;
  request.mode = options.mode;
  request.flags = options.chain ? protocol::attach_chained : 0;
  if (options.interface.empty() || options.interface.size() >= request.name.size())
    return failure(ENODEV, fmt::format("there is no interface \"{}\": a name has 1 to {} characters; `ip link` lists "
                                       "those there are",
                                       shown, request.name.size() - 1));
  std::copy(options.interface.begin(), options.interface.end(), request.name.begin());

  auto client = Client::connect(options.run_dir);
  if (!client) return std::unexpected(client.error());
  protocol::Reply reply = {};
  if (auto answered = client->call(request, reply); !answered) return std::unexpected(answered.error());
  const std::string text = printable(protocol::text_of(reply));
  return Output{.text = fmt::format("{} {}{}{}\n", done, shown, text.empty() ? "" : ": ", text)};
}

}  // namespace

Expected<Output> attach(const Options& options) {
  return ask(options, protocol::Type::attach_uplink, "attached to");
}

Expected<Output> detach(const Options& options) {
  return ask(options, protocol::Type::detach_uplink, "detached from");
}

}  // namespace mstack::cli
