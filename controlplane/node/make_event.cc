#include "controlplane/node/make_event.h"

#include <spdlog/spdlog.h>

#include "controlplane/node/ids.h"
#include "streams/codec.h"

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

AppendResult append(Appender& appender, const AppendRequest& request, const NodeId& by, Duration limit) {
  const Event event = event_of(request, by);
  const std::string subject = log_subject(request.aggregate, request.version);
  AppendResult result = appender.append_if_free(subject, encode_event(event), event.header.id, limit);
  result.id = request.id;
  const char* outcome = result.outcome == AppendResult::Outcome::kStored     ? "stored"
                        : result.outcome == AppendResult::Outcome::kConflict ? "lost to another append"
                                                                             : "of unknown outcome";
  spdlog::info("append {} {} epoch {}: {} at {}; {}", payload_name(request.payload), subject, request.epoch.value, outcome, result.sequence.value, request.reason);
  return result;
}

}  // namespace daarion
