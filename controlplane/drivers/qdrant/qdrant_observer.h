// Qdrant, seen whole from one node: its raft's leader, every peer and its shards, what falls short of the declared shape and the step that mends it.
//
// Every member is asked by its own REST interface (client.h); one picture is made of their words (picture.h), and the plan of it (plan.h). The core
// decides which node speaks and mends. The API key is QDRANT_API_KEY of the environment; none is sent where it is not set. QDRANT_CLUSTER_ENABLED=false
// contradicts the block and is refused.
#pragma once

#include <memory>

#include "controlplane/drivers/observer.h"
#include "controlplane/drivers/qdrant/plan.h"

namespace daarion {

/// Errors: kFixInput if the resource has no nodes, or the environment says that Qdrant is no cluster.
Result<std::unique_ptr<Observer>> make_qdrant_observer(const ObserverConfig& config);

namespace qdrant {

/// The resource as the core is told of it. `did`: the newest steps that were done; empty: none. Pure.
ResourceView view_of(const std::vector<NodeId>& nodes, const std::vector<PeerView>& words, const Picture& picture, const Plan& plan, const History& history, Instant now,
                     const std::string& did);

}  // namespace qdrant
}  // namespace daarion
