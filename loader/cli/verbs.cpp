// SPDX-License-Identifier: BSD-2-Clause
#include "cli/verbs.hpp"

namespace mstack::cli {
namespace {

using Takes = Verb::Takes;

// The first is what `mstack` alone does.
constexpr Verb table[] = {
    {.name = "status", .summary = "What runs, in short", .takes = Takes::nothing, .reads = true, .run = status},
    {.name = "uplinks",
     .summary = "The NICs it is attached to",
     .takes = Takes::nothing,
     .reads = true,
     .run = uplinks},
    {.name = "vports", .summary = "The user-level stacks", .takes = Takes::nothing, .reads = true, .run = vports},
    {.name = "claims", .summary = "Who owns which port", .takes = Takes::nothing, .reads = true, .run = claims},
    {.name = "stats",
     .summary = "What became of the packets, of all or of one vport",
     .takes = Takes::optional_vport,
     .reads = true,
     .run = stats},
    {.name = "doctor",
     .summary = "Whether this machine, and these interfaces, have what MultiStack needs",
     .takes = Takes::interfaces_and_cgroup,
     .reads = true,
     .run = doctor},
    {.name = "attach",
     .summary = "Attach to a network interface",
     .takes = Takes::interface_and_mode,
     .reads = false,
     .run = attach},
    {.name = "detach",
     .summary = "Detach from a network interface",
     .takes = Takes::interface,
     .reads = false,
     .run = detach},
};

}  // namespace

std::span<const Verb> verbs() {
  return table;
}

}  // namespace mstack::cli
