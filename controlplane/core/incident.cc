#include "controlplane/core/incident.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

#include "controlplane/core/helper_role.h"

namespace daarion {
namespace {

constexpr std::int64_t kTail = 10'000'000'000;  // ns

template <class T>
const T* as(const LogEvent& e) {
  return std::get_if<T>(&e.event.payload);
}

const SessionId* session_of(const LogEvent& e) {
  if (const auto* p = as<PromotionDecided>(e)) return &p->session;
  if (const auto* p = as<PromotionCompleted>(e)) return &p->session;
  if (const auto* p = as<PromotionFailed>(e)) return &p->session;
  return nullptr;
}

/// Each observation of a resource whose engine elects by itself, with the one before it; null: the first that is here.
using Before = std::map<Sequence, const ResourceObserved*>;
Before observations(const std::vector<LogEvent>& events) {
  Before out;
  std::map<ResourceId, const ResourceObserved*> last;
  for (const LogEvent& e : events)
    if (const auto* p = as<ResourceObserved>(e)) out[e.sequence] = std::exchange(last[e.event.header.resource], p);
  return out;
}

/// How its processes on that node are; what a sentinel says and what a server says are apart.
std::vector<std::pair<bool, std::string>> health_on(const ResourceObserved& seen, const NodeId& node) {
  std::vector<std::pair<bool, std::string>> out;
  for (const MemberSeen& m : seen.members)
    if (m.node == node) out.emplace_back(is_helper(m.role), m.health);
  return out;
}
bool ill_on(const ResourceObserved& seen, const NodeId& node) {
  return std::ranges::any_of(health_on(seen, node), [](const auto& process) { return !process.second.empty(); });
}
/// Whether something was taken from the node: the primary, or that its processes are well.
bool takes_from(const ResourceObserved* before, const ResourceObserved& now, const NodeId& node) {
  if (before == nullptr) return false;
  return (before->primary == node && now.primary != node) || (!ill_on(*before, node) && ill_on(now, node));
}

bool is_replica_event(const LogEvent& e) { return as<ReplicaDiverged>(e) || as<ReplicaRejoined>(e) || as<ReplicaProvisioned>(e); }

/// "replica.<resource>.<node>", "service.<service>.<node>".
NodeId node_in(const Aggregate& aggregate) {
  const std::size_t dot = aggregate.name.rfind('.');
  return NodeId(dot == std::string::npos ? aggregate.name : aggregate.name.substr(dot + 1));
}

NodeId lost_by(const ServiceMoved& moved) {
  for (const ServiceEvidence& e : moved.evidence)
    if (e.active && std::ranges::find(moved.active, e.node) == moved.active.end()) return e.node;
  return {};
}

std::string joined(const std::vector<NodeId>& nodes) {
  std::string out;
  for (const NodeId& n : nodes) out += (out.empty() ? "" : ", ") + n.value;
  return out;
}

/// Gathers the incidents of one node, event by event.
class Gatherer {
 public:
  Gatherer(const std::vector<LogEvent>& events, const Before& before, NodeId node) : events_(events), before_(before), node_(std::move(node)) {}

  void take(std::size_t i) {
    const LogEvent& e = events_[i];
    const bool over = !steps_.empty() && broken_.empty();
    // A process that was ill for a moment led to nothing: what follows is another incident.
    if (over && (blink_ || e.stored_ns - events_[steps_.back()].stored_ns > kTail))
      steps_.clear(), ids_.clear(), sessions_.clear(), decided_.clear(), touched_.clear();
    const bool breaks = is_break(e);
    if (steps_.empty() ? !breaks : !breaks && !belongs(e)) return;
    const auto* seen = as<ResourceObserved>(e);
    const ResourceObserved* was = seen != nullptr ? before_.at(e.sequence) : nullptr;
    blink_ = (steps_.empty() || blink_) && was != nullptr && was->primary == seen->primary;
    steps_.push_back(i);
    ids_.insert(e.event.header.id);
    if (const SessionId* session = session_of(e); session && as<PromotionDecided>(e)) sessions_.insert(*session);
    note(e);
  }

  bool has(std::size_t i) const { return std::ranges::find(steps_, i) != steps_.end(); }
  const std::vector<std::size_t>& steps() const { return steps_; }
  std::vector<std::string> open() const {
    std::vector<std::string> out;
    for (const auto& [key, text] : broken_) out.push_back(text);
    return out;
  }

 private:
  /// Whether it takes something from the node.
  bool is_break(const LogEvent& e) const {
    const EventHeader& h = e.event.header;
    if (as<MemberUnreachable>(e)) return h.aggregate.name == node_.value;
    if (const auto* p = as<MemberIntentChanged>(e)) return h.aggregate.name == node_.value && p->intent != MemberIntent::kActive;
    if (const auto* p = as<PromotionDecided>(e))
      return p->kind != DecisionKind::kBootstrap && p->kind != DecisionKind::kKeep && p->evidence.last_holder == node_;
    if (const auto* p = as<SwitchoverRequested>(e)) return p->from == node_;
    if (as<LeaseReleased>(e)) return h.node == node_;
    if (const auto* p = as<ServiceHealthChanged>(e)) return h.node == node_ && p->health == Health::kBroken;
    if (const auto* p = as<ServiceMoved>(e)) return lost_by(*p) == node_;
    if (const auto* p = as<ResourceObserved>(e)) return takes_from(before_.at(e.sequence), *p, node_);
    return false;
  }

  /// Whether it is part of what is open already.
  bool belongs(const LogEvent& e) const {
    const EventHeader& h = e.event.header;
    if (!h.cause.empty() && ids_.contains(h.cause)) return true;
    if (const SessionId* session = session_of(e); session && sessions_.contains(*session)) return true;
    if (as<MemberReturned>(e) || as<MemberIntentChanged>(e)) return h.aggregate.name == node_.value;
    if (as<ServiceHealthChanged>(e)) return h.node == node_;
    // Of what it touched: all for a while, then what it says of this node.
    if (const auto* p = as<ResourceObserved>(e); p && touched_.contains(h.resource))
      return e.stored_ns - events_[steps_.back()].stored_ns <= kTail || health_on(*before_.at(e.sequence), node_) != health_on(*p, node_);
    return is_replica_event(e) && node_in(h.aggregate) == node_;
  }

  void note(const LogEvent& e) {
    const EventHeader& h = e.event.header;
    const std::string& resource = h.resource.value;
    const std::string silent = "silent", replica = "replica " + resource, decision = "decision " + resource, service = "service " + resource,
                      observed = "observed " + resource;
    if (as<MemberUnreachable>(e)) broken_[silent] = node_.value + " has not been heard again";
    if (as<MemberReturned>(e)) broken_.erase(silent);
    if (as<ReplicaDiverged>(e) && node_in(h.aggregate) == node_) broken_[replica] = resource + " on " + node_.value + " has not rejoined";
    if (as<ReplicaRejoined>(e) || as<ReplicaProvisioned>(e)) broken_.erase(replica);
    if (const auto* p = as<PromotionDecided>(e)) broken_[decision] = "the decision for " + p->to.value + " (" + resource + ") is not completed";
    if (as<PromotionCompleted>(e) || as<PromotionFailed>(e)) broken_.erase(decision);
    // A host that returns says the end of a session that was decided over long before.
    if (as<LeaseReleased>(e) && !decided_.contains(h.resource)) broken_["holder " + resource] = resource + " has no holder";
    if (as<PromotionDecided>(e)) decided_.insert(h.resource), broken_.erase("holder " + resource);
    if (const auto* p = as<ServiceHealthChanged>(e); p && h.node == node_) {
      if (p->health == Health::kBroken) broken_[service] = resource + " on " + node_.value + " is not well again";
      else broken_.erase(service);
    }
    if (const auto* p = as<ResourceObserved>(e); p && (touched_.contains(h.resource) || takes_from(before_.at(e.sequence), *p, node_))) {
      touched_.insert(h.resource);
      if (ill_on(*p, node_)) broken_[observed] = resource + " on " + node_.value + " is not well again";
      else if (p->primary.empty()) broken_[observed] = resource + " has no primary";
      else broken_.erase(observed);
    }
  }

  const std::vector<LogEvent>& events_;
  const Before& before_;
  const NodeId node_;
  std::vector<std::size_t> steps_;
  bool blink_ = false;  // nothing but words on its processes so far, and no primary moved
  std::set<EventId> ids_;
  std::set<SessionId> sessions_;
  std::set<ResourceId> decided_, touched_;  // touched: by observations of what elects by itself
  std::map<std::string, std::string> broken_;  // what, and how it is said
};

/// Whose loss an observation tells of: who was the primary, whose processes changed; then all that it has processes on, as it may end another's.
std::vector<NodeId> concerned(const ResourceObserved& before, const ResourceObserved& now) {
  std::vector<NodeId> out;
  if (before.primary != now.primary) out.push_back(before.primary);
  for (const MemberSeen& m : now.members)
    if (health_on(before, m.node) != health_on(now, m.node)) out.push_back(m.node);
  for (const MemberSeen& m : now.members) out.push_back(m.node);
  return out;
}

/// Whose incident the event may be part of: the likeliest first.
std::vector<NodeId> owners(const std::vector<LogEvent>& events, const Before& before, const LogEvent& e) {
  const EventHeader& h = e.event.header;
  if (as<MemberUnreachable>(e) || as<MemberReturned>(e) || as<MemberIntentChanged>(e)) return {NodeId(h.aggregate.name)};
  if (const auto* p = as<PromotionDecided>(e); p && p->kind != DecisionKind::kKeep) return {p->evidence.last_holder};
  if (const auto* p = as<SwitchoverRequested>(e)) return {p->from};
  if (as<LeaseReleased>(e) || as<ServiceHealthChanged>(e)) return {h.node};
  if (is_replica_event(e)) return {node_in(h.aggregate)};
  if (const auto* p = as<ServiceMoved>(e)) return {lost_by(*p)};
  const SessionId* session = session_of(e);
  std::vector<NodeId> out;
  if (const auto* p = as<ResourceObserved>(e))
    if (const ResourceObserved* was = before.at(e.sequence)) out = concerned(*was, *p);
  for (const LogEvent& other : events) {
    if (other.sequence >= e.sequence) break;
    if (const auto* p = as<PromotionDecided>(other); p && p->kind != DecisionKind::kKeep && session && p->session == *session) out.push_back(p->evidence.last_holder);
    if (!h.cause.empty() && other.event.header.id == h.cause) std::ranges::copy(owners(events, before, other), std::back_inserter(out));
  }
  return out;
}

/// The newest step before `i` that could have led to it.
std::optional<std::size_t> inferred(const std::vector<const LogEvent*>& steps, std::size_t i) {
  const LogEvent& e = *steps[i];
  const EventHeader& h = e.event.header;
  for (std::size_t j = i; j-- > 0;) {
    const LogEvent& b = *steps[j];
    const bool same_resource = b.event.header.resource == h.resource;
    const bool gone = as<MemberUnreachable>(b) != nullptr;
    bool led = false;
    if (as<PromotionDecided>(e)) led = gone || (same_resource && (as<LeaseReleased>(b) || as<SwitchoverRequested>(b) || as<PromotionFailed>(b)));
    else if (as<PromotionCompleted>(e) || as<PromotionFailed>(e)) led = as<PromotionDecided>(b) && *session_of(b) == *session_of(e);
    else if (as<LeaseReleased>(e)) led = (same_resource && as<SwitchoverRequested>(b)) || as<MemberIntentChanged>(b);
    else if (as<ServiceMoved>(e)) led = gone || as<MemberIntentChanged>(b) || (same_resource && as<ServiceHealthChanged>(b));
    else if (as<ResourceObserved>(e))
      led = (same_resource && (as<ResourceObserved>(b) || as<SwitchoverRequested>(b))) || as<MemberIntentChanged>(b) || as<MemberReturned>(b);
    else if (as<MemberReturned>(e)) led = gone;
    else if (as<ReplicaDiverged>(e)) led = same_resource && as<PromotionCompleted>(b);
    else if (is_replica_event(e)) led = (same_resource && as<ReplicaDiverged>(b)) || as<MemberReturned>(b);
    if (led) return j;
  }
  // The first word of an engine, after the node's silence was told.
  for (std::size_t j = as<ResourceObserved>(e) ? i : 0; j-- > 0;)
    if (as<MemberUnreachable>(*steps[j])) return j;
  return std::nullopt;
}

/// Log time of what was last heard of the node, as the first decisions and reports on it say.
std::int64_t began(const std::vector<const LogEvent*>& steps, const NodeId& node) {
  std::int64_t out = steps.front()->stored_ns;
  for (const LogEvent* e : steps) {
    std::uint64_t silent_ms = 0;
    if (const auto* p = as<MemberUnreachable>(*e)) silent_ms = p->silent_ms;
    if (const auto* p = as<PromotionDecided>(*e); p && p->kind == DecisionKind::kFailover)
      for (const CandidateEvidence& c : p->evidence.candidates)
        if (c.node == node && c.heard && c.beat_age_ms >= p->evidence.unreachable_ms / 2) silent_ms = c.beat_age_ms;
    if (e->stored_ns - steps.front()->stored_ns > kTail) break;  // later ones tell of a later silence
    out = std::min(out, e->stored_ns - static_cast<std::int64_t>(silent_ms) * 1'000'000);
  }
  return out;
}

std::string title_of(const std::vector<const LogEvent*>& steps, const NodeId& node) {
  const LogEvent& first = *steps.front();
  const std::string& what = first.event.header.resource.value;
  const bool lost = std::ranges::any_of(steps, [&](const LogEvent* e) { return as<MemberUnreachable>(*e) != nullptr; });
  if (const auto* p = as<SwitchoverRequested>(first)) return what + " was moved from " + node.value + (p->forced ? " by a forced failover" : " by a switchover");
  if (const auto* p = as<MemberIntentChanged>(first)) return node.value + " was set to " + text_of(p->intent);
  if (lost) return node.value + " was lost";
  if (as<LeaseReleased>(first)) return what + " ended on " + node.value;
  if (const auto* p = as<ResourceObserved>(first); p && !ill_on(*p, node)) return what + " moved away from " + node.value;
  if (as<ResourceObserved>(first) || as<ServiceHealthChanged>(first) || as<ServiceMoved>(first)) return what + " failed on " + node.value;
  return "the lease of " + what + " on " + node.value + " ran out";
}

std::vector<IncidentMove> moves_of(const std::vector<const LogEvent*>& steps, const Before& before) {
  std::vector<IncidentMove> out;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const LogEvent& e = *steps[i];
    const std::string& what = e.event.header.resource.value;
    if (const auto* p = as<PromotionDecided>(e)) {
      IncidentMove move{what, "resource", p->evidence.last_holder.value, p->to.value, i, std::nullopt, true, false};
      for (std::size_t j = i + 1; j < steps.size() && move.pending; ++j) {
        const SessionId* session = session_of(*steps[j]);
        if (session == nullptr || *session != p->session || as<PromotionDecided>(*steps[j])) continue;
        move.done = j;
        move.pending = false;
        move.failed = as<PromotionFailed>(*steps[j]) != nullptr;
      }
      out.push_back(std::move(move));
    } else if (const auto* moved = as<ServiceMoved>(e)) {
      std::vector<NodeId> from;
      for (const ServiceEvidence& was : moved->evidence)
        if (was.active) from.push_back(was.node);
      out.push_back({what, "service", joined(from), joined(moved->active), i, std::nullopt, false, false});
    } else if (const auto* seen = as<ResourceObserved>(e)) {
      const ResourceObserved* was = before.at(e.sequence);
      if (was == nullptr || was->primary == seen->primary) continue;
      out.push_back({what, "observed", was->primary.value, seen->primary.value, i, std::nullopt, false, false});
    } else if (const auto* provider = as<CapabilityMoved>(e)) {
      out.push_back({provider->capability, "capability", "", provider->provider, i, std::nullopt, false, false});
    }
  }
  return out;
}

}  // namespace

std::optional<Incident> incident_of(const std::vector<LogEvent>& events, Sequence at) {
  const auto anchor = std::ranges::find(events, at, &LogEvent::sequence);
  if (anchor == events.end()) return std::nullopt;
  const auto index = static_cast<std::size_t>(anchor - events.begin());
  const Before before = observations(events);
  for (const NodeId& node : owners(events, before, *anchor)) {
    if (node.empty()) continue;
    Gatherer gatherer(events, before, node);
    std::vector<std::size_t> found;
    std::vector<std::string> open;
    for (std::size_t i = 0; i < events.size(); ++i) {
      gatherer.take(i);
      if (gatherer.has(index)) {
        found = gatherer.steps();
        open = gatherer.open();
      } else if (!found.empty()) {
        break;  // the next one of this node has begun
      }
    }
    if (found.empty()) continue;
    std::vector<const LogEvent*> steps;
    for (const std::size_t i : found) steps.push_back(&events[i]);
    Incident out{.node = node, .title = title_of(steps, node), .planned = as<SwitchoverRequested>(*steps[0]) || as<MemberIntentChanged>(*steps[0]),
                 .began_ns = began(steps, node), .steps = {}, .moves = moves_of(steps, before), .open = std::move(open)};
    for (std::size_t i = 0; i < steps.size(); ++i) {
      IncidentStep step{found[i], std::nullopt, false};
      const EventId& cause = steps[i]->event.header.cause;
      for (std::size_t j = 0; j < i && !cause.empty() && !step.led_by; ++j)
        if (steps[j]->event.header.id == cause) step.led_by = j, step.stated = true;
      if (!step.led_by) step.led_by = inferred(steps, i);
      out.steps.push_back(step);
    }
    return out;
  }
  return std::nullopt;
}

}  // namespace daarion
