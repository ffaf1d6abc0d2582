// SPDX-License-Identifier: BSD-2-Clause
//
// The messages between libmstack and mstackd: fixed-size structs over a SOCK_SEQPACKET unix socket, in host byte
// order (both ends are on one machine). PROTOCOL.md is the prose; this is the law.
//
// A connection has at most one vport, and the vport lives as long as the connection: no message names a vport that
// is not the sender's own. Every request is answered by exactly one Reply of the same sequence number, in order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "mstack_abi.h"

namespace mstack::protocol {

inline constexpr std::uint32_t version = 2;
inline constexpr std::size_t max_descriptors = 250;  // of one message; the kernel's own limit is SCM_MAX_FD, 253
inline constexpr std::size_t max_text = 192;
inline constexpr std::uint32_t max_queues = MSTACK_MAX_QUEUES;
inline constexpr std::uint32_t min_frames = 64, max_frames = 1u << 18;  // of one queue, a power of two
// Of a packet of a multi-buffer vport: what an sk_buff takes, one in its linear part and the others as its fragments
// (MAX_SKB_FRAGS, if the kernel's configuration did not raise it).
inline constexpr std::uint32_t max_packet_frames = 18;
inline constexpr const char* socket_name = "mstackd.sock";  // in the run directory

enum class Type : std::uint32_t {
  open_vport = 1,  // OpenVport            > OpenVportReply + descriptors: UMEM memfd, then one AF_XDP socket a queue
  resume_vport,    // ResumeVport + 1 fd   > Reply. After mstackd restarted: take the vport back by its queue 0 socket
  claim,           // Claim + 1..250 fds   > TuplesReply, one result a descriptor, in their order
  release,         // Release              > TuplesReply, one result a tuple, in their order
  attach_uplink,   // Uplink               > Reply. Only for mstackd's own uid
  detach_uplink,   // Uplink               > Reply. Only for mstackd's own uid
  bind_vport,      // BindVport            > Reply. After open_vport answered open_reply_unbound: the rings are mapped
};

struct Header {
  std::uint32_t version;
  Type type;
  std::uint32_t sequence;
  std::uint32_t zero;
};

// frames and frame_size are per queue; the UMEM is queues * frames * frame_size bytes, queue after queue, and each
// queue's part is a UMEM of its own (its descriptors' addresses start at 0).
struct OpenVport {
  Header header;
  std::uint32_t queues;      // 1 .. max_queues
  std::uint32_t frames;      // min_frames .. max_frames, a power of two
  std::uint32_t frame_size;  // 2048 or 4096
  std::uint32_t ring_size;   // entries of each of the four rings, a power of two, 64 .. frames
  std::uint32_t flags;       // enum mstack_vport_flags
  std::uint32_t zero;
};

struct BindVport {
  Header header;
};

struct ResumeVport {
  Header header;
  std::uint32_t vport;
  std::uint32_t zero;
};

struct Claim {
  Header header;
  std::uint32_t count;  // descriptors that came with this message
  std::uint32_t flags;  // claim_repeated, or 0
};

// The answer to this request was lost: what it then claimed is claimed, and no error.
inline constexpr std::uint32_t claim_repeated = 1;

struct Release {
  Header header;
  std::uint32_t count;
  std::uint32_t zero;
  std::array<mstack_tuple, max_descriptors> tuples;
};

enum class XdpMode : std::uint32_t { automatic, native, generic };

struct Uplink {
  Header header;
  std::array<char, MSTACK_IFNAMSIZ> name;  // ends in a NUL
  XdpMode mode;
  std::uint32_t flags;  // attach_chained, or 0
};

// Next to other XDP programs, by libxdp's dispatcher.
inline constexpr std::uint32_t attach_chained = 1;

// error is 0 or an errno; text says what was refused, why, and what to do, and ends in a NUL.
struct Reply {
  Header header;  // of the request
  std::int32_t error;
  std::uint32_t zero;
  std::array<char, max_text> text;
};

// Of OpenVportReply::flags: the sockets are not bound yet, since this kernel (before 6.4) maps no rings of one that is.
// Nothing is sent, received or claimed before bind_vport.
inline constexpr std::uint32_t open_reply_unbound = 1;

struct OpenVportReply {
  Reply reply;
  std::uint32_t vport;
  std::uint32_t queues, frames, frame_size, ring_size;
  std::uint32_t mtu;   // of a frame after its Ethernet header, bytes
  std::uint32_t slot;  // of queue 0; queue n has slot + n, and mstack_mac() its addresses
  std::uint32_t flags;
};

struct TupleResult {
  mstack_tuple tuple;  // of a claim: what the descriptor is bound to
  std::int32_t error;
};

struct TuplesReply {
  Reply reply;  // error: of the first that failed; the others stand by their own results
  std::uint32_t count;
  std::uint32_t zero;
  std::array<TupleResult, max_descriptors> results;
};

static_assert(sizeof(Header) == 16 && sizeof(OpenVport) == 40 && sizeof(BindVport) == 16 && sizeof(ResumeVport) == 24 &&
              sizeof(Claim) == 24);
static_assert(sizeof(Release) == 24 + 20 * max_descriptors && sizeof(Uplink) == 40 && sizeof(Reply) == 24 + max_text);
static_assert(sizeof(OpenVportReply) == sizeof(Reply) + 32 && sizeof(TupleResult) == 24);
static_assert(sizeof(TuplesReply) == sizeof(Reply) + 8 + 24 * max_descriptors);
static_assert(std::is_trivially_copyable_v<TuplesReply> && std::is_trivially_copyable_v<Release>);

// The size that a request of this type must have, 0 for a type that is none.
constexpr std::size_t request_size(Type type) {
  switch (type) {
    case Type::open_vport: return sizeof(OpenVport);
    case Type::bind_vport: return sizeof(BindVport);
    case Type::resume_vport: return sizeof(ResumeVport);
    case Type::claim: return sizeof(Claim);
    case Type::release: return sizeof(Release);
    case Type::attach_uplink:
    case Type::detach_uplink: return sizeof(Uplink);
  }
  return 0;
}

}  // namespace mstack::protocol
