// SPDX-License-Identifier: BSD-2-Clause
#include "net/tag_stripping.hpp"

#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fd.hpp"

namespace mstack::net {
namespace {

constexpr std::string_view wanted[] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"};
constexpr std::uint32_t features_of_a_word = 32;
constexpr std::uint32_t most_features = 1024;  // Linux 6.18 has 64

// A command of ethtool and the array of `count` behind it, as the kernel wants them: in one piece.
template <class Command, class Element>
class Question {
 public:
  explicit Question(std::size_t count) : memory_((sizeof(Command) + count * sizeof(Element) + 7) / 8) {}
  Command& command() { return *reinterpret_cast<Command*>(memory_.data()); }
  Element* elements() {
    return reinterpret_cast<Element*>(reinterpret_cast<std::byte*>(memory_.data()) + sizeof(Command));
  }
  bool ask(int socket, const std::string& device) {
    ifreq request = {};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(memory_.data());
    return ::ioctl(socket, SIOCETHTOOL, &request) == 0;
  }

 private:
  std::vector<std::uint64_t> memory_;
};

std::unexpected<Error> cannot_tell(int code, const std::string& device) {
  return system_failure(code, "cannot learn the features of " + device);
}

}  // namespace

Expected<TagStripping> tag_stripping(const std::string& device) {
  if (device.empty() || device.size() >= IFNAMSIZ) return cannot_tell(ENODEV, device);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_failure(errno, "cannot make a socket");

  Question<ethtool_sset_info, std::uint32_t> sizes(1);
  sizes.command().cmd = ETHTOOL_GSSET_INFO;
  sizes.command().sset_mask = 1ULL << ETH_SS_FEATURES;
  if (!sizes.ask(socket.get(), device)) return cannot_tell(errno, device);
  const std::uint32_t count = sizes.command().sset_mask ? std::min(sizes.elements()[0], most_features) : 0;

  using Name = char[ETH_GSTRING_LEN];
  Question<ethtool_gstrings, Name> names(most_features);
  names.command().cmd = ETHTOOL_GSTRINGS;
  names.command().string_set = ETH_SS_FEATURES;
  names.command().len = count;
  if (!names.ask(socket.get(), device)) return cannot_tell(errno, device);

  const std::uint32_t words = (count + features_of_a_word - 1) / features_of_a_word;
  Question<ethtool_gfeatures, ethtool_get_features_block> features(words);
  features.command().cmd = ETHTOOL_GFEATURES;
  features.command().size = words;
  if (!features.ask(socket.get(), device)) return cannot_tell(errno, device);

  TagStripping stripping;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string_view name(names.elements()[i], ::strnlen(names.elements()[i], ETH_GSTRING_LEN));
    const ethtool_get_features_block& word = features.elements()[i / features_of_a_word];
    const std::uint32_t bit = std::uint32_t{1} << i % features_of_a_word;
    if (!(word.active & bit) || std::ranges::find(wanted, name) == std::end(wanted)) continue;
    if (!(word.available & bit) || word.never_changed & bit)
      stripping.fixed = true;
    else
      stripping.features.emplace_back(name);
  }
  return stripping;
}

}  // namespace mstack::net
