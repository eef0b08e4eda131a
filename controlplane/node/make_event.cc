#include "controlplane/node/make_event.h"

#include "controlplane/node/ids.h"

namespace daarion {

Event event_of(const AppendRequest& request, const NodeId& by) {
  const std::int64_t wall = wall_time_ns();
  return {.header = {.id = event_id(wall), .node = by, .actor = request.actor, .reason = request.reason, .cause = request.cause,
                     .resource = request.resource, .epoch = request.epoch, .wall_time_ns = wall, .aggregate = request.aggregate,
                     .version = request.version},
          .payload = request.payload};
}

Event event_of(const Report& report, const NodeId& by) {
  const std::int64_t wall = wall_time_ns();
  return {.header = {.id = event_id(wall), .node = by, .actor = "node:" + by.value, .reason = {}, .cause = {}, .resource = report.resource, .epoch = {},
                     .wall_time_ns = wall, .aggregate = {}, .version = {}},
          .payload = report.payload};
}

}  // namespace daarion
