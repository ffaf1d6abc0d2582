// SPDX-License-Identifier: BSD-2-Clause
// A socket that the kernel made below a user's. Its close runs no hook, so a claim of it would have no end; and SMC,
// when it falls back to TCP, makes the user's descriptor just such a socket. Multipath TCP has one below it as well,
// though out of its user's reach: what bind() wrote into that one is asked of sock_diag.
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>

#include "net/message.hpp"
#include "net/netlink.hpp"
#include "sock_fixture.hpp"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace bpf_test {
namespace {

namespace net = mstack::net;

// Of one storage among a socket's: those asked for are the values of our map alone.
std::optional<mstack_socket> record_in(const nlattr* storages) {
  std::optional<mstack_socket> record;
  net::for_each_nested(storages, [&record](const nlattr* storage) {
    net::for_each_nested(storage, [&record](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) == SK_DIAG_BPF_STORAGE_MAP_VALUE)
        record = net::value_as<mstack_socket>(attribute);
    });
  });
  return record;
}

class SockOfKernel : public SockLife {
 protected:
  // What the one listening TCP socket of this namespace has in its storage.
  std::optional<mstack_socket> listener_record() const {
    net::Request request(SOCK_DIAG_BY_FAMILY, 0, sizeof(inet_diag_req_v2));
    auto& header = request.header<inet_diag_req_v2>();
    header.sdiag_family = AF_INET;
    header.sdiag_protocol = IPPROTO_TCP;
    header.idiag_states = 1U << 10;  // TCP_LISTEN
    nlattr* maps = mnl_attr_nest_start(request.message(), INET_DIAG_REQ_SK_BPF_STORAGES);
    mnl_attr_put_u32(request.message(), SK_DIAG_BPF_STORAGE_REQ_MAP_FD, static_cast<__u32>(programs.map("sockets")));
    mnl_attr_nest_end(request.message(), maps);

    std::optional<mstack_socket> record;
    auto netlink = net::Netlink::open(NETLINK_SOCK_DIAG);
    const auto done = netlink->dump(request, "sock_diag", [&record](const nlmsghdr& message) {
      net::for_each_attribute(message, sizeof(inet_diag_msg), [&record](const nlattr* attribute) {
        if (mnl_attr_get_type(attribute) == INET_DIAG_SK_BPF_STORAGES) record = record_in(attribute);
      });
    });
    EXPECT_TRUE(done);
    return record;
  }
};

TEST_F(SockOfKernel, HasNoRecord) {
  const int users = bound(proto_tcp, "192.0.2.1", 7);
  ASSERT_EQ(agent.listen(users), 0);
  auto found = listener_record();
  ASSERT_TRUE(found) << "a user's own has one";
  EXPECT_EQ(found->cookie, agent.cookie(users));
  EXPECT_EQ(found->unfit, 0U);
  ASSERT_EQ(agent.close(users), 0);

  const int above = agent.open(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
  if (above < 0) GTEST_SKIP() << "this kernel has no multipath TCP";
  ASSERT_EQ(agent.bind(above, "192.0.2.1", 7), 0);
  ASSERT_EQ(agent.listen(above), 0);
  found = listener_record();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->cookie, 0U);
  EXPECT_EQ(found->unfit, MSTACK_SOCKET_KERNEL);
}

}  // namespace
}  // namespace bpf_test
