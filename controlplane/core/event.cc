#include "controlplane/core/event.h"

namespace daarion {
namespace {

// In the order of Payload: a missing name does not compile.
constexpr const char* kNames[] = {"LogCreated",         "LogRegressed",        "FeatureLevelRaised", "VoterSetChanged",
                                  "TopologyChanged",    "MemberJoined",        "MemberUnreachable",  "MemberReturned",
                                  "MemberIntentChanged", "PromotionDecided",   "PromotionCompleted", "PromotionFailed",
                                  "LeaseReleased",      "ReplicaProvisioned",  "ReplicaRejoined",    "ReplicaDiverged",
                                  "ReplicaRemoved",     "SlotDropped",         "RouteTableChanged",  "CapabilityMoved",
                                  "Paused",             "Resumed",             "SwitchoverRequested", "FencingConfirmed",
                                  "OverrideGranted",    "ReplicaLagReported",  "HealthReported",     "ServiceHealthChanged",
                                  "ServiceMoved",       "ResourceObserved",    "RejoinRequested",    "SyncSetChanged",
                                  "RestartRequested",   "ReplicaRestarted"};
static_assert(std::size(kNames) == std::variant_size_v<Payload>);

constexpr const char* kKinds[] = {"cluster",  "cluster",  "cluster",  "cluster",  "topology", "member",   "member",
                                  "member",   "member",   "lease",    "lease",    "lease",    "lease",    "replica",
                                  "replica",  "replica",  "replica",  "replica",  "route",    "route",    "operator",
                                  "operator", "operator", "operator", "operator", "lag",      "health",   "service",
                                  "service",  "resource", "replica",  "lease",    "replica",  "replica"};
static_assert(std::size(kKinds) == std::variant_size_v<Payload>);

}  // namespace

const char* payload_name(const Payload& payload) { return kNames[payload.index()]; }

std::vector<std::string> log_event_names() {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (const std::string kind = kKinds[i]; kind != "lag" && kind != "health") out.push_back(kNames[i]);
  return out;
}

const char* kind_of(const Payload& payload) { return kKinds[payload.index()]; }

Aggregate aggregate_of(const Payload& payload, const NodeId& node, const ResourceId& resource) {
  const std::string kind = kind_of(payload);
  if (kind == "cluster") return {kind, "log"};
  if (kind == "topology") return {kind, "spec"};
  if (kind == "member") return {kind, node.value};
  if (kind == "lease") return {kind, resource.value};
  if (kind == "replica" || kind == "lag") return {kind, resource.value + "." + node.value};
  if (kind == "operator") return {kind, resource.empty() ? "cluster" : resource.value};
  if (const auto* moved = std::get_if<CapabilityMoved>(&payload)) return {kind, moved->capability};
  if (std::holds_alternative<ServiceHealthChanged>(payload)) return {kind, resource.value + "." + node.value};
  if (std::holds_alternative<ServiceMoved>(payload) || kind == "resource") return {kind, resource.value};
  if (const auto* health = std::get_if<HealthReported>(&payload)) return {kind, node.value + "." + health->what};
  return {kind, "table"};
}

const char* text_of(EndCause cause) {
  switch (cause) {
    case EndCause::kReleased: return "released";
    case EndCause::kFenced: return "fenced";
    case EndCause::kCrashed: return "crashed";
    case EndCause::kHostLost: return "host_lost";
  }
  return "unknown";
}

const char* text_of(Health health) {
  switch (health) {
    case Health::kUnknown: return "unknown";
    case Health::kHealthy: return "healthy";
    case Health::kDegraded: return "degraded";
    case Health::kMaintenance: return "maintenance";
    case Health::kBroken: return "broken";
  }
  return "unknown";
}

const char* text_of(NodeRole role) {
  switch (role) {
    case NodeRole::kPrimary: return "primary";
    case NodeRole::kReplica: return "replica";
    case NodeRole::kEdge: return "edge";
  }
  return "unknown";
}

}  // namespace daarion
