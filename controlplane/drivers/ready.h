// Waiting for a socket of a client library that does not block.
#pragma once

#include <chrono>

namespace daarion {

/// True when `fd` is ready for `events` (POLLIN, POLLOUT) before `until`.
bool ready(int fd, short events, std::chrono::steady_clock::time_point until);

}  // namespace daarion
