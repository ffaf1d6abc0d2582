// SPDX-License-Identifier: BSD-2-Clause
//
// Tries to claim what is not its own, in every way that needs no privilege, and prints how each attempt is refused.
// Exit status 0: all were. 1: one was not, or could not be tried. It doubles as a list of what a claim needs.
//
//   claim_denied [--bind ADDR:PORT] [--taken ADDR:PORT]
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstring>
#include <functional>
#include <mstack/mstack.hpp>
#include <string>
#include <utility>
#include <vector>

namespace {

using mstack::Expected;

// A socket of this program's own; mstack::Claim and the functions below borrow it.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

struct Name {
  sockaddr_storage storage = {};
  socklen_t size = 0;

  explicit Name(const mstack::Tuple& tuple) {
    if (tuple.address.is_ipv4()) {
      sockaddr_in in = {};
      in.sin_family = AF_INET;
      in.sin_port = htons(tuple.port);
      in.sin_addr.s_addr = htonl(tuple.address.ipv4());
      std::memcpy(&storage, &in, size = sizeof(in));
    } else {
      sockaddr_in6 in6 = {};
      in6.sin6_family = AF_INET6;
      in6.sin6_port = htons(tuple.port);
      std::memcpy(&in6.sin6_addr, tuple.address.bytes.data(), 16);
      std::memcpy(&storage, &in6, size = sizeof(in6));
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] std::uint16_t port() const {
    sockaddr_in in = {};  // sockaddr_in6 has the port in the same place
    std::memcpy(&in, &storage, sizeof(in));
    return ntohs(in.sin_port);
  }
};

class Attempts {
 public:
  Attempts(mstack::Vport& vport, mstack::Vport& other, const mstack::Tuple& own)
      : vport_(vport), other_(other), own_(own) {}

  void all(const std::string& taken);
  [[nodiscard]] int refused() const { return refused_; }
  [[nodiscard]] int not_refused() const { return not_refused_; }

 private:
  [[nodiscard]] Socket made(int type = SOCK_DGRAM) const {
    return Socket(socket(own_.address.is_ipv4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
  }
  [[nodiscard]] static bool bind_to(const Socket& socket, const mstack::Tuple& tuple) {
    const Name name(tuple);
    return socket && bind(socket.fd(), name.get(), name.size) == 0;
  }
  // The program's own address with a port that is free, or was a moment ago.
  [[nodiscard]] mstack::Tuple free_tuple(int type = SOCK_DGRAM) const {
    const Socket socket = made(type);
    mstack::Tuple tuple = own_;
    Name name(own_);
    if (!bind_to(socket, own_)) return tuple;
    getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&name.storage), &name.size);
    tuple.port = name.port();
    return tuple;
  }
  [[nodiscard]] Socket bound(int type = SOCK_DGRAM) const {
    Socket socket = made(type);
    return bind_to(socket, free_tuple(type)) ? std::move(socket) : Socket(-1);
  }
  void claim(const char* what, const Socket& socket) {
    if (!socket) return unable(what);
    result(what, vport_.claim(socket.fd()));
  }
  void result(const char* what, const Expected<mstack::Claim>& claim) {
    std::printf("%-45s %s\n", what, claim ? "GRANTED" : ("refused: " + claim.error().what).c_str());
    ++(claim ? not_refused_ : refused_);
  }
  void unable(const char* what) {
    std::printf("%-45s COULD NOT BE TRIED: %s\n", what, std::strerror(errno));
    ++not_refused_;
  }

  void picked_port();
  void connected();
  void on_device();
  void foreign_address();
  void shared_port();
  void claimed_already();

  mstack::Vport& vport_;
  mstack::Vport& other_;
  mstack::Tuple own_;
  int refused_ = 0, not_refused_ = 0;
};

// connect() to nobody at all makes such a socket lose its port, and keep all else: whoever binds the port next must not
// find it claimed.
void Attempts::picked_port() {
  const Socket socket = made();
  if (!bind_to(socket, own_)) return unable("a port that the kernel picked");
  claim("a port that the kernel picked", socket);
}

void Attempts::connected() {
  const Socket socket = bound();
  mstack::Tuple peer = own_;
  peer.port = 9;
  if (peer.address.is_wildcard()) peer.address = *mstack::Address::parse(peer.address.is_ipv4() ? "127.0.0.1" : "::1");
  const Name name(peer);
  if (!socket || connect(socket.fd(), name.get(), name.size) != 0) return unable("a connected socket");
  claim("a connected socket", socket);
  sockaddr nobody = {};
  nobody.sa_family = AF_UNSPEC;
  if (connect(socket.fd(), &nobody, sizeof(nobody)) != 0) return unable("a socket that was connected");
  claim("a socket that was connected", socket);
}

// It holds the port on that device alone; others may have it on the rest.
void Attempts::on_device() {
  const Socket socket = made();
  if (setsockopt(socket.fd(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2) != 0 || !bind_to(socket, free_tuple()))
    return unable("a socket of one device");
  claim("a socket of one device", socket);
}

// IP_FREEBIND lets anyone bind an address that this host does not have.
void Attempts::foreign_address() {
  const Socket socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const Name name({.address = *mstack::Address::parse("203.0.113.254"), .port = free_tuple().port});
  if (setsockopt(socket.fd(), IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) != 0 ||
      bind(socket.fd(), name.get(), name.size) != 0)
    return unable("an address of another host");
  claim("an address of another host", socket);
}

// Two sockets of one port: with the claim, the other would lose its packets.
void Attempts::shared_port() {
  const Socket first = made(), second = made();
  const int on = 1;
  for (const Socket* socket : {&first, &second}) setsockopt(socket->fd(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  const mstack::Tuple tuple = free_tuple();
  if (!bind_to(first, tuple) || !bind_to(second, tuple)) return unable("a port shared by SO_REUSEPORT");
  claim("a port shared by SO_REUSEPORT", first);
}

void Attempts::claimed_already() {
  const Socket socket = bound();
  if (!socket) return unable("a tuple that another vport has claimed");
  const auto claim = other_.claim(socket.fd());
  if (!claim) {
    std::printf("%-45s COULD NOT BE TRIED: %s\n", "a tuple that another vport has claimed", claim.error().what.c_str());
    ++not_refused_;
    return;
  }
  this->claim("a tuple that another vport has claimed", socket);
  result("binding a claimed tuple", vport_.claim(claim->tuple()));
}

void Attempts::all(const std::string& taken) {
  int ends[2];
  if (pipe(ends) != 0) return unable("not a socket");
  const Socket in(ends[0]), out(ends[1]);
  claim("not a socket", in);
  claim("a unix socket", Socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  claim("a socket that is not bound", made());
  Socket listener = bound(SOCK_STREAM);
  if (listener && listen(listener.fd(), 1) == 0)
    claim("a listening socket", listener);
  else
    unable("a listening socket");
  picked_port();
  connected();
  on_device();
  foreign_address();
  const bool ipv4 = own_.address.is_ipv4();
  result("a loopback address", vport_.claim(mstack::udp(ipv4 ? "127.0.0.1" : "::1", 0)));
  shared_port();
  claimed_already();
  if (!taken.empty()) result("someone else's tuple", vport_.claim(mstack::udp(taken)));
}

int fail(const mstack::Error& error) {
  std::fprintf(stderr, "claim_denied: %s\n", error.what.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string bind = "0.0.0.0:0", taken, run_dir;
  CLI::App app("Tries to claim what is not its own. Exit status 0: every attempt was refused.");
  app.add_option("--bind", bind, "an address of this host to try with, port 0 (0.0.0.0:0)")->type_name("ADDR:PORT");
  app.add_option("--taken", taken, "a tuple that another process has claimed")->type_name("ADDR:PORT");
  app.add_option("--run-dir", run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const auto own = mstack::udp(bind);
  if (!own) return fail(own.error());
  auto vport = mstack::Vport::open({.frames = 64, .run_dir = run_dir});
  if (!vport) return fail(vport.error());
  auto other = mstack::Vport::open({.frames = 64, .run_dir = run_dir});
  if (!other) return fail(other.error());

  Attempts attempts(*vport, *other, *own);
  attempts.all(taken);
  std::printf("claim_denied: %d refused, %d not refused\n", attempts.refused(), attempts.not_refused());
  return attempts.not_refused() == 0 ? 0 : 1;
} catch (const std::exception& error) {
  return fail({.code = ENOMEM, .what = error.what()});
}
