// SPDX-License-Identifier: BSD-2-Clause
//
// The other side: an HTTP client on lwIP. The kernel picks its port, as it does for a client of its own.
//
//   lwip_fetch --bind 192.0.2.1:0 --server 198.51.100.2:80 /index.html >index.html
//
// Each path is fetched over a connection of its own, and with port 0 from a port of its own; their bodies are written
// one after the other.
#include <lwip/priv/tcp_priv.h>
#include <lwip/sys.h>
#include <lwip/tcp.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mstack/mstack.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lwip/netif.hpp"
#include "stop.hpp"

namespace {

constexpr std::uint32_t patience_ms = 30'000;       // without anything received
constexpr std::uint32_t patience_to_end_ms = 1000;  // for the acknowledgement of the last FIN
constexpr std::size_t most_head = 65536;

int fail(const std::string& what) {
  std::fprintf(stderr, "lwip_fetch: %s\n", what.c_str());
  return 1;
}

// One GET. HTTP/1.0, so that the end of the connection is the end of the body.
class Fetch {
 public:
  Fetch(const mstack::Tuple& from, const mstack::Tuple& to, const std::string& path) {
    request_ = "GET " + path + " HTTP/1.0\r\nHost: " + to.to_string() + "\r\n\r\n";
    const ip_addr_t local = mstack_lwip::to_lwip(from.address), remote = mstack_lwip::to_lwip(to.address);
    pcb_ = tcp_new_ip_type(IP_GET_TYPE(&remote));
    if (pcb_ == nullptr) {
      error_ = "lwIP has no pcb left";
      return;
    }
    tcp_arg(pcb_, this);
    tcp_recv(pcb_, [](void* self, tcp_pcb*, pbuf* data, err_t) { return static_cast<Fetch*>(self)->received(data); });
    tcp_err(pcb_, [](void* self, err_t error) { static_cast<Fetch*>(self)->reset(error); });
    err_t error = tcp_bind(pcb_, &local, from.port);
    if (error == ERR_OK)
      error = tcp_connect(pcb_, &remote, to.port,
                          [](void* self, tcp_pcb*, err_t) { return static_cast<Fetch*>(self)->connected(); });
    if (error != ERR_OK) error_ = "cannot connect: lwIP's error " + std::to_string(error);
  }
  ~Fetch() {
    if (pcb_ == nullptr) return;
    tcp_arg(pcb_, nullptr);
    tcp_recv(pcb_, nullptr);
    tcp_err(pcb_, nullptr);
    if (tcp_close(pcb_) != ERR_OK) tcp_abort(pcb_);
  }
  Fetch(Fetch&&) = delete;

  [[nodiscard]] bool over() const { return ended_ || !error_.empty() || sys_now() - heard_ > patience_ms; }
  // Nothing if the response came whole, and is a good one.
  [[nodiscard]] std::optional<std::string> failure() const {
    if (!error_.empty()) return error_;
    if (!ended_) return "the server is silent";
    if (!body_) return "the response has no head";
    if (!head_.starts_with("HTTP/1.1 200 ") && !head_.starts_with("HTTP/1.0 200 "))
      return "the server says: " + head_.substr(0, head_.find('\r'));
    constexpr std::string_view length = "\r\nContent-Length: ";
    const std::size_t at = head_.find(length);
    if (at != std::string::npos && std::strtoull(head_.c_str() + at + length.size(), nullptr, 10) != *body_)
      return "the response was cut off after " + std::to_string(*body_) + " bytes";
    return std::nullopt;
  }

 private:
  err_t connected() {
    heard_ = sys_now();
    return tcp_write(pcb_, request_.data(), static_cast<u16_t>(request_.size()), TCP_WRITE_FLAG_COPY);
  }

  err_t received(pbuf* data) {
    heard_ = sys_now();
    if (data == nullptr) {
      ended_ = true;
      return ERR_OK;
    }
    for (const pbuf* part = data; part != nullptr; part = part->next)
      take({static_cast<const char*>(part->payload), part->len});
    tcp_recved(pcb_, data->tot_len);
    pbuf_free(data);
    return ERR_OK;
  }

  void take(std::string_view bytes) {
    if (!body_) {
      const std::size_t before = head_.size();
      head_ += bytes;
      const std::size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (head_.size() > most_head) error_ = "the response's head does not end";
        return;
      }
      bytes.remove_prefix(end + 4 - before);
      head_.resize(end + 2);
      body_ = 0;
    }
    *body_ += bytes.size();
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size()) error_ = "cannot write the body";
  }

  void reset(err_t error) {
    pcb_ = nullptr;  // lwIP has freed it
    error_ = error == ERR_RST ? "the server refused or reset the connection" : "no connection: the server is silent";
  }

  tcp_pcb* pcb_ = nullptr;
  std::string request_, head_, error_;
  std::optional<std::uint64_t> body_;  // how much of it came
  std::uint32_t heard_ = sys_now();
  bool ended_ = false;
};

// The connection from the port that may still send something. In TIME_WAIT it does so only when it is asked.
tcp_pcb* open_from(std::uint16_t port) {
  tcp_pcb* pcb = tcp_active_pcbs;
  while (pcb != nullptr && pcb->local_port != port) pcb = pcb->next;
  return pcb;
}

// After it nothing is on its way from the port any more, if a second is enough for that: its claim may go.
mstack::Expected<void> end_connection(mstack_lwip::Netif& netif, std::uint16_t port) {
  const std::uint32_t since = sys_now();
  while (open_from(port) != nullptr && sys_now() - since < patience_to_end_ms)
    if (const auto ran = netif.run_once(std::chrono::milliseconds(200)); !ran) return ran;
  if (tcp_pcb* pcb = open_from(port); pcb != nullptr) tcp_abort(pcb);
  return netif.drain(std::chrono::seconds(1));
}

}  // namespace

int main(int argc, char** argv) try {
  std::string bind, server, run_dir;
  std::vector<std::string> paths;
  CLI::App app("An HTTP client on lwIP, beside the kernel's own connections.");
  app.add_option("--bind", bind, "an own address to connect from; with port 0 the kernel picks one for each connection")
      ->required()
      ->type_name("ADDR:PORT");
  app.add_option("--server", server, "where to connect to")->required()->type_name("ADDR:PORT");
  app.add_option("--run-dir", run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  app.add_option("path", paths, "what to fetch")->required()->type_name("PATH");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  stop::on_signals();
  const auto to = mstack::tcp(server);
  if (!to) return fail(to.error().what);
  const auto from = mstack::tcp(bind);
  if (!from) return fail(from.error().what);
  if (from->address.is_wildcard() || from->address.is_ipv4() != to->address.is_ipv4())
    return fail("--bind needs one address of the server's family");

  auto vport = mstack::Vport::open({.run_dir = run_dir});
  if (!vport) return fail(vport.error().what);
  mstack_lwip::Netif netif(vport->queue(0));
  netif.connects_from(from->address);
  std::optional<mstack::Claim> claim;  // the library's socket: the kernel keeps the port for it
  for (const std::string& path : paths) {
    if (!claim || from->port == 0) {
      auto made = vport->claim(*from);
      if (!made) return fail(made.error().what);
      claim = std::move(*made);
    }
    std::optional<Fetch> fetch(std::in_place, claim->tuple(), *to, path);
    while (!fetch->over() && !stop::asked())
      if (const auto ran = netif.run_once(std::chrono::milliseconds(200)); !ran) return fail(ran.error().what);
    const auto failure = fetch->failure();
    fetch.reset();
    if (const auto ended = end_connection(netif, claim->tuple().port); !ended) return fail(ended.error().what);
    if (failure) return fail(path + ": " + *failure);
  }
  return std::fflush(stdout) == 0 ? 0 : fail("cannot write the body");
} catch (const std::exception& error) {
  return fail(error.what());
}
