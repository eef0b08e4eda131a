// The only list of engines: an engine's name in cluster.yaml -> its driver; and, where the engine elects by itself, with the mode -> its observer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/drivers/driver.h"
#include "controlplane/drivers/observer.h"

namespace daarion {

/// Makes the driver of `config.resource.engine`; `host` outlives it. Errors: kFixInput for an engine without a driver, or for
/// configuration that it lacks; the message says which.
Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host);

/// The system user of an engine's Debian package, who runs it where the daemon is root; empty: the daemon's own.
std::string system_user_of(const std::string& engine);

/// The engines that have a driver, sorted.
std::vector<std::string> known_engines();

/// Whether there is an observer for it.
bool is_observed(const std::string& engine, const std::string& mode);
/// Errors: kFixInput for configuration that it lacks; the message says which. Pre: is_observed().
Result<std::unique_ptr<Observer>> make_observer(const ObserverConfig& config);

}  // namespace daarion
