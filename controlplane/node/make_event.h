// What the core asks to append or to report, as an event of this node: with an id and the wall's time.
#pragma once

#include "controlplane/core/io.h"
#include "streams/event_log.h"

namespace daarion {

Event event_of(const AppendRequest& request, const NodeId& by);
/// Telemetry: it has no aggregate.
Event event_of(const Report& report, const NodeId& by);

/// Appends what was asked for, waits for the outcome, and logs it. The result has the request's id.
AppendResult append(Appender& appender, const AppendRequest& request, const NodeId& by, Duration limit);

}  // namespace daarion
