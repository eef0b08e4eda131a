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
  /// Of how many replicas each commit waits for the word that they have it; 0: of none. Redis never waits, whatever is declared.
  std::uint32_t confirmations() const;
  /// Whose word counts while `primary` writes, in the declared order: those that may be promoted; if none may, all.
  std::vector<NodeId> confirmers_of(const NodeId& primary) const;
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
  std::string capability;         // that its messages need; empty: none
  bool operator==(const RouteRule&) const = default;
};

enum class ServiceRole { kOff, kActive, kStandby, kRead };

/// How a service is asked for its health.
struct ServiceCheck {
  enum class Kind { kHttp, kTcp, kCommand };
  Kind kind = Kind::kHttp;
  std::string target = "/health";               // a path; a command's words; kTcp: nothing
  std::uint32_t status = 0;                     // of HTTP, that is expected; 0: any 2xx
  std::string text;                             // that the body or output contains; empty: anything
  std::map<std::string, std::string> expect;    // field of the JSON body -> what is expected of it
  Duration interval = std::chrono::milliseconds(250);
  Duration timeout = std::chrono::milliseconds(1000);  // of one look
  std::uint32_t rise = 2, fall = 2;             // looks in a row that make it well, and ill
  bool operator==(const ServiceCheck&) const = default;
};

struct ServicePlace {
  NodeId node;
  ServiceRole role = ServiceRole::kOff;
  bool operator==(const ServicePlace&) const = default;
};

struct ServiceSpec {
  std::string name;
  std::uint32_t port = 0;                       // 0: none, as the GPU
  ServiceCheck check;
  std::vector<ServicePlace> on;                 // as declared, in the file's order: where it starts
  std::vector<std::string> needs;               // services of the same node that it cannot do without
  std::string start, stop;                      // commands of a node that becomes active, and is it no more; empty: none
  Duration hook_limit = std::chrono::seconds(10);  // of one run
  bool operator==(const ServiceSpec&) const = default;

  ServiceRole role_on(const NodeId& node) const;
  /// Whether a standby is put in an active one's place: then the log says who is active.
  bool moves() const;
};

/// The name of the service that stands for a node's GPU: its check is a command, and capabilities name it as gpu@<node>.
inline constexpr const char* kGpu = "gpu";

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
  std::map<std::string, std::vector<std::string>> capabilities;  // "llm.chat", or "llm.chat@<agent>" -> providers, the best first
  std::vector<ServiceSpec> services;
  bool operator==(const TopologySpec&) const = default;

  const NodeSpec* node(const NodeId& id) const;
  const ResourceSpec* resource(const ResourceId& id) const;
  const ServiceSpec* service(const std::string& name) const;
};

const char* text_of(ServiceRole role);

}  // namespace daarion
