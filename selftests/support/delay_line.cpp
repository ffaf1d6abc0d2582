// SPDX-License-Identifier: BSD-2-Clause
#include "support/delay_line.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <fstream>

#include "support/deadline.hpp"
#include "support/frame.hpp"
#include "support/process.hpp"

namespace mstack::test {

DelayLine::DelayLine(const Namespace& netns, const std::string& name, std::chrono::milliseconds delay)
    : end_(check(::eventfd(0, EFD_CLOEXEC), "eventfd")) {
  netns.run([&] {
    tap_ = Fd(check(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "open /dev/net/tun"));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    check(::ioctl(tap_.get(), TUNSETIFF, &request), "make the tap " + name);
    std::ofstream("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6") << 1;
  });
  run_or_throw({"ip", "link", "set", name, "up"}, {.who = {.netns = &netns}});
  thread_ = std::thread([this, delay] { carry(delay); });
}

DelayLine::~DelayLine() {
  ::eventfd_write(end_.get(), 1);
  thread_.join();
}

void DelayLine::carry(std::chrono::milliseconds delay) const {
  struct Late {
    Deadline due;
    Bytes frame;
  };
  std::deque<Late> waiting;
  std::array<std::uint8_t, 65536> frame{};
  for (;;) {
    std::array<pollfd, 2> events{pollfd{.fd = end_.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = tap_.get(), .events = POLLIN, .revents = 0}};
    ::poll(events.data(), events.size(), waiting.empty() ? -1 : waiting.front().due.left());
    if (events[0].revents != 0) return;
    for (ssize_t size; (size = ::read(tap_.get(), frame.data(), frame.size())) > 0;)
      waiting.push_back({.due = Deadline{delay}, .frame = Bytes(frame.begin(), frame.begin() + size)});
    for (; !waiting.empty() && waiting.front().due.passed(); waiting.pop_front()) {
      const Bytes& next = waiting.front().frame;
      check(::write(tap_.get(), next.data(), next.size()), "write to the tap of a delay line");
    }
  }
}

}  // namespace mstack::test
