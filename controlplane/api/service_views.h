// Services and capabilities as the API says them. From the fold alone.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/state.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

v1::ServiceView service_view(const State& state, const ServiceSpec& service);
v1::ServiceList service_list(const State& state);
v1::CapabilityList capability_list(const State& state);

/// Services that nobody serves, and capabilities that nobody provides: one line each, for `status`.
std::vector<std::string> service_warnings(const State& state);

}  // namespace daarion
