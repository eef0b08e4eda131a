// Redis, `mode: sentinel`: Sentinel decides who is the primary; this looks at servers and sentinels, sets them up as declared, and asks for
// switchovers. What it makes of what it sees is in sentinel_view.h.
//
// The servers and sentinels are the operator's to start (systemd, containers, `daarionctl dev`). Sentinels may be started with an empty
// configuration: they are told what to monitor. The password is REDIS_PASSWORD for the user `daarion` of the servers, and for the sentinels'
// default user; `daarionctl render redis` writes both configurations.
#pragma once

#include <memory>
#include <string>

#include "controlplane/drivers/observer.h"

namespace daarion {

/// Reads REDIS_PASSWORD. Errors: kFixInput if it is missing.
Result<std::unique_ptr<Observer>> make_sentinel_observer(const ObserverConfig& config);

/// `mode: cache` (cache.cc): instances that are each their own. With REDIS_PASSWORD, or without one.
Result<std::unique_ptr<Observer>> make_cache_observer(const ObserverConfig& config);

namespace redis {

Result<std::unique_ptr<Observer>> make_cache_with(const ObserverConfig& config, const std::string& password);

/// make_sentinel_observer with the password given; empty: servers and sentinels without one.
Result<std::unique_ptr<Observer>> make_sentinel_with(const ObserverConfig& config, const std::string& password);

}  // namespace redis
}  // namespace daarion
