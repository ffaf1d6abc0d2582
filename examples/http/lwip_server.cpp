// SPDX-License-Identifier: BSD-2-Clause
#include "lwip_server.hpp"

#include <lwip/sys.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "lwip/segments.hpp"

namespace http {
namespace {

constexpr u8_t poll_interval = 6;  // of TCP_SLOW_INTERVAL: about four times a second
// Received behind a request that is being answered. A window of them holds 64 bytes each: smaller ones cost more memory
// than they are worth.
constexpr std::size_t most_held = 4096;

}  // namespace

// One connection. lwIP has it as the argument of its callbacks; it deletes itself when lwIP's part of it ends.
class LwipServer::Tcp {
 public:
  Tcp(LwipServer& server, tcp_pcb* pcb) : server_(server), pcb_(pcb), http_(server.service_) {
    server_.connections_.insert(this);
    ++server_.counters_.accepted;
    server_.counters_.most_at_once = std::max(server_.counters_.most_at_once, server_.connections());
    tcp_arg(pcb, this);
    tcp_recv(pcb, [](void* self, tcp_pcb*, pbuf* data, err_t) { return static_cast<Tcp*>(self)->received(data); });
    tcp_sent(pcb, [](void* self, tcp_pcb*, u16_t bytes) { return static_cast<Tcp*>(self)->acknowledged(bytes); });
    tcp_poll(
        pcb, [](void* self, tcp_pcb*) { return static_cast<Tcp*>(self)->poll(); }, poll_interval);
    tcp_err(pcb, [](void* self, err_t) {
      auto* tcp = static_cast<Tcp*>(self);
      tcp->pcb_ = nullptr;  // lwIP has freed it, or is about to
      delete tcp;
    });
    // Responses are written whole: there is nothing to wait for.
    tcp_nagle_disable(pcb);
    set_deadline(server_.timeouts_.idle_ms);
  }
  ~Tcp() {
    server_.connections_.erase(this);
    if (held_ != nullptr) pbuf_free(held_);
    if (sends()) --server_.sending_;
    if (pcb_ == nullptr) return;
    tcp_arg(pcb_, nullptr);
    tcp_recv(pcb_, nullptr);
    tcp_sent(pcb_, nullptr);
    tcp_poll(pcb_, nullptr, 0);
    tcp_err(pcb_, nullptr);
  }
  Tcp(Tcp&&) = delete;

  // Both delete this object.
  err_t close() {
    tcp_pcb* pcb = pcb_;
    delete this;
    if (tcp_close(pcb) == ERR_OK) return ERR_OK;
    tcp_abort(pcb);  // no memory for the FIN
    return ERR_ABRT;
  }
  err_t abort() {
    tcp_pcb* pcb = pcb_;
    delete this;
    tcp_abort(pcb);
    return ERR_ABRT;
  }

  err_t end_soon() {
    http_.end_soon();
    if (lingers_ || !http_.output().bytes.empty()) return ERR_OK;
    return linger();
  }

 private:
  // Something is under way to the peer, who is to acknowledge it before anything else is asked of him.
  [[nodiscard]] bool sends() const { return written_ != acknowledged_; }
  void expect_next() {
    const LwipTimeouts& timeouts = server_.timeouts_;
    if (sends())
      set_deadline(timeouts.send_ms);
    else if (lingers_)
      set_deadline(timeouts.linger_ms);
    else
      set_deadline(http_.in_request() ? timeouts.request_ms : timeouts.idle_ms);
  }
  void set_deadline(std::uint32_t from_now) { deadline_ = sys_now() + from_now; }
  [[nodiscard]] bool past_deadline() const { return static_cast<std::int32_t>(sys_now() - deadline_) > 0; }

  err_t received(pbuf* data) {
    if (data == nullptr) {
      peer_ended_ = true;
    } else if (lingers_) {
      tcp_recved(pcb_, data->tot_len);
      pbuf_free(data);
    } else {
      hold(data);
      if (held_count_ > most_held) return abort();
    }
    return go_on();
  }

  // pbuf_cat() would walk all that is held for each packet, and counts to 64 KB only.
  void hold(pbuf* data) {
    (held_ != nullptr ? last_held_->next : held_) = data;
    held_bytes_ += data->tot_len;
    for (pbuf* part = data; part != nullptr; part = part->next) {
      last_held_ = part;
      ++held_count_;
    }
  }

  err_t acknowledged(u16_t bytes) {
    acknowledged_ += bytes;
    while (!owners_.empty() && owners_.front().end <= acknowledged_) owners_.pop_front();
    if (!sends()) --server_.sending_;
    expect_next();
    return go_on();
  }

  err_t poll() {
    if (past_deadline()) {
      ++server_.counters_.timed_out;
      // Whoever is slow with a request is told so; whoever takes nothing would not take that either.
      if (sends()) return abort();
      if (lingers_ || !http_.in_request()) return close();
      http_.time_out();
      set_deadline(server_.timeouts_.send_ms);
    }
    return go_on();
  }

  // Responses as far as there is room, then requests, until neither gets on.
  err_t go_on() {
    while (!lingers_) {
      const bool wrote_all = write();
      if (http_.broken()) {
        ++server_.counters_.broken;
        return abort();
      }
      if (!wrote_all) break;
      if (http_.ends()) return linger();
      if (held_ == nullptr) break;
      read();
    }
    // lwIP sends by itself at the end of a callback for received data, not of the others.
    tcp_output(pcb_);
    if (peer_ended_ && !sends() && held_ == nullptr) return close();
    return ERR_OK;
  }

  // How many of so many bytes may be written now. A part of them is whole segments: else each acknowledgement of a few
  // bytes would make room for a segment that is as small.
  [[nodiscard]] std::size_t room_for(std::size_t bytes) const {
    // As tcp_write() cuts them: a peer with a small window gets smaller ones.
    const std::size_t half_window = std::min<std::size_t>(pcb_->snd_wnd_max / 2, UINT16_MAX);
    const std::size_t segment = half_window == 0 ? tcp_mss(pcb_) : std::min<std::size_t>(tcp_mss(pcb_), half_window);
    const std::size_t under_way = written_ - acknowledged_;
    const std::size_t segments = mstack_lwip::segments_for(server_.sending_ + (sends() ? 0 : 1));
    // Short responses are segments of their own, each of two or three pbufs.
    if (under_way != 0 && tcp_sndqueuelen(pcb_) >= 3 * segments) return 0;
    const std::size_t most = segments * segment;
    const std::size_t room =
        std::min({most - std::min(most, under_way), std::size_t{tcp_sndbuf(pcb_)}, std::size_t{UINT16_MAX}});
    return bytes <= room ? bytes : room / segment * segment;
  }

  // False if there is more than TCP has room for; acknowledged() or poll() go on.
  bool write() {
    for (;;) {
      const Output& output = http_.output();
      if (output.bytes.empty()) return true;
      auto size = static_cast<u16_t>(room_for(output.bytes.size()));
      if (size == 0) return false;
      u8_t flags = output.lasting ? 0 : TCP_WRITE_FLAG_COPY;
      if (output.more) flags |= TCP_WRITE_FLAG_MORE;
      while (tcp_write(pcb_, output.bytes.data(), size, flags) != ERR_OK) {
        if (size <= tcp_mss(pcb_)) return false;
        size /= 2;
      }
      const bool begins = !sends();
      written_ += size;
      if (begins) {
        ++server_.sending_;
        expect_next();
      }
      // TCP sends from where the bytes are, again if need be, until they are acknowledged.
      if (output.owner) {
        if (!owners_.empty() && owners_.back().owner == output.owner)
          owners_.back().end = written_;
        else
          owners_.push_back({.end = written_, .owner = output.owner});
      }
      http_.sent(size);
    }
  }

  void read() {
    const bool was_in_request = http_.in_request();
    const std::string_view data(static_cast<const char*>(held_->payload), held_->len);
    const std::size_t taken = http_.receive(data);
    tcp_recved(pcb_, static_cast<u16_t>(taken));
    if (taken == held_->len) --held_count_;
    held_bytes_ -= taken;
    held_ = pbuf_free_header(held_, static_cast<u16_t>(taken));
    if (!sends() && http_.in_request() != was_in_request) expect_next();
  }

  // The last response is written. FIN now; what still comes is taken and forgotten, since a close with unread data is
  // a reset, which may overtake the response.
  err_t linger() {
    lingers_ = true;
    for (; held_bytes_ != 0; held_bytes_ -= std::min<std::size_t>(held_bytes_, UINT16_MAX))
      tcp_recved(pcb_, static_cast<u16_t>(std::min<std::size_t>(held_bytes_, UINT16_MAX)));
    if (held_ != nullptr) pbuf_free(held_);
    held_ = nullptr;
    expect_next();
    if (tcp_shutdown(pcb_, 0, 1) != ERR_OK) return abort();
    return go_on();
  }

  struct Owned {
    std::uint64_t end;  // of what was written
    std::shared_ptr<const void> owner;
  };

  LwipServer& server_;
  tcp_pcb* pcb_;
  Connection http_;
  pbuf *held_ = nullptr, *last_held_ = nullptr;  // received, and not read yet; the last one only if there is a first
  std::size_t held_bytes_ = 0, held_count_ = 0;
  std::deque<Owned> owners_;
  std::uint64_t written_ = 0, acknowledged_ = 0;
  std::uint32_t deadline_ = 0;
  bool peer_ended_ = false, lingers_ = false;
};

LwipServer::~LwipServer() {
  end_soon();
  abort();
}

std::expected<void, std::string> LwipServer::listen(std::uint16_t port) {
  tcp_pcb* pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
  if (pcb == nullptr) return std::unexpected("lwIP has no pcb left");
  if (const err_t error = tcp_bind(pcb, IP_ANY_TYPE, port); error != ERR_OK) {
    tcp_abort(pcb);
    return std::unexpected("lwIP cannot bind port " + std::to_string(port) + ": " + std::to_string(error));
  }
  tcp_pcb* listener = tcp_listen(pcb);
  if (listener == nullptr) {
    tcp_abort(pcb);
    return std::unexpected("lwIP has no listening pcb left");
  }
  tcp_arg(listener, this);
  tcp_accept(listener, &LwipServer::accept);
  listeners_.push_back(listener);
  return {};
}

err_t LwipServer::accept(void* self, tcp_pcb* pcb, err_t error) {
  if (error != ERR_OK || pcb == nullptr) return ERR_VAL;
  static_cast<void>(new Tcp(*static_cast<LwipServer*>(self), pcb));  // lwIP has it now
  return ERR_OK;
}

void LwipServer::end_soon() {
  for (tcp_pcb* listener : listeners_) tcp_close(listener);
  listeners_.clear();
  for (Tcp* connection : std::vector<Tcp*>(connections_.begin(), connections_.end())) connection->end_soon();
}

void LwipServer::abort() {
  for (Tcp* connection : std::vector<Tcp*>(connections_.begin(), connections_.end())) connection->abort();
}

}  // namespace http
