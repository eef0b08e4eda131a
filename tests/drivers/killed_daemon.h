// A daemon that is killed while its driver is at work: the driver in a process of its own, the engine where the guard would have it.
#pragma once

#include <functional>
#include <optional>

#include "tests/drivers/direct_host.h"

namespace daarion::test {

/// Runs `work` in a child process, on a host there that asks `host` here, as a daemon asks its guard; the child is killed after `limit`. What it started by
/// the host goes on; its tools end with it. Returns what `work` returned; nothing: it was killed before.
std::optional<bool> run_killed(DirectHost& host, const std::function<bool(EngineHost&)>& work, Duration limit);

}  // namespace daarion::test
