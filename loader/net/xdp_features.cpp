// SPDX-License-Identifier: BSD-2-Clause
#include "net/xdp_features.hpp"

#include <linux/genetlink.h>

#include <cerrno>

#include "net/message.hpp"
#include "net/netlink.hpp"

namespace mstack::net {
namespace {

// <linux/netdev.h>, which headers before 6.3 do not have.
constexpr const char* family_name = "netdev";
constexpr std::uint8_t family_version = 1, command_dev_get = 1;
constexpr std::uint16_t attribute_ifindex = 1, attribute_xdp_features = 3;

Request generic_request(std::uint16_t family, std::uint8_t command, std::uint8_t version) {
  Request request(family, 0, sizeof(genlmsghdr));
  request.header<genlmsghdr>() = {.cmd = command, .version = version, .reserved = 0};
  return request;
}

Expected<std::uint16_t> find_family(Netlink& netlink) {
  Request request = generic_request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
  mnl_attr_put_strz(request.message(), CTRL_ATTR_FAMILY_NAME, family_name);
  std::uint16_t family = 0;
  auto found = netlink.request(request, "cannot find netlink family netdev", [&family](const nlmsghdr& message) {
    for_each_attribute(message, sizeof(genlmsghdr), [&family](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID) family = value_as<std::uint16_t>(attribute).value_or(0);
    });
  });
  if (!found) return std::unexpected(found.error());
  return family;
}

}  // namespace

Expected<std::optional<std::uint64_t>> xdp_features(std::uint32_t ifindex) {
  auto netlink = Netlink::open(NETLINK_GENERIC);
  if (!netlink) return std::unexpected(netlink.error());
  const auto family = find_family(*netlink);
  if (!family) {
    if (family.error().code == ENOENT) return std::nullopt;
    return std::unexpected(family.error());
  }
  Request request = generic_request(*family, command_dev_get, family_version);
  mnl_attr_put_u32(request.message(), attribute_ifindex, ifindex);
  std::optional<std::uint64_t> features;
  auto answered =
      netlink->request(request, "cannot learn what XDP the device of ifindex " + std::to_string(ifindex) + " can do",
                       [&features](const nlmsghdr& message) {
                         for_each_attribute(message, sizeof(genlmsghdr), [&features](const nlattr* attribute) {
                           if (mnl_attr_get_type(attribute) == attribute_xdp_features)
                             features = value_as<std::uint64_t>(attribute);
                         });
                       });
  if (!answered) return std::unexpected(answered.error());
  return features;
}

}  // namespace mstack::net
