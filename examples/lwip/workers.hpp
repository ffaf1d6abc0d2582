// SPDX-License-Identifier: BSD-2-Clause
//
// lwIP on several cores: a process for each queue of one vport. What a Vport has is shared over fork(): its sockets,
// rings and frames. lwIP's state is not. So each process has an lwIP of its own for the flows of its queue, and no two
// touch the same byte.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <vector>

namespace mstack_lwip {

// The calling process is the one of queue 0. To be made after the claims and before lwIP, by a single-threaded program.
class Workers {
 public:
  explicit Workers(std::size_t queues);
  // In the process of queue 0: ends the others, and waits for them.
  ~Workers();
  Workers(Workers&&) = delete;

  [[nodiscard]] std::size_t queue() const { return queue_; }  // of this process
  [[nodiscard]] int error() const { return error_; }          // errno of fork() or pipe()
  // In the process of queue 0: whether another one has ended. Its flows are stuck then.
  [[nodiscard]] bool lost_one();

  // In the process of queue 0: sends the others SIGTERM.
  void end() const;
  // This one has nothing left to do. True when none has: until then each refuses what comes for its queue, since
  // nobody else would answer it.
  [[nodiscard]] bool all_done();

 private:
  std::size_t queue_ = 0;
  int error_ = 0;
  std::vector<pid_t> others_;
  // Two ends of a pipe that nothing is written to: read, it ends when no process has the first any more.
  int done_ = -1, all_done_ = -1;
};

}  // namespace mstack_lwip
