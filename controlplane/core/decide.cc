#include "controlplane/core/decide.h"

#include <algorithm>
#include <tuple>

#include "controlplane/core/plant.h"

namespace daarion {
namespace {

std::string with_number(const char* before, std::uint64_t n, const char* after) {
  return std::string(before) + std::to_string(n) + after;
}

bool has_data(EngineState state) {
  return state == EngineState::kStandby || state == EngineState::kPrimary || state == EngineState::kStopped ||
         state == EngineState::kStarting;
}

Objection object_to_member(const Evidence& e, const CandidateEvidence& c) {
  if (c.intent != MemberIntent::kActive) return {"not_active", std::string("its intent is ") + text_of(c.intent)};
  if (c.tags.nofailover && e.wanted != c.node) return {"nofailover", "tagged nofailover"};
  if (!c.heard) return {"unreachable", "never heard in this log"};
  if (c.beat_age_ms > e.unreachable_ms)
    return {"unreachable", with_number("silent for ", c.beat_age_ms, " ms") + with_number(", limit ", e.unreachable_ms, " ms")};
  if (c.session.empty()) return {"no_session", "it offers no session: its guard is not running"};
  return {};
}

Objection object_to_engine(const Evidence& e, const CandidateEvidence& c) {
  const EngineState state = c.engine.state;
  if (state == EngineState::kForeign) return {"no_engine", "its data directory is not ours"};
  if (e.kind == DecisionKind::kBootstrap) {
    if (c.node != e.declared_primary) return {"not_declared", "the log is empty and another node is declared primary"};
    if (state == EngineState::kUnknown || state == EngineState::kUnresponsive)
      return {"no_engine", std::string("its engine is ") + text_of(state)};
    return {};
  }
  if (!has_data(state)) return {"no_engine", std::string("its engine is ") + text_of(state)};
  if (state != EngineState::kStandby) return {"not_standby", std::string("its engine is ") + text_of(state)};
  if (!e.last_position.identity.empty() && c.engine.position.identity != e.last_position.identity)
    return {"other_identity", "its data are of " + c.engine.position.identity + ", the holder's of " + e.last_position.identity};
  const bool forgiven = e.allow_data_loss && e.wanted == c.node;
  if (!forgiven && !shares_history(e, c) && !PLANTED(kAncestryIgnored))
    return {"diverged", with_number("timeline ", c.engine.position.timeline, "") +
                            with_number(" at ", c.engine.position.lsn.value, " is not in the holder's history")};
  if (!c.engine.blocked.empty()) return {"cannot_replay", c.engine.blocked};
  if (const std::string lacks = lacks_beyond_holder(e, c); !forgiven && !lacks.empty()) return {"unfit", "it lacks " + lacks};
  return {};
}

Objection object_to_lag(const Evidence& e, const CandidateEvidence& c) {
  if (e.kind == DecisionKind::kBootstrap || PLANTED(kLagIgnored)) return {};
  if (e.accepts_loss_of(c.node)) return {};
  const std::uint64_t behind = lag_bytes(e, c);
  if (e.final_position && behind > 0)
    return {"loses_writes", with_number("the holder stopped cleanly, and this lacks its last ", behind, " bytes")};
  if (behind > e.limits.bytes)
    return {"lag_bytes", with_number("", behind, " bytes behind") + with_number(", limit ", e.limits.bytes, "")};
  if (c.lag_ms > e.limits.time_ms)
    return {"lag_ms", with_number("", c.lag_ms, " ms behind") + with_number(", limit ", e.limits.time_ms, "")};
  if (!e.final_position && c.engine.contact_age_ms > e.limits.staleness_ms)
    return {"staleness", with_number("heard its primary ", c.engine.contact_age_ms, " ms ago") +
                             with_number(", limit ", e.limits.staleness_ms, "")};
  return {};
}

/// Whether all that the node had when the lease ended is in its position: what it confirms later, nobody acknowledges. Of an engine that ended the
/// position may be of before its end (simulator seed 25407).
bool shows_all(const Evidence& e, const CandidateEvidence& c) {
  return c.heard && c.beat_age_ms <= e.unreachable_ms && c.engine.state == EngineState::kStandby && c.engine.position.timeline != 0 && c.engine.age_ms <= e.settled_ms;
}

Objection object_to_shown(const Evidence& e, const CandidateEvidence& c) {
  return object_to_sync(e, c, [&](const CandidateEvidence& other) { return shows_all(e, other); });
}

Verdict judge(const Evidence& e, const CandidateEvidence& c) {
  for (const auto rule : {object_to_member, object_to_engine, object_to_lag, object_to_shown})
    if (Objection o = rule(e, c); !o.rule.empty()) return {c.node, false, std::move(o.rule), std::move(o.detail)};
  if (e.kind == DecisionKind::kBootstrap) return {c.node, true, "eligible", "declared primary, the log is empty"};
  return {c.node, true, "eligible",
          with_number("", lag_bytes(e, c), " bytes and ") + with_number("", c.lag_ms, " ms behind")};
}

/// Who does not read the log cannot take over, however far its data are: anybody else within the limits is chosen before it, but not before
/// whom an operator asked for. Where nobody else is left, it is named all the same: it may hear of it.
void pass_over_deaf(const Evidence& e, std::vector<Verdict>& verdicts) {
  bool hears = false;
  for (std::size_t i = 0; i < verdicts.size(); ++i) hears = hears || (verdicts[i].eligible && !e.candidates[i].deaf);
  for (std::size_t i = 0; i < verdicts.size() && hears; ++i) {
    const CandidateEvidence& c = e.candidates[i];
    if (!verdicts[i].eligible || !c.deaf || c.node == e.wanted) continue;
    MARK(kOtherThanDeaf);
    verdicts[i] = {c.node, false, "deaf", "it has not read the newest decision in the log, and others have"};
  }
}

/// True if `a` is to be preferred to `b`.
bool better(const CandidateEvidence& a, const CandidateEvidence& b) {
  if (is_further(a.engine, b.engine)) return !PLANTED(kWorstCandidate);
  if (is_further(b.engine, a.engine)) return PLANTED(kWorstCandidate);
  if (a.tags.priority != b.tags.priority) return a.tags.priority > b.tags.priority;
  return a.node < b.node;
}

std::string first_objection(const Decision& d) {
  std::string all;
  for (const Verdict& v : d.verdicts) all += (all.empty() ? "" : "; ") + v.node.value + ": " + v.detail;
  return all.empty() ? "the resource has no members" : all;
}

/// Whether the log and the voters allow a decision at all.
std::string object_to_deciding(const Evidence& e) {
  if (e.voters == 0) return "there is no voter set yet";
  if (e.votes.size() < e.voters / 2 + 1 && !PLANTED(kVotesIgnored))
    return with_number("", e.votes.size(), "") + with_number(" of ", e.voters, " voters say that the promise is over: no majority");
  const bool asked = e.kind == DecisionKind::kSwitchover || e.kind == DecisionKind::kForced;
  if (e.paused && !asked) return "automatic failover is paused";
  if (e.kind == DecisionKind::kFailover && e.max_promotions > 0 && e.promotions >= e.max_promotions)
    return with_number("", e.promotions, " automatic promotions in the window") + with_number(", limit ", e.max_promotions, " (control.max_promotions)");
  return {};
}

}  // namespace

bool is_further(const EngineReport& a, const EngineReport& b) {
  const bool known = a.opened_epoch.value != 0 && b.opened_epoch.value != 0 && opener_of(a) != opener_of(b);
  if (known && a.opened_epoch != b.opened_epoch && !PLANTED(kNumbersTell)) return a.opened_epoch > b.opened_epoch;
  return std::tie(a.position.timeline, a.position.lsn) > std::tie(b.position.timeline, b.position.lsn);
}

Objection object_to_sync(const Evidence& e, const CandidateEvidence& c, const std::function<bool(const CandidateEvidence&)>& shows_all) {
  if (e.kind == DecisionKind::kBootstrap || PLANTED(kSyncIgnored)) return {};
  if (e.accepts_loss_of(c.node)) return {};
  for (const SyncEvidence& s : e.sync) {
    if (c.node == s.writer || (e.final_position && s.writer == e.last_holder)) continue;
    std::uint64_t heard = 0;
    const CandidateEvidence* ahead = nullptr;
    for (const CandidateEvidence& other : e.candidates) {
      if (std::ranges::find(s.members, other.node) == s.members.end() || !shows_all(other)) continue;
      ++heard;
      if (is_further(other.engine, c.engine) && (ahead == nullptr || is_further(other.engine, ahead->engine))) ahead = &other;
    }
    const std::uint64_t wanted = s.members.size() + 1 - std::min<std::uint64_t>(s.needed, s.members.size());
    if (heard < wanted)
      return {"sync_unheard", with_number("", heard, "") + with_number(" of the ", s.members.size(), " replicas that confirmed the writes of ") + s.writer.value +
                                  with_number(" show what they have, ", wanted, " must, or an acknowledged write could be missing")};
    if (ahead != nullptr) return {"not_in_sync_set", ahead->node.value + " has more, which may have been acknowledged"};
  }
  return {};
}

std::uint64_t lag_bytes(const Evidence& e, const CandidateEvidence& c) {
  const auto have = c.engine.position.lsn.value;
  return e.last_position.lsn.value > have ? e.last_position.lsn.value - have : 0;
}

std::string lacks_beyond_holder(const Evidence& e, const CandidateEvidence& c) {
  const auto holder = std::ranges::find(e.candidates, e.last_holder, &CandidateEvidence::node);
  std::string out;
  for (const std::string& lack : c.engine.lacks)
    if (holder == e.candidates.end() || std::ranges::find(holder->engine.lacks, lack) == holder->engine.lacks.end()) out += (out.empty() ? "" : ", ") + lack;
  return out;
}

bool shares_history(const Evidence& e, const CandidateEvidence& c) {
  const Position& p = c.engine.position;
  if (e.last_position.timeline == 0) return true;
  // The same number may be another one's: it was opened, and lost before anybody followed it.
  const auto same = std::ranges::find(e.timelines, p.timeline, &TimelineStart::timeline);
  const bool another = same != e.timelines.end() && !same->session.empty() && !opener_of(c.engine).empty() && same->session != opener_of(c.engine);
  if (another && !PLANTED(kNumbersTell)) {
    MARK(kAnothersNumber);
    return false;
  }
  if (p.timeline == e.last_position.timeline) return true;
  if (p.timeline > e.last_position.timeline) return false;
  // On an older timeline: fine as long as it did not pass the point where the next one left it.
  const TimelineStart* next = nullptr;
  for (const TimelineStart& t : e.timelines)
    if (t.timeline > p.timeline && (next == nullptr || t.timeline < next->timeline)) next = &t;
  return next != nullptr && p.lsn <= next->lsn;
}

Decision decide(const Evidence& e) {
  Decision d;
  d.epoch = e.log_epoch;
  for (const VoteEvidence& v : e.votes) d.epoch = std::max(d.epoch, v.highest);
  d.epoch.value += 1;
  const CandidateEvidence* best = nullptr;
  const CandidateEvidence* wanted = nullptr;
  for (const CandidateEvidence& c : e.candidates) d.verdicts.push_back(judge(e, c));
  pass_over_deaf(e, d.verdicts);
  for (std::size_t i = 0; i < e.candidates.size(); ++i) {
    const CandidateEvidence& c = e.candidates[i];
    if (!d.verdicts[i].eligible) continue;
    if (best == nullptr || better(c, *best)) best = &c;
    if (c.node == e.wanted) wanted = &c;
  }
  if (std::string no = object_to_deciding(e); !no.empty()) {
    d.reason = std::move(no);
    d.unblock = e.paused ? kUnblockPause : "daarionctl failover " + e.resource.value + " --to " + (best ? best->node.value : "NODE") + " --reason TEXT";
    if (e.votes.size() < e.voters / 2 + 1) d.unblock = "daarionctl nodes";
    return d;
  }
  if (best == nullptr) {
    d.reason = "nobody can be promoted: " + first_objection(d);
    d.unblock = "daarionctl failover " + e.resource.value + " --to NODE --allow-data-loss --reason TEXT";
    return d;
  }
  const CandidateEvidence& chosen = wanted ? *wanted : *best;
  if (wanted)
    for (Verdict& v : d.verdicts)
      if (v.eligible && v.node != e.wanted) v = {v.node, false, "not_wanted", "an operator asked for " + e.wanted.value};
  d.to = chosen.node;
  d.session = chosen.session;
  d.instance = chosen.instance;
  if (e.kind != DecisionKind::kBootstrap && !e.final_position) {
    // The holder may have written on for as long as its position is old, at the highest rate heard of late.
    d.loss_bytes = lag_bytes(e, chosen) + e.write_rate * e.last_position_age_ms / 1000;
  } else if (e.kind != DecisionKind::kBootstrap) {
    d.loss_bytes = lag_bytes(e, chosen);
  }
  d.reason = e.kind == DecisionKind::kBootstrap
                 ? chosen.node.value + " is declared primary and the log is empty"
                 : with_number("the lease of epoch ", e.log_epoch.value, " is over by ") +
                       with_number("", e.votes.size(), " votes; ") + chosen.node.value +
                       with_number(" is ", lag_bytes(e, chosen), " bytes behind");
  return d;
}

}  // namespace daarion
