// SPDX-License-Identifier: BSD-2-Clause
#include "cli/daemon_state.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "run_dir.hpp"
#include "unix_socket.hpp"

namespace mstack::cli {

const char* name_of(DaemonState state) {
  switch (state) {
    case DaemonState::running: return "running";
    case DaemonState::stopped: return "stopped";
    case DaemonState::other: return "other";
    case DaemonState::unknown: return "unknown";
  }
  return "unknown";
}

DaemonState judge_daemon(int connect_error, std::uint32_t listener, std::uint32_t pid) {
  switch (connect_error) {
    case 0: return listener && pid && listener != pid ? DaemonState::other : DaemonState::running;
    case EAGAIN: return DaemonState::running;  // alive, with more connections waiting than it can hold
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED: return DaemonState::stopped;
    default: return DaemonState::unknown;
  }
}

DaemonState probe_daemon(const std::string& run_dir, std::uint32_t pid) {
  const auto socket = unix_socket::connect(socket_path(run_dir));
  if (!socket) return judge_daemon(socket.error().code, 0, pid);
  ucred listener = {};
  socklen_t size = sizeof(listener);
  if (::getsockopt(socket->get(), SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0) listener.pid = 0;
  return judge_daemon(0, static_cast<std::uint32_t>(listener.pid), pid);
}

}  // namespace mstack::cli
