#include "controlplane/core/services.h"

#include <algorithm>
#include <set>

#include "controlplane/core/health.h"

namespace daarion {
namespace {

const ServiceHealthState* health_of(const State& state, const std::string& service, const NodeId& node) {
  const auto at = state.service_health.find({ResourceId(service), node});
  return at == state.service_health.end() ? nullptr : &at->second;
}

/// The first thing that it needs, directly or not, and that is ill there; nothing: none.
const ServiceSpec* missing_need(const State& state, const ServiceSpec& service, const NodeId& node, std::set<std::string>& seen) {
  for (const std::string& need : service.needs) {
    const ServiceSpec* other = state.topology.spec.service(need);
    if (other == nullptr || !seen.insert(need).second) continue;
    const ServiceHealthState* health = health_of(state, need, node);
    if (health != nullptr && (health->health == Health::kBroken || health->health == Health::kMaintenance)) return other;
    if (const ServiceSpec* deeper = missing_need(state, *other, node, seen)) return deeper;
  }
  return nullptr;
}

bool is_active(const State& state, const ServiceSpec& service, const ServicePlace& place) {
  const auto decided = state.services.find(ResourceId(service.name));
  if (!service.moves() || decided == state.services.end() || decided->second.changed.value == 0) return place.role == ServiceRole::kActive;
  // Those that a later topology does not have are no more.
  if (place.role != ServiceRole::kActive && place.role != ServiceRole::kStandby) return false;
  return std::ranges::find(decided->second.active, place.node) != decided->second.active.end();
}

ServiceRole role_now(const State& state, const ServiceSpec& service, const ServicePlace& place) {
  if (place.role == ServiceRole::kOff || place.role == ServiceRole::kRead) return place.role;
  return is_active(state, service, place) ? ServiceRole::kActive : ServiceRole::kStandby;
}

PlaceView view_of(const State& state, const ServiceSpec& service, const ServicePlace& place) {
  PlaceView out{.node = place.node, .declared = place.role, .role = role_now(state, service, place)};
  if (const MemberState* member = state.member(place.node)) {
    out.reachable = member->reachable;
    out.intent = member->intent;
  }
  if (const ServiceHealthState* health = health_of(state, service.name, place.node)) {
    out.health = health->health;
    out.check_broken = health->check_broken;
    out.flapping = health->flapping;
    out.cause = health->cause;
  }
  std::set<std::string> seen;
  if (const ServiceSpec* need = missing_need(state, service, place.node, seen); need != nullptr && rank_of(out.health) != rank_of(Health::kBroken)) {
    out.health = Health::kBroken;
    out.cause = "needs " + need->name + ", which is not well there";
  }
  if (out.intent != MemberIntent::kActive) out.role = ServiceRole::kOff;
  return out;
}

std::string why_not(const ServiceEvidence& e) {
  const std::string node = e.node.value;
  if (!e.reachable) return node + " is unreachable";
  if (e.intent != MemberIntent::kActive) return node + " is " + text_of(e.intent);
  return node + " is " + text_of(e.health) + (e.cause.empty() ? "" : ": " + e.cause);
}

bool can_serve(const ServiceEvidence& e) { return e.reachable && e.intent == MemberIntent::kActive; }
bool can_stay(const ServiceEvidence& e) { return can_serve(e) && e.health != Health::kBroken && e.health != Health::kMaintenance; }
/// What is not known to be well takes nothing over, except where it is known that it was not started yet.
bool can_take(const ServiceEvidence& e) {
  return can_serve(e) && !e.active && (e.health == Health::kHealthy || e.health == Health::kDegraded || (e.cold && e.health == Health::kUnknown));
}
int order_of(const ServiceEvidence& e) { return (e.health == Health::kDegraded ? 2 : 0) + (e.declared == ServiceRole::kActive ? 0 : 1); }

}  // namespace

std::vector<PlaceView> places_of(const State& state, const ServiceSpec& service) {
  std::vector<PlaceView> out;
  for (const ServicePlace& place : service.on) {
    const MemberState* member = state.member(place.node);
    if (member != nullptr && member->intent == MemberIntent::kRetired) continue;
    out.push_back(view_of(state, service, place));
  }
  return out;
}

std::optional<PlaceView> place_of(const State& state, const std::string& service, const NodeId& node) {
  const ServiceSpec* spec = state.topology.spec.service(service);
  if (spec == nullptr) return std::nullopt;
  for (PlaceView& place : places_of(state, *spec))
    if (place.node == node) return std::move(place);
  return std::nullopt;
}

std::vector<NodeId> routed(const std::vector<PlaceView>& places, bool reads) {
  std::vector<const PlaceView*> usable;
  for (const PlaceView& place : places)
    if (place.usable() && (place.role == ServiceRole::kActive || (reads && place.role == ServiceRole::kRead))) usable.push_back(&place);
  std::ranges::stable_sort(usable, {}, [](const PlaceView* p) { return rank_of(p->health); });
  std::vector<NodeId> out;
  for (const PlaceView* place : usable) out.push_back(place->node);
  return out;
}

std::vector<ServiceEvidence> service_evidence(const State& state, const ServiceSpec& service) {
  std::vector<ServiceEvidence> out;
  for (const PlaceView& p : places_of(state, service)) {
    if (p.declared != ServiceRole::kActive && p.declared != ServiceRole::kStandby) continue;
    const bool active = is_active(state, service, {p.node, p.declared});
    out.push_back({.node = p.node, .declared = p.declared, .active = active, .health = p.health, .check_broken = p.check_broken,
                   .cold = !service.start.empty() && !active, .reachable = p.reachable, .intent = p.intent, .cause = p.cause});
  }
  return out;
}

std::optional<ServiceDecision> decide_service(const std::vector<ServiceEvidence>& evidence) {
  const auto wanted = static_cast<std::size_t>(std::ranges::count(evidence, ServiceRole::kActive, &ServiceEvidence::declared));
  std::vector<const ServiceEvidence*> takers;
  for (const ServiceEvidence& e : evidence)
    if (can_take(e)) takers.push_back(&e);
  std::ranges::stable_sort(takers, {}, [](const ServiceEvidence* e) { return order_of(*e); });
  std::set<NodeId> active;
  for (const ServiceEvidence& e : evidence)
    if (e.active) active.insert(e.node);
  ServiceDecision out;
  const auto next = takers.begin();
  std::size_t taken = 0;
  const auto take = [&](const std::string& why) {
    const ServiceEvidence& to = **(next + static_cast<std::ptrdiff_t>(taken++));
    active.insert(to.node);
    out.reason += (out.reason.empty() ? "" : "; ") + why + ": " + to.node.value + " takes over" + (to.health == Health::kDegraded ? " (" + why_not(to) + ")" : "");
  };
  for (const ServiceEvidence& e : evidence) {
    if (!e.active || taken == takers.size()) continue;
    const bool better = e.health == Health::kDegraded && (*(next + static_cast<std::ptrdiff_t>(taken)))->health != Health::kDegraded;
    if (can_stay(e) && !better) continue;
    active.erase(e.node);
    take(why_not(e));
  }
  while (active.size() < wanted && taken < takers.size()) take("there is room");
  if (taken == 0) return std::nullopt;
  for (const ServiceEvidence& e : evidence)
    if (active.contains(e.node)) out.active.push_back(e.node);
  return out;
}

std::vector<Verdict> verdicts_of(const std::vector<ServiceEvidence>& evidence) {
  std::vector<Verdict> out;
  for (const ServiceEvidence& e : evidence) {
    const bool eligible = e.active ? can_stay(e) : can_take(e);
    const char* rule = !e.reachable ? "unreachable" : e.intent != MemberIntent::kActive ? "intent" : eligible ? (e.active ? "active" : "eligible") : e.active ? "ill" : "not_well";
    std::string detail = why_not(e).substr(e.node.value.size() + 4);  // without "<node> is "
    if (e.cold && e.health == Health::kUnknown) detail = "not started: its start command brings it up";
    if (e.check_broken) detail += ", its check is broken";
    out.push_back({e.node, eligible, rule, std::move(detail)});
  }
  return out;
}

Sequence routes_changed(const State& state) {
  Sequence newest = state.topology.sequence;
  for (const auto& [node, member] : state.members) newest = std::max(newest, member.changed);
  for (const auto& [name, route] : state.routes) newest = std::max(newest, route.changed);
  for (const auto& [name, service] : state.services) newest = std::max(newest, service.changed);
  for (const auto& [place, health] : state.service_health) newest = std::max(newest, health.changed);
  return newest;
}

}  // namespace daarion
