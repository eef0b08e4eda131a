// The declared cluster, as the core sees it: what topology/ makes of cluster.yaml, and what TopologyChanged carries.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion {

enum class NodeRole { kPrimary, kReplica, kEdge };  // where things start; used once, on an empty log

struct NodeSpec {
  NodeId id;
  std::string address;
  std::string region;
  NodeRole role = NodeRole::kReplica;
  bool operator==(const NodeSpec&) const = default;
};

/// Timers of the lease. Their order is linted: fence_done < valid_until <= end of promise <= vote < promotion.
struct LeaseTimers {
  Duration ttl = std::chrono::milliseconds(2000);
  Duration beat = std::chrono::milliseconds(250);
  Duration fence_budget = std::chrono::milliseconds(500);
  std::uint32_t drift_ppm = 10'000;  // 1 %: how much any two clocks of the cluster may differ in rate
  bool operator==(const LeaseTimers&) const = default;
};

enum class SyncMode { kAsync, kSync, kQuorum };

struct LagLimits {
  std::uint64_t bytes = 1 << 20;
  std::uint64_t time_ms = 10'000;
  std::uint64_t staleness_ms = 60'000;
  bool operator==(const LagLimits&) const = default;
};

struct ResourceTags {
  bool nofailover = false;
  bool noloadbalance = false;
  std::int32_t priority = 100;
  bool operator==(const ResourceTags&) const = default;
};

struct ResourceSpec {
  ResourceId id;
  std::string engine;             // postgresql | redis | qdrant | neo4j | nats | stub
  bool leased = false;            // the control plane decides who writes
  NodeId declared_primary;        // read only while the log has no epoch for the resource
  std::vector<NodeId> members;    // declared primary first, then replicas in order
  SyncMode sync = SyncMode::kAsync;
  std::uint32_t port = 0;
  std::string data_dir;
  std::string runner = "process";
  LagLimits max_lag;
  std::map<NodeId, ResourceTags> tags;
  bool operator==(const ResourceSpec&) const = default;

  bool has_member(const NodeId& node) const;
  ResourceTags tags_of(const NodeId& node) const;
};

enum class RouteClass { kReplicated, kNodeLocal, kEdgeLocal };

struct RouteRule {
  std::string name;
  std::vector<std::string> subjects;
  RouteClass cls = RouteClass::kReplicated;
  std::uint64_t max_age_s = 0;    // 0: no limit
  std::uint64_t max_bytes = 0;    // 0: no limit
  std::string service;            // that its messages are for; empty: none
  std::uint32_t replicas = 0;     // of its core stream; 0: as many as the core's size asks for
  std::map<std::string, std::string> consumers;  // durable ones, for work: name -> the subjects it takes
  bool operator==(const RouteRule&) const = default;
};

struct TopologySpec {
  std::string cluster;
  std::vector<NodeSpec> nodes;           // in the file's order
  std::vector<NodeId> voters;            // declared: 1, 3 or 5
  NodeId witness;                        // hosts the extra core nats-server; empty: none
  LeaseTimers lease;
  std::uint32_t max_promotions = 3;      // automatic ones, per resource and window, from the completion of the last
  std::uint64_t promotion_window_s = 3600;
  std::uint64_t report_interval_ms = 1000;
  std::vector<ResourceSpec> resources;
  std::vector<RouteRule> routes;
  std::map<std::string, std::vector<std::string>> capabilities;
  bool operator==(const TopologySpec&) const = default;

  const NodeSpec* node(const NodeId& id) const;
  const ResourceSpec* resource(const ResourceId& id) const;
};

}  // namespace daarion
