// SPDX-License-Identifier: BSD-2-Clause
//
// Sends or counts packets as fast as a vport can, one thread a queue.
//
//   pkt_gen rx --bind 192.0.2.1:9000
//   pkt_gen tx --bind 192.0.2.1:9000 --to 198.51.100.2:9000 --size 1400 --rate 100000 --seconds 10
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <deque>
#include <mstack/mstack.hpp>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "drain.hpp"
#include "not_negative.hpp"
#include "packet.hpp"
#include "pkt_gen_report.hpp"
#include "stop.hpp"

namespace {

using report::Clock;
using report::Totals;
using std::chrono::milliseconds;

constexpr std::size_t batch = 64;
// Of a packet in one frame of 2048 bytes, and of 4096.
constexpr std::size_t most_of_small_frame = 1792, most_of_large_frame = 3512;

struct Options {
  bool receive = false;
  std::string bind, to, spoof, run_dir;
  std::size_t size = 64;
  double seconds = 0;
  std::uint64_t rate = 0, count = 0;
  std::uint32_t queues = 1;
  bool tcp = false, throughput = false, json = false;

  [[nodiscard]] mstack::Protocol protocol() const { return tcp ? mstack::Protocol::tcp : mstack::Protocol::udp; }
};

// What the generator puts first into a payload that is large enough, so that the receiver can tell what was lost.
struct Stamp {
  std::array<char, 4> magic = {'m', 's', 'p', 'g'};
  std::uint32_t stream = 0;
  std::uint64_t sequence = 0;
};
static_assert(sizeof(Stamp) == 16);

// One queue's work, and what came of it.
struct Worker {
  report::Counters counters;
  std::optional<mstack::Error> error;
};

// Who finishes early wakes the thread that prints.
struct Finished {
  std::mutex mutex;
  std::condition_variable changed;
  std::uint32_t workers = 0;
};

class Receiver {
 public:
  mstack::Expected<void> run(mstack::Queue& queue, const Options& options, Clock::time_point start, Worker& worker) {
    const auto end = start + std::chrono::duration<double>(options.seconds);
    while (!stop::asked() && (options.seconds == 0 || Clock::now() < end) &&
           (options.count == 0 || totals_.packets < options.count)) {
      const std::size_t received = queue.receive(batch, [&](std::span<const mstack::Frame> frames) { count(frames); });
      if (received == 0) {
        if (const auto ready = queue.wait(milliseconds(100)); !ready) return std::unexpected(ready.error());
        continue;
      }
      worker.counters.set(totals_);
    }
    return {};
  }

 private:
  void count(std::span<const mstack::Frame> frames) {
    const auto packet = packet::parse(frames);
    if (!packet) return;
    ++totals_.packets;
    totals_.bytes += packet->frame_size;
    Stamp stamp;
    if (packet->payload.size() < sizeof(stamp)) return;
    std::memcpy(&stamp, packet->payload.data(), sizeof(stamp));
    if (stamp.magic != Stamp().magic) return;
    std::uint64_t& next = next_[stamp.stream];
    if (stamp.sequence >= next) {
      totals_.lost += stamp.sequence - next;
      next = stamp.sequence + 1;
    } else if (totals_.lost != 0) {
      --totals_.lost;  // late, not lost
    }
  }

  Totals totals_;
  std::unordered_map<std::uint32_t, std::uint64_t> next_;  // by stream
};

class Sender {
 public:
  Sender(const Options& options, const mstack::Tuple& source, const mstack::Tuple& destination)
      : frame_(std::max(options.size, packet::headers_size(source))),
        headers_(packet::headers_size(source)),
        checksum_at_(headers_ - (options.tcp ? 4 : 2)) {
    Stamp stamp = {.stream = std::random_device()()};
    stamped_ = frame_.size() - headers_ >= sizeof(stamp);
    if (stamped_) std::memcpy(frame_.data() + headers_, &stamp, sizeof(stamp));
    packet::write(frame_, source, destination);
    checksum_ = static_cast<std::uint16_t>(frame_[checksum_at_] << 8 | frame_[checksum_at_ + 1]);
  }

  mstack::Expected<void> run(mstack::Queue& queue, const Options& options, Clock::time_point start, Worker& worker) {
    const auto end = start + std::chrono::duration<double>(options.seconds);
    // Shares of what was asked for in all; the first queues take what does not divide.
    const std::uint64_t most = options.count / options.queues + (queue.index() < options.count % options.queues);
    const double rate = static_cast<double>(options.rate) / options.queues;
    for (auto now = start; !stop::asked(); now = Clock::now()) {
      if ((options.seconds != 0 && now >= end) || (options.count != 0 && sent_ >= most)) break;
      std::uint64_t due = batch;
      if (options.count != 0) due = std::min(due, most - sent_);
      bool in_time = false;
      if (options.rate != 0) {
        const auto by_now = static_cast<std::uint64_t>(std::chrono::duration<double>(now - start).count() * rate) + 1;
        const std::uint64_t behind = by_now - std::min(by_now, sent_);
        in_time = behind < due;
        due = std::min(due, behind);
      }
      while (due != 0 && send(queue)) --due;
      if (const auto flushed = queue.flush(); !flushed) return std::unexpected(flushed.error());
      queue.receive(batch, [](std::span<const mstack::Frame>) {});  // answers, if any come
      worker.counters.set({.packets = sent_, .bytes = sent_ * frame_.size()});
      if (in_time)
        if (const auto waited = queue.wait(milliseconds(1)); !waited) return std::unexpected(waited.error());
    }
    const auto left = drain(queue);
    if (!left) return std::unexpected(left.error());
    sent_ -= (*left + frames_each_ - 1) / frames_each_;
    worker.counters.set({.packets = sent_, .bytes = sent_ * frame_.size()});
    return {};
  }

 private:
  bool send(mstack::Queue& queue) {
    auto frame = queue.allocate();
    if (!frame) return false;
    if (frame_.size() > frame->capacity()) return send_in_several(queue, *frame);
    if (!frame->resize(frame_.size())) return false;
    std::memcpy(frame->data(), frame_.data(), frame_.size());
    if (stamped_) write_sequence(frame->data());
    if (!queue.transmit(*frame)) {
      queue.give_back(*frame);
      return false;
    }
    ++sent_;
    return true;
  }

  bool send_in_several(mstack::Queue& queue, mstack::Frame first) {
    std::array<mstack::Frame, mstack::max_packet_frames> frames;
    std::size_t count = 0;
    std::span<const std::uint8_t> left(frame_);
    for (auto next = std::optional(first); next;) {
      const auto part = left.first(std::min(left.size(), next->capacity()));
      left = left.subspan(part.size());
      if (next->resize(part.size())) std::memcpy(next->data(), part.data(), part.size());
      frames[count++] = *next;
      next = left.empty() || count == frames.size() ? std::nullopt : queue.allocate();
    }
    const auto packet = std::span(frames).first(count);
    if (stamped_) write_sequence(first.data());
    if (!left.empty() || !queue.transmit(packet)) {
      for (const mstack::Frame& frame : packet) queue.give_back(frame);
      return false;
    }
    frames_each_ = count;
    ++sent_;
    return true;
  }

  // The checksum of the frame with sequence number 0 is known: only what changes is added to it (RFC 1624).
  void write_sequence(std::uint8_t* frame) const {
    std::uint8_t* field = frame + headers_ + offsetof(Stamp, sequence);
    std::memcpy(field, &sent_, sizeof(sent_));
    std::uint16_t checksum =
        packet::folded(packet::sum({field, sizeof(sent_)}, static_cast<std::uint16_t>(~checksum_)));
    if (checksum == 0) checksum = 0xffff;
    frame[checksum_at_] = static_cast<std::uint8_t>(checksum >> 8);
    frame[checksum_at_ + 1] = static_cast<std::uint8_t>(checksum);
  }

  std::vector<std::uint8_t> frame_;
  std::size_t headers_;
  std::size_t checksum_at_;
  std::uint16_t checksum_ = 0;
  bool stamped_ = false;
  std::uint64_t sent_ = 0;         // packets
  std::uint64_t frames_each_ = 1;  // of one
};

int fail(const mstack::Error& error) {
  std::fprintf(stderr, "pkt_gen: %s\n", error.what.c_str());
  return 1;
}

Totals totals_of(const std::deque<Worker>& workers) {
  Totals totals;
  for (const Worker& worker : workers) {
    totals.packets += worker.counters.packets.load(std::memory_order_relaxed);
    totals.bytes += worker.counters.bytes.load(std::memory_order_relaxed);
    totals.lost += worker.counters.lost.load(std::memory_order_relaxed);
  }
  return totals;
}

mstack::Expected<mstack::QueueStatistics> statistics_of(mstack::Vport& vport) {
  mstack::QueueStatistics all;
  for (std::size_t i = 0; i < vport.queues(); ++i) {
    const auto one = vport.queue(i).statistics();
    if (!one) return one;
    all.tx_ring_full += one->tx_ring_full;
    all.kicks += one->kicks;
    all.kernel_rx_dropped += one->kernel_rx_dropped;
    all.kernel_rx_ring_full += one->kernel_rx_ring_full;
    all.kernel_fill_ring_empty += one->kernel_fill_ring_empty;
    all.kernel_tx_invalid += one->kernel_tx_invalid;
  }
  return all;
}

// Starts a thread a queue, prints a line a second until all have ended, then the summary.
template <class Work>
int run(mstack::Vport& vport, report::Report& report, const Work& work) {
  std::deque<Worker> workers(vport.queues());
  Finished finished;
  const auto start = Clock::now();
  std::vector<std::jthread> threads;
  threads.reserve(vport.queues());
  for (std::size_t i = 0; i < vport.queues(); ++i)
    threads.emplace_back([&, i] {
      if (const auto done = work(vport.queue(i), start, workers[i]); !done) {
        workers[i].error = done.error();
        stop::flag = true;
      }
      const std::lock_guard lock(finished.mutex);
      ++finished.workers;
      finished.changed.notify_one();
    });
  std::unique_lock lock(finished.mutex);
  const auto all = [&] { return finished.workers == vport.queues(); };
  for (auto next = start + std::chrono::seconds(1); !finished.changed.wait_until(lock, next, all);
       next += std::chrono::seconds(1))
    report.interval(totals_of(workers), Clock::now());
  lock.unlock();
  threads.clear();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();

  const auto statistics = statistics_of(vport);
  if (!statistics) return fail(statistics.error());
  report.summary(totals_of(workers), seconds, *statistics);
  for (const Worker& worker : workers)
    if (worker.error) return fail(*worker.error);
  return 0;
}

int generate(const Options& options) {
  auto vport = mstack::Vport::open({.queues = options.queues,
                                    .frame_size = options.size > most_of_small_frame ? 4096U : 2048U,
                                    .throughput = options.throughput,
                                    .multi_buffer = options.size > most_of_large_frame,
                                    .run_dir = options.run_dir});
  if (!vport) return fail(vport.error());
  const auto claim = vport->claim(mstack::Tuple::parse(options.protocol(), options.bind));
  if (!claim) return fail(claim.error());
  report::Report report(options.receive, options.json);

  if (options.receive) {
    report.ready(claim->tuple());
    return run(*vport, report, [&](mstack::Queue& queue, Clock::time_point start, Worker& worker) {
      return Receiver().run(queue, options, start, worker);
    });
  }
  const auto source = options.spoof.empty() ? mstack::Expected<mstack::Tuple>(claim->tuple())
                                            : mstack::Tuple::parse(options.protocol(), options.spoof);
  if (!source) return fail(source.error());
  const auto destination = mstack::Tuple::parse(options.protocol(), options.to);
  if (!destination) return fail(destination.error());
  if (source->address.is_ipv4() != destination->address.is_ipv4())
    return fail({.code = EINVAL,
                 .what = "from " + source->to_string() + " to " + destination->to_string() +
                         ": both must be IPv4, or both IPv6"});
  if (options.size > vport->queue(0).mtu() + 14)
    return fail({.code = EMSGSIZE,
                 .what = "--size " + std::to_string(options.size) + ": a frame here has at most " +
                         std::to_string(vport->queue(0).mtu() + 14) + " bytes"});
  report.ready(claim->tuple());
  return run(*vport, report, [&](mstack::Queue& queue, Clock::time_point start, Worker& worker) {
    return Sender(options, *source, *destination).run(queue, options, start, worker);
  });
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  std::string mode;
  CLI::App app("Sends or counts packets through a vport; prints the rate every second, and a summary.");
  app.add_option("mode", mode, "rx: count what comes; tx: send")->required()->check(CLI::IsMember({"rx", "tx"}));
  app.add_option("--bind", options.bind, "the tuple to claim; port 0 picks one")->required()->type_name("ADDR:PORT");
  app.add_option("--to", options.to, "tx: where to send to")->type_name("ADDR:PORT");
  app.add_option("--spoof", options.spoof, "tx: send from this tuple, and see every frame dropped")
      ->type_name("ADDR:PORT");
  app.add_option("--size", options.size,
                 "tx: bytes of a packet, Ethernet header included, FCS not (64); rx: of the largest to expect (1792)")
      ->check(CLI::Range(1, 65549));
  app.add_option("--seconds", options.seconds, "end after so long (0: not)")->check(not_negative);
  app.add_option("--count", options.count, "end after so many packets (0: not); rx: of one queue")->check(not_negative);
  app.add_option("--rate", options.rate, "tx: packets a second (0: as many as possible)")
      ->check(not_negative)
      ->type_name("PPS");
  app.add_option("--queues", options.queues, "queues of the vport, each with its thread (1)")->check(CLI::Range(1, 16));
  app.add_flag("--tcp", options.tcp, "TCP segments instead of UDP");
  app.add_flag("--throughput", options.throughput, "a vport that sends in larger batches");
  app.add_flag("--json", options.json, "one JSON object a line");
  app.add_option("--run-dir", options.run_dir, "mstackd's run directory (else MSTACK_RUN_DIR, else /run/mstack)")
      ->type_name("DIR");
  try {
    app.parse(argc, argv);
    options.receive = mode == "rx";
    if (!options.receive && options.to.empty()) throw CLI::RequiredError("--to");
    if (options.receive && !(options.to.empty() && options.spoof.empty()))
      throw CLI::ValidationError("--to and --spoof are for tx");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  stop::on_signals();
  return generate(options);
} catch (const std::exception& error) {
  return fail({.code = ENOMEM, .what = error.what()});
}
