#include "controlplane/core/fold.h"

#include <algorithm>

#include "controlplane/core/check.h"
#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"
#include "controlplane/core/voter_set.h"

namespace daarion {
namespace {

template <class T>
void keep_newest(std::vector<T>& items, std::size_t bound) {
  if (items.size() > bound) items.erase(items.begin(), items.end() - static_cast<std::ptrdiff_t>(bound));
}

/// One event being folded: what the rules below need besides the state.
struct Step {
  State& s;
  const LogEvent& log;
  const EventHeader& h;
  std::vector<StateKey>& touched;
  MemberState* own_member = nullptr;

  void touch(Table table, std::string name = {}) { touched.push_back({table, std::move(name)}); }
  void ignore() { ++s.ignored; }

  // ---- cluster.log
  void on(const LogCreated& p) {
    if (!s.log.log.empty()) return ignore();
    s.log.log = p.log;
    s.log.cluster = p.cluster;
    s.log.parent = p.parent;
  }
  void on(const LogRegressed& p) {
    s.log.regressions.push_back({log.sequence, log.stored_ns, h.node, p.folded, p.head});
    keep_newest(s.log.regressions, kMaxRegressions);
  }
  void on(const FeatureLevelRaised& p) { s.log.feature_level = std::max(s.log.feature_level, p.level); }
  void on(const VoterSetChanged& p) {
    if (!objection(s, p).empty()) {
      MARK(kFoldSetRefused);
      return ignore();
    }
    s.voters = {.id = h.id, .sequence = log.sequence, .voters = p.voters, .next = p.next};
    touch(Table::kVoters);
  }

  // ---- topology.spec
  void on(const TopologyChanged& p) {
    s.topology.spec = p.spec;
    s.topology.file_hash = p.file_hash;
    s.topology.sequence = log.sequence;
  }

  // ---- member.<node>
  MemberState& member() {
    MemberState& m = *own_member;  // found already, by slot()
    m.changed = log.sequence;
    m.changed_ns = log.stored_ns;
    return m;
  }
  void on(const MemberJoined& p) {
    MemberState& m = member();
    m.role = p.role;
    m.region = p.region;
    m.address = p.address;
    m.software = p.software;
    m.feature_level = p.feature_level;
    m.instance = p.instance;
    m.boot = p.boot;
    m.reachable = true;
    m.unreachable = {};
  }
  void on(const MemberUnreachable&) {
    MemberState& m = member();
    m.reachable = false;
    m.unreachable = h.id;
  }
  void on(const MemberReturned& p) {
    MemberState& m = member();
    m.instance = p.instance;
    m.boot = p.boot;
    m.software = p.software;
    m.feature_level = p.feature_level;
    m.returned_run = p.run;
    m.returned = log.sequence;
    m.reachable = true;
    m.unreachable = {};
  }
  void on(const MemberIntentChanged& p) { member().intent = p.intent; }

  // ---- lease.<resource>
  LeaseState& lease() { return s.leases[ResourceId(h.aggregate.name)]; }
  /// Whether the event is of the node and instance that the decision named; a decision of an older log named no instance.
  bool speaks_for(const auto& decision, const InstanceId& instance) const {
    return (decision.node == h.node || PLANTED(kAnyoneEnds)) &&
           (decision.instance.empty() || decision.instance == instance || PLANTED(kInstanceIgnored) || PLANTED(kAnyoneEnds));
  }
  void on(const PromotionDecided& p) {
    LeaseState& l = lease();
    MARK_IF(kFoldOldEpoch, h.epoch <= l.epoch);
    if (h.epoch <= l.epoch && !(PLANTED(kEqualEpochFolded) && h.epoch == l.epoch)) return ignore();
    l.epoch = h.epoch;
    l.holder = p.to;
    l.instance = p.instance;
    l.session = p.session;
    l.kind = p.kind;
    // A session that has ended takes no lease: such a decision is over as soon as it is made.
    l.phase = l.has_ended(p.session) ? LeaseState::Phase::kEnded : LeaseState::Phase::kDecided;
    l.decided = log.sequence;
    l.decided_event = h.id;
    l.accepts_loss = p.evidence.accepts_loss_of(p.to);
    if (l.phase == LeaseState::Phase::kDecided) l.open.push_back({h.epoch, p.to, p.session, p.kind, log.sequence, h.id, p.instance});
    MARK_IF(kFoldEndedNamed, l.phase == LeaseState::Phase::kEnded);
    keep_newest(l.open, kMaxDecisions);
    // A wish is spent by the decision that follows it, whatever it decides.
    const auto said = s.operators.find(h.aggregate.name);
    if (said != s.operators.end() && said->second.switchover.sequence.value != 0) {
      said->second.switchover = {};
      touch(Table::kOperator, h.aggregate.name);
    }
  }
  /// Of the newest decision, or late of one that others have overtaken meanwhile: what was written under it is history too.
  void on(const PromotionCompleted& p) {
    LeaseState& l = lease();
    const auto open = std::ranges::find_if(l.open, [&](const OpenDecision& d) {
      return d.epoch == h.epoch && d.session == p.session && speaks_for(d, p.instance);
    });
    if (open == l.open.end() || h.epoch <= l.completed.epoch) return ignore();
    const bool new_writer = l.completed.session != p.session;
    MARK_IF(kFoldLateCompletion, h.epoch != l.epoch);
    if (h.epoch == l.epoch) l.phase = LeaseState::Phase::kActive;
    l.completed = {.epoch = open->epoch, .node = open->node, .session = open->session, .decided = open->decided,
                   .sequence = log.sequence, .stored_ns = log.stored_ns, .instance = open->instance};
    l.position = p.position;
    l.final_position = false;
    if (new_writer) {
      add_timeline(l.timelines, {p.position.timeline, p.position.lsn, p.session});
      keep_newest(l.timelines, kMaxTimelines);
      if (open->kind == DecisionKind::kFailover) l.promotions_ns.push_back(log.stored_ns);
      keep_newest(l.promotions_ns, kMaxPromotions);
    }
    l.open.erase(open);
  }
  /// Of the newest writer, by its own word alone: no other knows what its engine waits for.
  void on(const SyncSetChanged& p) {
    LeaseState& l = lease();
    if (p.session != l.completed.session || l.has_ended(p.session) || h.node != l.completed.node) return ignore();
    l.sync = {p.session, p.members, p.needed, log.sequence};
  }
  void on(const PromotionFailed& p) { end_session(p.session, p.instance, nullptr); }
  void on(const LeaseReleased& p) { end_session(p.session, p.instance, &p); }

  /// Only the session's own node may say that it ended, and only in the instance that the decision named: a second host with the
  /// same node id does not have that session, and knows nothing of the host that has it.
  void end_session(const SessionId& session, const InstanceId& instance, const LeaseReleased* released) {
    LeaseState& l = lease();
    const bool completed = session == l.completed.session && speaks_for(l.completed, instance);
    const bool open = std::ranges::any_of(l.open, [&](const OpenDecision& d) { return d.session == session && speaks_for(d, instance); });
    if ((!completed && !open) || l.has_ended(session)) {
      MARK(kFoldForeignEnd);
      return ignore();
    }
    l.ended.push_back({session, h.node, h.epoch, instance, h.id});
    if (PLANTED(kMapOrder) && touched.size() % 2 == 1) std::ranges::reverse(l.ended);
    keep_newest(l.ended, kMaxEndedSessions);
    std::erase_if(l.open, [&](const OpenDecision& d) { return d.session == session; });
    if (session == l.session) l.phase = LeaseState::Phase::kEnded;
    if (completed && released && released->final_position) {
      l.position = released->position;
      l.final_position = true;
    }
  }

  // ---- replica.<resource>.<node>
  ReplicaState* replica_of(const std::string& name) {
    const auto dot = name.find('.');
    return dot == std::string::npos ? nullptr : &s.replicas[{ResourceId(name.substr(0, dot)), NodeId(name.substr(dot + 1))}];
  }
  static void answered(ReplicaState& r) { r.asked = {}, r.asked_event = {}, r.asked_epoch = {}, r.asked_restart = false; }
  void replica(ReplicaState::Status status, std::string method, const NodeId& source, const Position& position) {
    ReplicaState* found = replica_of(h.aggregate.name);
    if (found == nullptr) return ignore();
    ReplicaState& r = *found;
    // A copy that was under way when it was asked for is not the one that was asked for.
    const bool answers = status != ReplicaState::Status::kDiverged && (status != ReplicaState::Status::kRejoined || h.cause == r.asked_event);
    if (answers) answered(r);
    r.status = status;
    r.method = std::move(method);
    r.source = source;
    r.position = position;
    r.changed = log.sequence;
    r.changed_ns = log.stored_ns;
  }
  void on(const ReplicaProvisioned& p) { replica(ReplicaState::Status::kProvisioned, p.method, p.source, p.position); }
  void on(const ReplicaRejoined& p) { replica(ReplicaState::Status::kRejoined, p.method, p.source, p.position); }
  void on(const ReplicaDiverged& p) { replica(ReplicaState::Status::kDiverged, {}, p.source, p.position); }
  void on(const ReplicaRemoved&) { replica(ReplicaState::Status::kRemoved, {}, {}, {}); }
  void on(const SlotDropped&) {}
  void asked_of_replica(const std::string& request, bool restart) {
    ReplicaState* r = replica_of(h.aggregate.name);
    if (r == nullptr) return ignore();
    const LeaseState* l = s.lease(h.resource);
    r->asked = log.sequence;
    r->asked_event = h.id;
    r->asked_epoch = l ? l->epoch : Epoch{};
    r->asked_restart = restart;
    remember(request);
  }
  void on(const RejoinRequested& p) { asked_of_replica(p.request, false); }
  void on(const RestartRequested& p) { asked_of_replica(p.request, true); }
  void on(const ReplicaRestarted&) {
    ReplicaState* r = replica_of(h.aggregate.name);
    if (r == nullptr) return ignore();
    if (h.cause == r->asked_event) answered(*r);
  }

  // ---- route.*
  void on(const RouteTableChanged& p) {
    RouteState& r = s.routes[h.aggregate.name];
    r.rules = p.rules;
    r.changed = log.sequence;
  }
  void on(const CapabilityMoved& p) {
    RouteState& r = s.routes[h.aggregate.name];
    r.provider = p.provider;
    r.changed = log.sequence;
  }

  // ---- service.<service>.<node>, service.<service>
  /// Of its own services a node alone speaks; who is active is one decision, whoever takes it.
  void on(const ServiceHealthChanged& p) {
    const auto dot = h.aggregate.name.find('.');
    if (dot == std::string::npos || h.aggregate.name.substr(dot + 1) != h.node.value) return ignore();
    ServiceHealthState& health = s.service_health[{ResourceId(h.aggregate.name.substr(0, dot)), h.node}];
    health = {.version = health.version, .health = p.health, .check_broken = p.check_broken, .flapping = p.flapping, .cause = p.cause,
              .changed = log.sequence, .changed_ns = log.stored_ns, .event = h.id};
  }
  void on(const ServiceMoved& p) {
    if (h.aggregate.name.find('.') != std::string::npos) return ignore();
    ServiceState& service = s.services[ResourceId(h.aggregate.name)];
    service = {.version = service.version, .active = p.active, .changed = log.sequence, .changed_ns = log.stored_ns, .event = h.id};
  }

  // ---- resource.<resource>
  void on(const ResourceObserved& p) {
    ObservedState& o = s.observed[ResourceId(h.aggregate.name)];
    if (o.changed.value == 0 || o.seen.primary != p.primary) {
      o.moved = log.sequence;
      o.moved_ns = log.stored_ns;
    }
    o.seen = p;
    o.observer = h.node;
    o.changed = log.sequence;
    o.changed_ns = log.stored_ns;
    o.event = h.id;
  }

  // ---- operator.<resource or cluster>
  OperatorState& by_operator() { return s.operators[h.aggregate.name]; }
  void on(const Paused&) { by_operator().paused = log.sequence; }
  void on(const Resumed&) { by_operator().resumed = log.sequence; }
  void on(const SwitchoverRequested& p) {
    const LeaseState* l = s.lease(ResourceId(h.aggregate.name));
    by_operator().switchover = {.sequence = log.sequence, .event = h.id, .epoch = l ? l->epoch : Epoch{}, .from = p.from,
                                .to = p.to, .forced = p.forced, .allow_data_loss = p.allow_data_loss, .valid_ms = p.valid_ms,
                                .actor = h.actor, .reason = h.reason};
    remember(p.request);
  }
  void on(const FencingConfirmed& p) { is_off(by_operator(), p.session); }
  void is_off(OperatorState& said, const SessionId& session) {
    std::erase_if(said.fenced, [&](const FencedSession& f) { return f.session == session; });
    said.fenced.push_back({session, log.sequence});
    keep_newest(said.fenced, kMaxFenced);
  }
  void on(const OverrideGranted& p) {
    if (!objection(s, p).empty()) {
      MARK(kFoldOverrideRefused);
      return ignore();
    }
    MARK(kFoldOverride);
    for (const auto& [resource, l] : s.leases)
      for (const EndlessSession& endless : endless_sessions(s, resource)) {  // all of them are covered
        is_off(s.operators[resource.value], endless.session);
        touch(Table::kOperator, resource.value);
      }
    if (s.log.root.empty()) s.log.root = s.log.log;
    s.log.parent = s.log.log;
    s.log.log = log_after(h.id);
    ++s.log.overrides;
    s.voters = {.id = h.id, .sequence = log.sequence, .voters = p.voters, .next = {}};
    touch(Table::kLog);
    touch(Table::kVoters);
    remember(p.request);
    // Who was decided last is decided no more; whose data the others follow stays.
    for (auto& [resource, l] : s.leases) {
      l.epoch.value += kOverrideEpochs;
      l.holder = {};
      l.instance = {};
      l.session = {};
      l.phase = LeaseState::Phase::kEnded;
      touch(Table::kLease, resource.value);
    }
  }
  void remember(const std::string& request) {
    if (request.empty()) return;
    s.requests.push_back({request, h.id, log.sequence});
    keep_newest(s.requests, kMaxRequests);
    touch(Table::kRequest);
  }

  // ---- telemetry is folded elsewhere
  void on(const ReplicaLagReported&) { ignore(); }
  void on(const HealthReported&) { ignore(); }

  /// Where the state counts the aggregate's versions, and the part that the event touches. Null: nowhere.
  struct Slot {
    Version* version = nullptr;
    Table table = Table::kLog;
  };
  /// Makes the part for an aggregate's first event.
  Slot slot() {
    const Aggregate& a = h.aggregate;
    const auto part = [&](auto& parts, const auto& key) {
      if (h.version.value == 1) return &parts[key];
      const auto at = parts.find(key);
      return at == parts.end() ? nullptr : &at->second;
    };
    const auto in = [](auto* found, Table table) { return Slot{found == nullptr ? nullptr : &found->version, table}; };
    if (a.kind == "cluster") return {&s.log.version, Table::kLog};
    if (a.kind == "topology") return {&s.topology.version, Table::kTopology};
    if (a.kind == "member") return in(own_member = part(s.members, NodeId(a.name)), Table::kMember);
    if (a.kind == "lease") return in(part(s.leases, ResourceId(a.name)), Table::kLease);
    if (a.kind == "operator") return in(part(s.operators, a.name), Table::kOperator);
    if (a.kind == "route") return in(part(s.routes, a.name), Table::kRoute);
    const auto dot = a.name.find('.');
    const auto of_node = [&] { return std::pair(ResourceId(a.name.substr(0, dot)), NodeId(a.name.substr(dot + 1))); };
    if (a.kind == "replica" && dot != std::string::npos) return in(part(s.replicas, of_node()), Table::kReplica);
    if (a.kind == "service" && dot != std::string::npos) return in(part(s.service_health, of_node()), Table::kServiceHealth);
    if (a.kind == "service") return in(part(s.services, ResourceId(a.name)), Table::kService);
    if (a.kind == "resource") return in(part(s.observed, ResourceId(a.name)), Table::kObserved);
    return {};
  }

  /// The version came before its turn: nobody can append it any more, and it says nothing when its turn comes.
  void set_void() {
    MARK(kFoldVoid);
    s.log.voids.push_back({h.aggregate, h.version});
    keep_newest(s.log.voids, kMaxVoids);
    touch(Table::kLog);
  }

  void step_over(Version& version) {
    for (;;) {
      const auto at = std::ranges::find(s.log.voids, VoidVersion{h.aggregate, Version{version.value + 1}});
      if (at == s.log.voids.end()) return;
      s.log.voids.erase(at);
      touch(Table::kLog);
      ++version.value;
    }
  }
};

}  // namespace

void fold_into(State& state, const LogEvent& event, std::vector<StateKey>& touched) {
  DAARION_CHECK(event.sequence.value == state.applied.value + 1, "the fold takes every sequence in order");
  Step step{.s = state, .log = event, .h = event.event.header, .touched = touched};
  // A version that is not the next one, or a payload on another kind's subject, is not of our writing: it changes nothing.
  const Aggregate& aggregate = event.event.header.aggregate;
  const bool fits = aggregate.kind == kind_of(event.event.payload);
  const Step::Slot slot = fits ? step.slot() : Step::Slot{};
  const std::uint64_t version = event.event.header.version.value, next = slot.version == nullptr ? 1 : slot.version->value + 1;
  if (slot.version != nullptr && version == next) {
    std::visit([&](const auto& payload) { step.on(payload); }, event.event.payload);
    // Counted whatever it says: the next append needs the next version.
    *slot.version = event.event.header.version;
    if (!state.log.voids.empty()) step.step_over(*slot.version);
    const bool one_of_many = slot.table != Table::kLog && slot.table != Table::kTopology;
    step.touch(slot.table, one_of_many ? aggregate.name : std::string{});
  } else {
    if (fits && version > next) step.set_void();
    step.ignore();
  }
  state.applied = event.sequence;
  state.applied_ns = event.stored_ns;
}

State fold(State state, const LogEvent& event) {
  std::vector<StateKey> touched;
  fold_into(state, event, touched);
  return state;
}

}  // namespace daarion
