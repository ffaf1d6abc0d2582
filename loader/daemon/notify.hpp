// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string_view>

namespace mstack::daemon {

// Tells the service manager, if there is one (NOTIFY_SOCKET, as sd_notify(3) describes): "READY=1", "STOPPING=1".
void notify_service_manager(std::string_view state);

}  // namespace mstack::daemon
