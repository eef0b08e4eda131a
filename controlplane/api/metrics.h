// Prometheus: what an alert needs, from the same view as the status. Names are stable: dashboards know them.
#pragma once

#include <string>

#include "controlplane/api/status.h"

namespace daarion {

/// The text format, version 0.0.4. Units: as the names' ends say (bytes, ms). Errors: none. Source: the view; nothing is counted here.
std::string metrics_text(const StatusView& view);

}  // namespace daarion
