#include "controlplane/core/state.h"

#include <algorithm>

namespace daarion {
namespace {
constexpr const char* kWholeCluster = "cluster";

template <class Map, class Key>
auto find_or_null(const Map& map, const Key& key) -> const typename Map::mapped_type* {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}
}  // namespace

bool VoterSet::has(const NodeId& node, const InstanceId& instance) const {
  return std::ranges::any_of(voters, [&](const VoterInstance& v) { return v.instance == instance && v.node == node; });
}

std::uint64_t LeaseState::newest_timeline() const {
  return std::max(position.timeline, timelines.empty() ? std::uint64_t{0} : timelines.back().timeline);
}

bool LeaseState::has_ended(const SessionId& s) const {
  return std::ranges::find(ended, s, &EndedSession::session) != ended.end();
}

const LeaseState* State::lease(const ResourceId& r) const { return find_or_null(leases, r); }
const MemberState* State::member(const NodeId& n) const { return find_or_null(members, n); }
const OperatorState* State::operator_of(const ResourceId& r) const { return find_or_null(operators, r.value); }
const ObservedState* State::observed_of(const ResourceId& r) const { return find_or_null(observed, r); }

Version State::version_of(const Aggregate& a) const {
  const auto version = [](const auto* part) { return part ? part->version : Version{}; };
  if (a.kind == "cluster") return log.version;
  if (a.kind == "topology") return topology.version;
  if (a.kind == "member") return version(member(NodeId(a.name)));
  if (a.kind == "lease") return version(lease(ResourceId(a.name)));
  if (a.kind == "operator") return version(find_or_null(operators, a.name));
  if (a.kind == "route") return version(find_or_null(routes, a.name));
  if (a.kind == "resource") return version(observed_of(ResourceId(a.name)));
  if (a.kind == "service") {
    const auto dot = a.name.find('.');
    if (dot == std::string::npos) return version(find_or_null(services, ResourceId(a.name)));
    return version(find_or_null(service_health, std::pair(ResourceId(a.name.substr(0, dot)), NodeId(a.name.substr(dot + 1)))));
  }
  if (a.kind == "replica") {
    const auto dot = a.name.find('.');
    if (dot == std::string::npos) return {};
    return version(find_or_null(replicas, std::pair(ResourceId(a.name.substr(0, dot)), NodeId(a.name.substr(dot + 1)))));
  }
  return {};
}

Sequence State::newest_paused(const ResourceId& r) const {
  const auto* all = find_or_null(operators, kWholeCluster);
  const auto* own = operator_of(r);
  return std::max(all ? all->paused : Sequence{}, own ? own->paused : Sequence{});
}

Sequence State::newest_resumed(const ResourceId& r) const {
  const auto* all = find_or_null(operators, kWholeCluster);
  const auto* own = operator_of(r);
  return std::max(all ? all->resumed : Sequence{}, own ? own->resumed : Sequence{});
}

bool State::fenced(const ResourceId& r, const SessionId& session) const {
  const auto* said = operator_of(r);
  return said && std::ranges::any_of(said->fenced, [&](const FencedSession& f) { return f.session == session && f.sequence > newest_paused(r); });
}

bool State::paused(const ResourceId& r) const {
  const auto stands = [](const OperatorState* o) { return o && o->paused > o->resumed; };
  return stands(find_or_null(operators, kWholeCluster)) || stands(operator_of(r));
}

bool State::may_be_endless(const ResourceId& r) const {
  const LeaseState* l = lease(r);
  if (l == nullptr || newest_paused(r).value == 0) return false;
  const Sequence decided = l->completed.decided;
  return !l->has_holder() || paused(r) || newest_paused(r) > decided || newest_resumed(r) > decided;
}

bool State::may_be_endless(const ResourceId& r, const OpenDecision& open) const {
  return !fenced(r, open.session) && (paused(r) || newest_paused(r) > open.decided || newest_resumed(r) > open.decided);
}

const OpenDecision* State::in_doubt(const ResourceId& r) const {
  const LeaseState* l = lease(r);
  if (l == nullptr) return nullptr;
  const auto open = std::ranges::find_if(l->open, [&](const OpenDecision& d) {
    return d.epoch > l->completed.epoch && d.session != l->completed.session && !fenced(r, d.session);
  });
  return open == l->open.end() ? nullptr : &*open;
}

}  // namespace daarion
