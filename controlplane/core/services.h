// Who serves: from the declared places, what the log decided and what nodes said of themselves. Pure.
//
// A service is declared on nodes as active, standby, read or off. Where it has a standby, who is active is a decision of the log (ServiceMoved,
// one per version of its aggregate: the first append wins), and as declared until there is one. The decision is sticky: a node that is well
// again stands by. It is no lease: nothing fences a service, and what would lose data by two writers is a data system. So that two are active
// for as short as can be, a node that hears no majority of voters gives its services up before the others can decide (service_core.h).
//
//   seq 70  service.router.node1.3  ServiceHealthChanged{broken: no answer}      node1 is active (declared), node2 stands by, healthy
//   seq 71  service.router.1        ServiceMoved{active: node2}                  node2 is active; node1 stands by, broken
//   seq 80  service.router.node1.4  ServiceHealthChanged{healthy}                node1 stands by
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/state.h"

namespace daarion {

/// A service on one node, as things stand.
struct PlaceView {
  NodeId node;
  ServiceRole declared = ServiceRole::kOff;
  ServiceRole role = ServiceRole::kOff;  // now; off also where the node is drained
  Health health = Health::kUnknown;      // with that of what it needs on this node
  bool check_broken = false, flapping = false;
  bool reachable = true;
  MemberIntent intent = MemberIntent::kActive;
  std::string cause;
  bool operator==(const PlaceView&) const = default;

  /// Whether requests can go there: reachable, not drained, and not known to be ill. Degraded is better than nothing.
  bool usable() const { return reachable && intent == MemberIntent::kActive && (health == Health::kHealthy || health == Health::kDegraded || health == Health::kUnknown); }
};

/// The places of a service in the file's order; retired members are left out.
std::vector<PlaceView> places_of(const State& state, const ServiceSpec& service);
std::optional<PlaceView> place_of(const State& state, const std::string& service, const NodeId& node);

/// Where its requests go: usable active ones, the healthy ones first. `reads`: where reads may go: those, and usable read nodes.
std::vector<NodeId> routed(const std::vector<PlaceView>& places, bool reads = false);

/// What a decision about the service would know now.
std::vector<ServiceEvidence> service_evidence(const State& state, const ServiceSpec& service);

/// Who is to be active, and why; nothing: as it is. The same evidence gives the same decision.
struct ServiceDecision {
  std::vector<NodeId> active;  // in the evidence's order
  std::string reason;
  bool operator==(const ServiceDecision&) const = default;
};
std::optional<ServiceDecision> decide_service(const std::vector<ServiceEvidence>& evidence);

/// What speaks for and against each place, in the evidence's order: whether it may be active, by which rule, and why.
std::vector<Verdict> verdicts_of(const std::vector<ServiceEvidence>& evidence);

/// The newest event that changed what a route table says; 0: none yet.
Sequence routes_changed(const State& state);

}  // namespace daarion
