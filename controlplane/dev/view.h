// What a node answers to people and scripts, as far as a local cluster's tools need it: /cluster/status, and who leads in NATS.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::dev {

struct ReplicaSeen {
  std::string node, state, verdict;
  std::uint64_t lag_bytes = 0, lag_ms = 0;
  bool candidate = false;
};
struct ResourceSeen {
  std::string id, holder;     // holder empty: nobody
  std::uint64_t epoch = 0;
  bool writable = false;
  std::vector<ReplicaSeen> replicas;
  std::string next;           // if_holder_dies.to; empty: nobody
  std::int64_t expected_ms = 0;
  std::uint64_t loss_bytes = 0;
};
struct NodeSeen {
  std::string id, role, state, intent;
  std::int64_t age_ms = 0;
};
struct ClusterView {
  std::string status, log_id, digest, chain;
  bool ready = false;
  std::uint64_t sequence = 0;
  std::uint32_t voters = 0, reachable = 0, failure_tolerance = 0;
  std::vector<NodeSeen> nodes;
  std::vector<ResourceSeen> resources;
  std::vector<std::string> waits;     // "what; unblock"
  std::vector<std::string> warnings;
  std::vector<std::string> not_ready;
  std::optional<std::uint64_t> lease_margin_min_ms;  // of a node that holds a lease
  std::string lease_margin_slowest;

  const ResourceSeen* resource(const std::string& id) const;
  std::string holder_of(const std::string& id) const;  // of a writable engine; else empty
  bool streams(const std::string& id, const std::string& node) const;
};

/// Asks a node. Errors: kRetry if it does not answer within `limit`, or not in this form. Source: GET /cluster/status, /ready.
Result<ClusterView> ask_view(const std::string& address, std::uint32_t http_port, Duration limit);

/// Pure. The body of /cluster/status.
Result<ClusterView> parse_view(const std::string& body);

struct LeadersView {
  std::string log, meta;  // names of servers; empty: unknown, or standalone
};
/// Source: GET /jsz of one nats-server's monitor.
Result<LeadersView> ask_leaders(const std::string& address, std::uint32_t monitor_port, Duration limit);

}  // namespace daarion::dev
