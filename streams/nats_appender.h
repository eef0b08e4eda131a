#pragma once

#include <memory>

#include "streams/connection.h"
#include "streams/event_log.h"

namespace daarion {

/// Appends to CLUSTER_LOG over the connection. See Appender.
std::shared_ptr<Appender> make_nats_appender(std::shared_ptr<Connection> connection);

}  // namespace daarion
