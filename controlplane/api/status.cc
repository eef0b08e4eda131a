#include "controlplane/api/status.h"

#include <algorithm>

#include "controlplane/api/json.h"
#include "controlplane/api/views.h"
#include "controlplane/core/beside.h"
#include "controlplane/core/decide.h"
#include "controlplane/core/helper_role.h"
#include "controlplane/core/lease.h"
#include "controlplane/core/write_refusal.h"
#include "controlplane/drivers/words.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {
namespace {

// From the last promise's end to the first write: votes, decision, claim and promotion, rounded up.
constexpr std::int64_t kAfterVotesMs = 300;
// A resource whose replicas cannot take over is named after this time: a failover and the rejoin that follows it, or the restart of a replica, is
// over by then.
constexpr Duration kBareIsNews = std::chrono::seconds(15);
// As long as it takes to give all nodes a file and have it taken up.
constexpr Duration kFilesAreNews = std::chrono::minutes(1);
// What a beat says of a wait may be anything; ten years in ms do not wrap.
constexpr std::uint64_t kLongestWaitMs = 1ULL << 38;
// A log that lost events makes the status "degraded" for a day, so that somebody looks; its warning stays.
constexpr std::int64_t kRegressionFreshNs = 86'400 * std::int64_t{1'000'000'000};

const char* node_state(const NodeCore& core, const NodeId& node, Instant now) {
  if (core.peers().find(node) == nullptr) return "unheard";
  return core.peers().silent(node, now, core.started()) > core.spec().lease.ttl ? "unreachable" : "reachable";
}

bool is_reachable(const NodeCore& core, const NodeId& node, Instant now) {
  return core.peers().find(node) != nullptr && core.peers().silent(node, now, core.started()) <= core.spec().lease.ttl;
}

const EngineReport* engine_of(const Peers& peers, const NodeId& node, const ResourceId& resource) {
  const Peer* peer = peers.find(node);
  if (peer == nullptr) return nullptr;
  const auto at = std::ranges::find(peer->beat.engines, resource, &EngineReport::resource);
  return at == peer->beat.engines.end() ? nullptr : &*at;
}

std::string known_position(const Position& p) { return p.timeline == 0 ? std::string() : position_text(p); }

void fill_nodes(const NodeCore& core, Instant now, v1::Status& out) {
  for (const NodeSpec& node : core.spec().nodes) {
    const MemberState* member = core.state().member(node.id);
    v1::NodeStatus& to = *out.add_nodes();
    to.set_id(node.id.value);
    to.set_role(text_of(node.role));
    to.set_state(node_state(core, node.id, now));
    to.set_intent(text_of(member ? member->intent : MemberIntent::kActive));
    to.set_age_ms(to_ms(core.peers().silent(node.id, now, core.started())));
    to.set_region(node.region);
    to.set_address(node.address);
  }
}

/// The one vocabulary for what is seen of an engine, whoever leads it.
void fill_replicas(const NodeCore& core, const NodeId& holder, const Decider::Nomination& then, Instant now, v1::ResourceStatus& out) {
  for (std::size_t i = 0; i < then.evidence.candidates.size() && i < then.decision.verdicts.size(); ++i) {
    const CandidateEvidence& candidate = then.evidence.candidates[i];
    const Verdict& verdict = then.decision.verdicts[i];
    if (candidate.node == holder) continue;
    v1::ReplicaView& to = *out.add_replicas();
    to.set_node(candidate.node.value);
    to.set_state(candidate.engine.streaming ? "streaming" : text_of(candidate.engine.state));
    to.set_lag_bytes(lag_bytes(then.evidence, candidate));
    to.set_lag_ms(candidate.lag_ms);
    to.set_candidate(verdict.eligible);
    to.set_verdict(verdict.detail.empty() ? verdict.rule : verdict.rule + ": " + verdict.detail);
    to.set_role(candidate.engine.state == EngineState::kPrimary ? "primary" : "replica");
    to.set_lag_known(candidate.engine.position.timeline != 0 && then.evidence.last_position.timeline != 0);
    to.set_position(known_position(candidate.engine.position));
    to.set_identity(candidate.engine.position.identity);
    to.set_version(candidate.engine.version);
    if (is_reachable(core, candidate.node, now)) to.set_health(candidate.engine.health);  // of a silent one it would be old
  }
}

/// What a person should know of the engines that are heard, and that no verdict says while all is well.
std::vector<std::string> problems_of(const NodeCore& core, const ResourceSpec& spec, Instant now) {
  std::vector<std::string> out;
  for (const NodeId& node : spec.members) {
    const EngineReport* engine = is_reachable(core, node, now) ? engine_of(core.peers(), node, spec.id) : nullptr;
    if (engine == nullptr) continue;
    if (!engine->health.empty()) out.push_back(node.value + ": " + engine->health);
    if (!engine->blocked.empty()) out.push_back(node.value + ": " + engine->blocked);
    for (const std::string& lack : engine->lacks) out.push_back(node.value + " lacks " + lack);
    for (const std::string& problem : engine->problems) out.push_back(node.value + ": " + problem);
  }
  return out;
}

/// What is wrong with the replicas that are declared to take over, or with all that should stream; empty: nothing, or it is not theirs.
std::string bareness_of(const NodeCore& core, const ResourceSpec& spec, const Decider::Nomination& then, const NodeId& holder) {
  std::string causes;
  bool any = false, heirs = false, eligible = false, streams = false;
  for (std::size_t i = 0; i < then.evidence.candidates.size() && i < then.decision.verdicts.size(); ++i) {
    const CandidateEvidence& c = then.evidence.candidates[i];
    const Verdict& verdict = then.decision.verdicts[i];
    const MemberState* member = core.state().member(c.node);
    if (c.node == holder || (member != nullptr && member->intent == MemberIntent::kRetired)) continue;
    any = true;
    heirs = heirs || !c.tags.nofailover;
    eligible = eligible || verdict.eligible;
    streams = streams || c.engine.streaming;
    causes += (causes.empty() ? "" : "; ") + c.node.value + ": " + (verdict.detail.empty() ? verdict.rule : verdict.detail);
  }
  if (!any) return {};
  if (heirs && !eligible) return spec.id.value + " has no replica that could take over: " + causes;
  return streams ? std::string() : "no replica of " + spec.id.value + " streams; see daarionctl resource " + spec.id.value;
}

/// Said once it has been so for a while. Not by a node that hears no majority: what it says of the others is old.
void warn_of_bare(const NodeCore& core, const ResourceSpec& spec, const Decider::Nomination& then, Instant now, StatusMemory& memory, v1::Status& out) {
  const LeaseState* lease = core.state().lease(spec.id);
  const bool holds = lease != nullptr && lease->has_holder();
  const bool deaf = core.peers().majority_silent(core.state().voters, now, core.started()) > core.spec().lease.ttl;
  const std::string bare = holds && !deaf ? bareness_of(core, spec, then, lease->completed.node) : std::string();
  if (bare.empty()) {
    memory.bare_since.erase(spec.id);
    return;
  }
  const Instant since = memory.bare_since.try_emplace(spec.id, now).first->second;
  if (now - since >= kBareIsNews) out.add_warnings(bare);
}

void fill_resource(const NodeCore& core, const ResourceSpec& spec, const Decider::Nomination& then, Instant now, v1::ResourceStatus& out) {
  const LeaseState* lease = core.state().lease(spec.id);
  const NodeId holder = lease && lease->has_holder() ? lease->completed.node : NodeId{};
  const EngineReport* engine = holder.empty() ? nullptr : engine_of(core.peers(), holder, spec.id);
  out.set_id(spec.id.value);
  out.set_engine(spec.engine);
  out.set_epoch(lease ? lease->epoch.value : 0);
  if (!holder.empty()) out.set_holder(holder.value);
  out.set_writable(!holder.empty() && is_reachable(core, holder, now) && engine != nullptr && takes_writes(engine->state, engine->health));
  if (engine != nullptr) {
    out.set_holder_role(engine->state == EngineState::kPrimary ? "primary" : "replica");
    out.set_holder_position(known_position(engine->position));
    out.set_holder_identity(engine->position.identity);
    out.set_holder_version(engine->version);
    if (is_reachable(core, holder, now)) out.set_holder_health(engine->health);
  }
  out.set_paused(core.state().paused(spec.id));
  out.set_port(spec.port);
  for (const std::string& problem : problems_of(core, spec, now)) out.add_problems(problem);
  fill_replicas(core, holder, then, now, out);
  v1::IfHolderDies& dies = *out.mutable_if_holder_dies();
  if (then.decision.to) {
    dies.set_to(then.decision.to->value);
    dies.set_expected_ms(to_ms(promise_length(core.spec().lease.ttl, core.spec().lease.drift_ppm)) + kAfterVotesMs);
    dies.set_loss_bytes(then.decision.loss_bytes);
    dies.set_loss_unknown(then.evidence.end_unknown);
  } else {
    dies.set_reason(as_hypothesis(then.decision.reason, holder));
    dies.set_unblock(then.decision.unblock);
  }
}

/// Whether it is one whose engine elects by itself, and what was last seen of it; null: it is not, or nothing was seen yet.
const ObservedState* observed_of(const NodeCore& core, const ResourceSpec& spec) { return spec.leased ? nullptr : core.state().observed_of(spec.id); }

void fill_observed(const NodeCore& core, const ResourceSpec& spec, const ObservedState& said, const ResourceView& here, v1::ResourceStatus& out) {
  out.set_id(spec.id.value);
  out.set_engine(spec.engine);
  out.set_port(spec.port);
  out.set_paused(core.state().paused(spec.id));
  out.set_elected_by(said.seen.elected_by);
  out.set_election(said.seen.election);
  out.set_observed(said.changed.value);
  out.set_observed_at(time_text(said.changed_ns));
  out.set_observer(said.observer.value);
  out.set_source(said.seen.source);
  for (const std::string& problem : said.seen.problems) out.add_problems(problem);
  if (!said.seen.primary.empty()) out.set_holder(said.seen.primary.value);
  for (const MemberSeen& m : said.seen.members) {
    if (m.node == said.seen.primary && m.state == EngineState::kPrimary) {
      out.set_writable(takes_writes(m.state, m.health));
      out.set_holder_health(m.health);
      out.set_holder_role(m.role);
      out.set_holder_identity(m.identity);
      out.set_holder_version(m.version);
      continue;
    }
    v1::ReplicaView& to = *out.add_replicas();
    to.set_node(m.node.value);
    to.set_state(text_of(m.state));
    to.set_role(m.role);
    to.set_identity(m.identity);
    to.set_version(m.version);
    to.set_health(m.health);
    const auto at = std::ranges::find_if(here.members, [&](const MemberView& v) { return v.seen.node == m.node && v.seen.role == m.role; });
    if (at == here.members.end() || !at->lag_known) continue;
    to.set_lag_known(true);
    to.set_lag_bytes(at->lag_bytes);
    to.set_lag_ms(at->lag_ms);
    if (at->lag_transactions) to.set_lag_transactions(*at->lag_transactions);
  }
}

void warn_of_observed(const ObservedState& said, const ResourceId& id, v1::Status& out) {
  for (const MemberSeen& m : said.seen.members)
    if (!m.health.empty()) out.add_warnings(id.value + ": " + m.role + " of " + m.node.value + ": " + m.health);
  for (const std::string& problem : said.seen.problems) out.add_warnings(id.value + ": " + problem);
}

void fill_margin(const NodeCore& core, v1::Status& out) {
  const LeaseMargin* least = nullptr;
  for (const auto& [resource, agent] : core.agents()) {
    const LeaseMargin& margin = agent.holder().margin();
    if (margin.least != Duration::max() && (least == nullptr || margin.least < least->least)) least = &margin;
  }
  if (least == nullptr) return;
  out.set_lease_margin_min_ms(to_ms(least->least));
  out.set_lease_margin_slowest(least->slowest.value);
}

/// Its own, then what the agents of other nodes say in their beats, as long as they are heard.
void fill_waits(const NodeCore& core, Instant now, std::int64_t wall_ns, v1::Status& out) {
  const auto add = [&](const NodeId& node, const ResourceId& resource, const std::string& what, const std::string& unblock, Duration since) {
    v1::WaitStatus& to = *out.add_waits();
    to.set_node(node.value);
    to.set_resource(resource.value);
    to.set_what(what);
    to.set_since(time_text(wall_ns - since.count()));
    to.set_unblock(unblock);
  };
  const NodeId& self = core.identity().self;
  for (const Wait& wait : core.waits()) add(self, wait.resource, wait.what, wait.unblock, now - wait.since);
  for (const auto& [node, peer] : core.peers().all())
    if (node != self && is_reachable(core, node, now))
      for (const WaitNote& wait : peer.beat.waits)
        add(node, wait.resource, wait.what, wait.unblock, now - peer.heard + std::chrono::milliseconds(std::min(wait.for_ms, kLongestWaitMs)));
}

std::vector<std::string> not_ready(const NodeCore& core) {
  std::vector<std::string> reasons;
  if (core.state().applied.value == 0)
    reasons.push_back("nothing of the log is folded yet");
  else if (!core.caught_up())
    reasons.push_back("folded to " + std::to_string(core.state().applied.value) + " of " +
                      std::to_string(core.peers().head(core.state().log).value));
  const MemberState* me = core.state().member(core.identity().self);
  if (me != nullptr && me->intent != MemberIntent::kActive) reasons.push_back(std::string("this node is ") + text_of(me->intent));
  return reasons;
}

/// Another installation under a voter's id is heard, and does not vote.
std::vector<VoterInstance> voters_heard(const NodeCore& core, Instant now) {
  const auto is_heard = [&](const VoterInstance& v) {
    if (v.node == core.identity().self) return v.instance == core.identity().instance;
    const Peer* peer = core.peers().find(v.node);
    return peer != nullptr && peer->beat.instance == v.instance && is_reachable(core, v.node, now);
  };
  std::vector<VoterInstance> out;
  std::ranges::copy_if(core.state().voters.voters, std::back_inserter(out), is_heard);
  return out;
}

void fill_quorum(const VoterSet& set, const std::vector<VoterInstance>& heard, v1::Status& out) {
  const auto reachable = static_cast<std::uint32_t>(heard.size());
  v1::Quorum& quorum = *out.mutable_quorum();
  quorum.set_voters(static_cast<std::uint32_t>(set.voters.size()));
  quorum.set_reachable(reachable);
  quorum.set_failure_tolerance(reachable >= set.majority() ? reachable - set.majority() : 0);
}

/// A changed file is given to all nodes, one after the other: said of one that was left out. The cluster goes by a file that all voters have.
void warn_of_files(const NodeCore& core, Instant now, StatusMemory& memory, v1::Status& out) {
  std::map<std::string, std::vector<std::string>> nodes_of;
  nodes_of[core.identity().topology_hash].push_back(core.identity().self.value);
  for (const auto& [node, peer] : core.peers().all())
    if (node != core.identity().self && is_reachable(core, node, now) && !peer.beat.topology_hash.empty()) nodes_of[peer.beat.topology_hash].push_back(node.value);
  if (nodes_of.size() < 2) {
    memory.files_differ_since.reset();
    return;
  }
  if (!memory.files_differ_since) memory.files_differ_since = now;
  if (now - *memory.files_differ_since < kFilesAreNews) return;
  std::string all;
  for (const auto& [hash, nodes] : nodes_of) all += (all.empty() ? "" : "; another: ") + joined(nodes);
  out.add_warnings("not all nodes run with the same cluster file (" + all + "): give them the same one, and have it taken up: `systemctl reload daariond`");
}

void fill_warnings(const NodeCore& core, const std::vector<std::string>& said, v1::Status& out) {
  for (const std::string& warning : said) out.add_warnings(warning);
  for (const auto& [node, sequence] : core.peers().disagreeing())
    out.add_warnings("the digest of " + node.value + " differs from this node's at sequence " + std::to_string(sequence.value) +
                     "; run daarionctl replay on both");
  for (const auto& [node, sequence] : core.peers().disagreeing()) out.add_disagreeing(node.value);
  if (core.voter().clone_heard()) out.add_warnings("another daemon runs with this node's voter record: this voter is silent; end one");
  if (core.voter().foreign_log(core.state())) out.add_warnings("the log is not the one that this node's voter record names");
  if (core.state().voters.voters.size() == 1) out.add_warnings("one voter: nothing fails over by itself, and a lost host is an outage");
}

/// Since when this node could know of a decision: the least time within which a majority of the voters was heard.
void fill_staleness(const NodeCore& core, Instant now, v1::Status& out) {
  const Duration stale = core.peers().majority_silent(core.state().voters, now, core.started());
  out.set_stale_ms(to_ms(stale));
  if (stale > core.spec().lease.ttl)
    out.add_warnings("this node hears no majority of the voters for " + std::to_string(stale / std::chrono::seconds(1)) +
                     " s: what it says of the others is as old, and nothing is decided here");
}

/// It stays: what was lost may have been acted on. What it means for the status wears off.
bool fill_regressions(const NodeCore& core, std::int64_t wall_ns, v1::Status& out) {
  bool fresh = core.refolding();
  if (fresh) out.add_warnings("the log has lost events that this node had folded: it folds the log anew, and decides nothing until then");
  for (const Regression& r : core.state().log.regressions) {
    out.add_warnings("the log lost events " + std::to_string(r.head.value + 1) + " to " + std::to_string(r.folded.value) + ", " + r.node.value + " found at " +
                     time_text(r.stored_ns) + ": see daarionctl events --from " + std::to_string(r.sequence.value));
    fresh = fresh || wall_ns - r.stored_ns < kRegressionFreshNs;
  }
  out.set_log_regressions(static_cast<std::uint32_t>(core.state().log.regressions.size()));
  return fresh;
}

/// Where the voter set is not what is declared: how it came to be changed, or what the change waits for, events and waits say.
void note_voters(const NodeCore& core, v1::Status& out) {
  const VoterSet& set = core.state().voters;
  if (set.id.empty()) return;
  const std::vector<NodeId>& declared = core.context({}).spec.voters;
  for (const VoterInstance& v : set.voters) {
    const Peer* peer = core.peers().find(v.node);
    if (std::ranges::find(declared, v.node) == declared.end())
      out.add_notes("voter set: " + v.node.value + " is in it, and is not declared a voter; leave it running until it is out");
    else if (peer != nullptr && peer->beat.instance != v.instance)
      out.add_notes("voter set: " + v.node.value + " is in it as instance " + to_text(v.instance).substr(0, 8) + ", and is heard as " + to_text(peer->beat.instance).substr(0, 8));
  }
  for (const NodeId& node : declared)
    if (std::ranges::find(set.voters, node, &VoterInstance::node) == set.voters.end()) out.add_notes("voter set: " + node.value + " is declared a voter, and is not in it yet");
}

void fill_notes(const NodeCore& core, v1::Status& out) {
  note_voters(core, out);
  for (const ResourceSpec& spec : core.spec().resources) {
    const LeaseState* lease = core.state().lease(spec.id);
    if (!spec.leased || lease == nullptr || !lease->has_holder() || spec.declared_primary.empty()) continue;
    if (lease->completed.node != spec.declared_primary)
      out.add_notes(spec.id.value + ": declared " + spec.declared_primary.value + ", log " + lease->completed.node.value);
  }
}

v1::Status status_of(const NodeCore& core, const StatusView& view, const std::vector<std::string>& said, const ResourceViews& observed, Instant now,
                     std::int64_t wall_ns, StatusMemory& memory) {
  v1::Status out;
  out.set_schema_version(1);
  out.set_ready(view.ready);
  out.set_cluster(core.spec().cluster);
  out.set_node(core.identity().self.value);
  out.set_log_id(to_text(core.state().log.log));
  out.set_sequence(core.state().applied.value);
  out.set_digest(to_text(core.mark().digest));
  out.set_chain(core.mark().chain);
  out.set_feature_level(core.state().log.feature_level);
  fill_quorum(core.state().voters, view.voters_heard, out);
  fill_margin(core, out);
  fill_nodes(core, now, out);
  bool paused = false, writable = true;
  for (const ResourceSpec& spec : core.spec().resources) {
    if (const ObservedState* seen = observed_of(core, spec)) {
      const auto here = observed.find(spec.id);
      fill_observed(core, spec, *seen, here == observed.end() ? ResourceView{} : here->second, *out.add_resources());
      warn_of_observed(*seen, spec.id, out);
      if (here != observed.end())
        for (const std::string& note : here->second.notes) out.add_notes(spec.id.value + ": " + note);
    } else if (spec.leased) {
      fill_resource(core, spec, view.if_holder_dies.at(spec.id), now, *out.add_resources());
      for (const std::string& problem : out.resources().rbegin()->problems()) out.add_warnings(spec.id.value + ": " + problem);
      warn_of_bare(core, spec, view.if_holder_dies.at(spec.id), now, memory, out);
    } else {
      continue;
    }
    paused = paused || core.state().paused(spec.id);
    writable = writable && out.resources().rbegin()->writable();
  }
  fill_waits(core, now, wall_ns, out);
  fill_warnings(core, said, out);
  warn_of_files(core, now, memory, out);
  fill_staleness(core, now, out);
  fill_notes(core, out);
  for (const std::string& reason : view.reasons) out.add_not_ready(reason);
  const bool calm = out.warnings().empty();
  const bool regressed = fill_regressions(core, wall_ns, out);
  const bool whole = writable && out.quorum().reachable() == out.quorum().voters() && calm && !regressed;
  out.set_status(paused ? "maintenance" : whole ? "ok" : "degraded");
  return out;
}

v1::Peers peers_of(const NodeCore& core, Instant now) {
  v1::Peers out;
  out.set_schema_version(1);
  out.set_node(core.identity().self.value);
  for (const auto& [node, peer] : core.peers().all()) {
    if (node == core.identity().self) continue;
    v1::PeerStatus& to = *out.add_peers();
    to.set_id(node.value);
    for (const auto& [via, heard] : peer.paths) {
      v1::PathStatus& path = *to.add_paths();
      path.set_via(via);
      path.set_connected(now - heard < core.spec().lease.ttl);
      path.set_last_beat_age_ms(to_ms(now - heard));
    }
  }
  return out;
}

}  // namespace

StatusView::Role role_of(const EngineReport& engine, bool has_lease, Lsn primary, const ResourceTags& tags) {
  StatusView::Role role{.resource = engine.resource, .primary = takes_writes(engine.state, engine.health) && has_lease, .leads = has_lease,
                        .replica = engine.state == EngineState::kStandby && engine.streaming, .balanced = !tags.noloadbalance, .state = engine.state};
  // Who reads there sees what is replayed, however much more has come.
  const Lsn shown = engine.state == EngineState::kStandby ? std::min(engine.position.lsn, engine.replayed) : engine.position.lsn;
  if (primary > shown) role.lag_bytes = primary.value - shown.value;
  return role;
}

StatusView make_status(const NodeCore& core, const std::vector<std::string>& warnings, Instant now, std::int64_t wall_ns, StatusMemory& memory,
                       const ResourceViews& observed) {
  StatusView view;
  view.reasons = not_ready(core);
  view.ready = view.reasons.empty();
  view.alone = contact_of(core, now).alone;
  view.state = core.state_ptr();
  view.voters_heard = voters_heard(core, now);
  for (const ResourceSpec& spec : core.spec().resources)
    if (spec.leased) {
      view.if_holder_dies[spec.id] = core.preview(spec.id, true, now);
      if (auto lost = core.lost_holder(spec.id, now)) view.lost[spec.id] = std::move(*lost);
    }
  view.status = std::make_shared<const v1::Status>(status_of(core, view, warnings, observed, now, wall_ns, memory));
  view.status_json = to_json(*view.status);
  view.peers_json = to_json(peers_of(core, now));
  const NodeId& self = core.identity().self;
  const auto tags_here = [&](const ResourceId& resource) {
    const ResourceSpec* spec = core.spec().resource(resource);
    return spec == nullptr ? ResourceTags{} : spec->tags_of(self);
  };
  for (const auto& [resource, agent] : core.agents()) {
    const EngineReport engine = agent.engine(now);
    const PrimaryTrack* primary = core.peers().primary(resource);
    view.roles.push_back(role_of(engine, agent.holder().has_lease(now), primary ? primary->position.lsn : Lsn{}, tags_here(resource)));
  }
  for (const auto& [id, here] : observed)
    for (const MemberView& m : here.members)
      if (m.seen.node == self && !is_helper(m.seen.role))
        view.roles.push_back({.resource = id, .primary = takes_writes(m.seen.state, m.seen.health) && here.primary == self, .leads = here.primary == self,
                              .replica = m.seen.state == EngineState::kStandby && m.seen.health.empty() && m.lag_known,
                              .balanced = !tags_here(id).noloadbalance, .lag_bytes = m.lag_transactions.value_or(m.lag_bytes), .state = m.seen.state});
  return view;
}

}  // namespace daarion
