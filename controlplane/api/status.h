// What HTTP and people see of a node, made from the core's memory. One snake_case JSON (INTERFACES: /cluster/status, /cluster/peers).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/node_core.h"
#include "controlplane/core/observed_core.h"
#include "streams/route_copies.h"

namespace daarion::v1 {
class Status;
}

namespace daarion {

/// Answers kept as text: whoever asks never waits on anything, nor anything on him.
struct StatusView {
  bool ready = false;
  std::vector<std::string> reasons;  // why not ready
  std::shared_ptr<const State> state;
  std::map<ResourceId, Decider::Nomination> if_holder_dies;  // the decision as it would be
  std::map<ResourceId, LostHolder> lost;  // paused holders that are lost
  std::vector<VoterInstance> voters_heard;  // of the set, those that are heard in their installation
  std::shared_ptr<const v1::Status> status;
  std::string status_json;
  std::string peers_json;
  struct Role {
    ResourceId resource;
    bool primary = false;            // this node holds the lease and its engine takes writes, or the engine elected it
    bool leads = false;              // the same, whatever its engine does
    bool replica = false;            // a streaming standby
    bool balanced = true;            // not tagged noloadbalance: reads may be sent here
    std::uint64_t lag_bytes = 0;     // of what a reader sees: replayed, behind the primary's last known position
    EngineState state = EngineState::kUnknown;
  };
  std::vector<Role> roles;           // of this node's resources
  bool alone = false;                // no majority of the voters was heard for so long that this node gives up what moves (core/service_core.h)
  std::vector<CopyView> copies = {}; // of the rules' streams, those that this node looks after
};

/// What a node's own engine is to those who connect. `primary`: the primary's last known position.
StatusView::Role role_of(const EngineReport& engine, bool has_lease, Lsn primary, const ResourceTags& tags);

/// What one status remembers for the next: since when a resource has had no replica that could take over, or none that streams.
struct StatusMemory {
  std::map<ResourceId, Instant> bare_since;
  std::optional<Instant> files_differ_since;
};

/// Units: ms and bytes, as the names say. Errors: none. Source: the newest beats and the fold; `observed`, as this node sees them, for lag alone.
/// `wall_ns` labels `now`.
StatusView make_status(const NodeCore& core, const std::vector<std::string>& warnings, Instant now, std::int64_t wall_ns, StatusMemory& memory,
                       const ResourceViews& observed = {});

}  // namespace daarion
