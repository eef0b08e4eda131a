#include "tests/sim/checker.h"

#include <algorithm>

#include "controlplane/core/decide.h"
#include "tests/sim/world.h"

namespace daarion::sim {
namespace {
// After the heal: a lease's end, an election, a rejoin with its backoff, and some room.
constexpr std::int64_t kLiveWithinMs = 30'000;
// The announced loss counts with a rate, and engines here write by chance: ten of their turns, at most; and, where messages are slow, what they write while
// one is under way. Without that room five of 15 000 seeds are found (4617, 5194, 8634, 12908, 14929), each with slow messages: not explained yet.
constexpr std::uint64_t kMostInATurn = 4000;
constexpr std::uint64_t kSlackTurns = 10;

std::string text(Epoch epoch) { return "epoch " + std::to_string(epoch.value); }

/// Whether the position lies on the holder's history, by the evidence. Written down here once more, so that the decider's own word
/// does not count.
bool on_history(const Evidence& e, const EngineReport& engine) {
  const Position& p = engine.position;
  if (e.last_position.timeline == 0) return true;
  const SessionId& by = opener_of(engine);
  for (const TimelineStart& t : e.timelines)
    if (t.timeline == p.timeline && t.session != by && !t.session.empty() && !by.empty()) return false;
  if (p.timeline == e.last_position.timeline) return true;
  if (p.timeline > e.last_position.timeline) return false;
  std::uint64_t next = 0;
  Lsn left{};
  for (const TimelineStart& t : e.timelines)
    if (t.timeline > p.timeline && (next == 0 || t.timeline < next)) next = t.timeline, left = t.lsn;
  return next != 0 && p.lsn <= left;
}
}  // namespace

void Checker::fail(const std::string& what) {
  if (failure_.empty()) failure_ = "at " + std::to_string(to_ms(world_.now().time_since_epoch())) + " ms: " + what;
}

void Checker::one_writer(const Host& host) {
  for (const auto& other : world_.hosts())
    if (other.get() != &host && other->engine.writable())
      fail("invariant 1: " + host.id.value + " (" + text(host.engine.epoch) + ") and " + other->id.value + " (" + text(other->engine.epoch) +
           ") are writable at once");
}

/// A writer stands on a majority of promises, of the present set or of the one before it: when a set is made, nobody may hold by an older one.
/// Where the log lost a set, what came before it there is the one before the present one as well.
void Checker::majority_promised(const Host& host) {
  const VoterSet& present = world_.reference().voters;
  const std::uint32_t now = promises_in(present, host);
  if (now >= present.majority()) return;
  for (auto set = sets_.rbegin(); set != sets_.rend(); ++set) {
    if (set->id == present.id) continue;
    if (promises_in(*set, host) >= set->majority()) return;
    if (!world_.tail_lost()) break;
  }
  fail("invariant 2: " + host.id.value + " writes under " + text(host.engine.epoch) + " with " + std::to_string(now) + " of " +
       std::to_string(present.voters.size()) + " promises");
}

/// A voter that is down, blank, or does not know whom it owes what, is silent, which is as good as a promise for as long as it lasts. So is one whose
/// record is gone: nothing answers for it ever again.
std::uint32_t Checker::promises_in(const VoterSet& set, const Host& host) const {
  std::uint32_t for_it = 0;
  for (const VoterInstance& v : set.voters) {
    const auto at = std::ranges::find_if(world_.hosts(), [&](const auto& h) { return h->id == v.node && h->record && h->record->instance == v.instance; });
    if (at == world_.hosts().end() || !(*at)->core || (*at)->core->voter().blank() || (*at)->core->voter().withholds(kPostgres)) {
      ++for_it;
      continue;
    }
    const Voter& voter = (*at)->core->voter();
    const auto until = voter.promised_until(kPostgres, host.engine.session, world_.local(**at));
    if (until && voter.record().promises.at(kPostgres).epoch >= host.engine.epoch) ++for_it;
  }
  return for_it;
}

void Checker::epoch_is_its_own(const Host& host) {
  const auto [wrote, fresh] = wrote_.try_emplace(host.engine.epoch, host.engine.session);
  if (!fresh && wrote->second != host.engine.session) fail("invariant 2: two sessions wrote under " + text(host.engine.epoch));
  if (host.engine.epoch < newest_) fail("invariant 2: " + text(host.engine.epoch) + " writes after " + text(newest_));
  newest_ = std::max(newest_, host.engine.epoch);
}

void Checker::opened(const Host& host) {
  one_writer(host);
  majority_promised(host);
  epoch_is_its_own(host);
  if (!opened_.try_emplace(host.engine.session, host.engine.epoch).second) fail("invariant 2: a session of " + host.id.value + " opened an engine a second time");
  has_all_acknowledged(host);
  open_since_[host.index] = world_.now();
  world_.counters().add("opened");
}

void Checker::acknowledged(const Host& host, const Position& position) {
  if (host.engine.session == acknowledged_by_ && position.lsn <= acknowledged_.lsn) return;
  acknowledged_ = position;
  acknowledged_by_ = host.engine.session;
}

/// Its history has that timeline of the newest acknowledged commit, and has left it after that one.
void Checker::has_all_acknowledged(const Host& host) {
  if (acknowledged_.timeline == 0) return;
  const auto& history = host.engine.data.history;
  const auto its = std::ranges::find(history, acknowledged_by_, &TimelineStart::session);
  const auto left = its == history.end() ? its : its + 1;
  if (left != history.end() && left->lsn >= acknowledged_.lsn) return world_.counters().add("opened with all that was acknowledged");
  if (!may_lose_.contains(host.engine.session))
    fail("sync: " + host.id.value + " was promoted without what was acknowledged up to " + std::to_string(acknowledged_.lsn.value) + " of timeline " +
         std::to_string(acknowledged_.timeline));
  world_.counters().add("opened without, as was asked for");
  acknowledged_ = {};
  acknowledged_by_ = {};
}

void Checker::raised(const Host& host) {
  one_writer(host);
  majority_promised(host);
  epoch_is_its_own(host);
  world_.counters().add("epochs raised while writing");
}

void Checker::writes(const Host& host) {
  one_writer(host);
  majority_promised(host);
  if (host.engine.epoch < newest_) fail("invariant 2: an older epoch goes on writing");
  tail_ = {host.id, host.engine.session, host.engine.data.position};
}

/// A promise only runs out, so what holds in the last instant held in all before it.
void Checker::closes(const Host& host) {
  majority_promised(host);
  const auto since = open_since_.find(host.index);
  if (since == open_since_.end()) return fail("invariant 2: " + host.id.value + " was writable and was never opened");
  written_.push_back({host.id.value, host.engine.epoch, since->second, world_.now()});
  open_since_.erase(since);
}

void Checker::intervals_do_not_overlap() {
  for (const auto& [index, since] : open_since_)
    written_.push_back({world_.hosts()[static_cast<std::size_t>(index)]->id.value, {}, since, world_.now()});
  std::ranges::sort(written_, {}, &Written::from);
  for (std::size_t i = 1; i < written_.size(); ++i)
    if (written_[i].from < written_[i - 1].until)
      fail("invariant 1: " + written_[i - 1].node + " was writable until after " + written_[i].node + " was");
}

/// Whether more is lost than is announced: what who wrote last had, and the chosen one lacks, while nobody writes. Empty: no, or it says that nobody knows.
std::string Checker::loss_understated(const PromotionDecided& decided) const {
  const Evidence& e = decided.evidence;
  if (e.kind == DecisionKind::kBootstrap || decided.kind == DecisionKind::kKeep || tail_.wrote.timeline == 0 || e.end_unknown || world_.tail_lost()) return {};
  const auto has_it = [&](const auto& host) { return host->engine.writable() || (host->id == decided.to && host->engine.data.opened == tail_.session); };
  if (std::ranges::any_of(world_.hosts(), has_it)) return {};
  const std::string whose = tail_.node.value + "'s timeline " + std::to_string(tail_.wrote.timeline);
  // By who opened it, as its number may be another one's too.
  const SessionId counts_from = e.timelines.empty() ? SessionId{} : e.timelines.back().session;
  const auto from = opened_.find(counts_from);
  const auto wrote = opened_.find(tail_.session);
  if (counts_from != tail_.session && from != opened_.end() && wrote != opened_.end() && from->second > wrote->second) return {};  // opened after it, and nothing was written
  if (counts_from != tail_.session) return "it counts from timeline " + std::to_string(e.last_position.timeline) + ", and " + whose + " was written";
  const auto chosen = std::ranges::find(e.candidates, decided.to, &CandidateEvidence::node);
  if (chosen == e.candidates.end() || chosen->engine.position.lsn >= tail_.wrote.lsn) return {};
  const std::uint64_t lost = tail_.wrote.lsn.value - chosen->engine.position.lsn.value;
  const std::uint64_t slack = decided.loss_bytes / 4 + kSlackTurns * kMostInATurn;
  const bool exact = e.final_position || e.write_rate == 0;
  if (lost <= decided.loss_bytes + (exact ? 0 : slack)) return {};
  return std::to_string(lost) + " bytes of " + whose + " are lost, announced " + std::to_string(decided.loss_bytes) + ", last heard " + std::to_string(e.last_position_age_ms) + " ms before at " + std::to_string(e.write_rate) + " bytes/s";
}

void Checker::asks(const Host& host, const AppendRequest& request) {
  const auto* decided = std::get_if<PromotionDecided>(&request.payload);
  if (decided != nullptr) understated_[{host.id, decided->session, request.epoch, decided->evidence.folded}] = loss_understated(*decided);
}

void Checker::stored(const LogEvent& event) {
  const EventHeader& header = event.event.header;
  world_.counters().add(payload_name(event.event.payload));
  if (std::holds_alternative<LeaseReleased>(event.event.payload) && header.actor != "operator:chance") ++releases_;
  if (header.reason.empty()) fail("a decision event without a reason");
  const std::uint64_t next = world_.reference_at(Sequence{event.sequence.value - 1}).version_of(header.aggregate).value + 1;
  if (!world_.tail_lost() && header.version.value != next)
    fail("invariant 3: version " + std::to_string(header.version.value) + " of " + header.aggregate.kind + " " + header.aggregate.name +
         " was stored where " + std::to_string(next) + " was to come");
  if (const auto* decided = std::get_if<PromotionDecided>(&event.event.payload)) {
    named_[decided->session] = decided->to;
    if (decided->evidence.allow_data_loss) may_lose_.insert(decided->session);
    // Once it was named without an instance, any instance of the node may speak for it, also a second host that never had it.
    if (decided->instance.empty()) anybodys_.insert(decided->session);
    const auto [instance, fresh] = named_instance_.try_emplace(decided->session, decided->instance);
    if (!fresh && (decided->instance.empty() || instance->second != decided->instance)) instance->second = {};
    if (decided->kind != DecisionKind::kKeep && header.actor != "operator:chance") decided_well(event, *decided);
  }
  folded_well(event);
}

void Checker::decided_well(const LogEvent& event, const PromotionDecided& decided) {
  const Evidence& e = decided.evidence;
  const Decision again = decide(e);
  const std::string name = "decision " + std::to_string(event.sequence.value);
  if (again.to != decided.to || again.session != decided.session || again.instance != decided.instance || again.epoch != event.event.header.epoch ||
      again.verdicts != decided.verdicts || again.loss_bytes != decided.loss_bytes)
    fail("invariant 6: " + name + " is another one when made again from its evidence");
  std::set<NodeId> votes;
  for (const VoteEvidence& vote : e.votes) votes.insert(vote.voter);
  if (votes.size() < e.voters / 2 + 1)
    fail("invariant 2: " + name + " was made with " + std::to_string(votes.size()) + " of " + std::to_string(e.voters) + " votes");
  if (const std::string& wrong = understated_[{event.event.header.node, decided.session, event.event.header.epoch, e.folded}]; !wrong.empty())
    fail("loss: " + name + " announces too little: " + wrong);
  const LeaseState* lease = world_.reference_at(Sequence{event.sequence.value - 1}).lease(kPostgres);
  // After a lost tail, what was decided on the lost events may come late and find its version free: the decider was shown no end. Such a
  // decision is over as soon as it is folded.
  if (!world_.tail_lost() && lease && lease->has_ended(decided.session)) fail("invariant 2: " + name + " names a session whose end the log had shown");
  for (const Verdict& v : decided.verdicts) world_.counters().add("verdict " + v.rule);
  if (e.kind == DecisionKind::kBootstrap || e.allow_data_loss) return;
  const auto chosen = std::ranges::find(e.candidates, decided.to, &CandidateEvidence::node);
  if (chosen == e.candidates.end()) return fail(name + " names a node that is not a member");
  const Position& at = chosen->engine.position;
  const std::uint64_t behind = e.last_position.lsn.value > at.lsn.value ? e.last_position.lsn.value - at.lsn.value : 0;
  if (!on_history(e, chosen->engine)) fail("ancestry: " + name + " names " + decided.to.value + ", whose data have left the holder's history");
  if (behind > (e.final_position ? 0 : e.limits.bytes))
    fail("lag: " + name + " names " + decided.to.value + ", which is " + std::to_string(behind) + " bytes behind");
  for (std::size_t i = 0; i < e.candidates.size() && i < decided.verdicts.size(); ++i) {
    // Whoever may be chosen has the same history: of its timelines the higher number is later.
    const Position& other = e.candidates[i].engine.position;
    if (decided.verdicts[i].eligible && std::pair(other.timeline, other.lsn) > std::pair(at.timeline, at.lsn))
      fail("lag: " + name + " names " + decided.to.value + ", and " + e.candidates[i].node.value + " has more");
  }
}

/// What the rules of the fold must have made of the event, judged without them.
void Checker::folded_well(const LogEvent& event) {
  const State& before = world_.reference_at(Sequence{event.sequence.value - 1});
  const State& after = world_.reference();
  if (after.voters.id != before.voters.id) {
    sets_.push_back(after.voters);
    std::size_t kept = 0;
    for (const VoterInstance& v : after.voters.voters) kept += before.voters.has(v.node, v.instance) ? 1 : 0;
    if (!before.voters.id.empty()) {
      const bool overridden = std::holds_alternative<OverrideGranted>(event.event.payload);
      world_.counters().add(overridden ? "overrides granted" : "voter sets changed");
      if (overridden && std::ranges::any_of(world_.hosts(), [&](const auto& h) { return h->engine.writable() && (!h->record || !after.voters.has(h->id, h->record->instance)); }))
        world_.counters().add("overrides beside a holder");
      if (overridden && (kept != after.voters.voters.size() || kept >= before.voters.majority())) fail("invariant 2: an override left a majority, or strangers");
      if (!overridden && before.voters.voters.size() + after.voters.voters.size() - 2 * kept > 1) fail("invariant 2: two voters were changed at once");
    }
  }
  const LeaseState* was = before.lease(kPostgres);
  const LeaseState* is = after.lease(kPostgres);
  if (is == nullptr) return;
  if (was && is->decided != was->decided && is->epoch <= was->epoch)
    fail("invariant 2: the fold took the decision of " + text(is->epoch) + " after one of " + text(was->epoch));
  if (is->completed.epoch.value != 0 && was && is->completed.epoch < was->completed.epoch) fail("invariant 2: a completed epoch went back");
  for (const EndedSession& end : is->ended) {
    if (!(was && was->has_ended(end.session)) && !anybodys_.contains(end.session) && world_.is_run(end.session))
      fail("invariant 2: the log shows the end of a session that " + end.node.value + "'s guard has");
    const auto node = named_.find(end.session);
    if (node == named_.end() || (was && was->has_ended(end.session))) continue;
    const InstanceId& instance = named_instance_[end.session];
    if (node->second != end.node || (!instance.empty() && instance != end.instance))
      fail("invariant 2: the end of a session of " + node->second.value + " was taken from " + end.node.value + ", or another instance of it");
  }
}

void Checker::tail_lost() {
  const LeaseState* lease = world_.reference().lease(kPostgres);
  if (lease != nullptr) world_.counters().add(lease->epoch < newest_ ? "tails lost with an epoch that wrote" : "tails lost without");
}

void Checker::folded(const Host& host) {
  if (!(*host.state == world_.reference_at(host.state->applied)))
    fail("invariant 4: the state of " + host.id.value + " differs from others' at sequence " + std::to_string(host.state->applied.value));
  const MemberState* me = host.state->member(host.id);
  if (me != nullptr && me->boot == host.boot && me->returned.value != 0) owe_silence_.erase(host.index);
}

void Checker::replaced(const Host& host) { owe_silence_.erase(host.index); }

void Checker::rebooted(const Host& host) {
  if (host.record && !host.record->boot.empty()) owe_silence_.insert(host.index);
}

void Checker::speaks(const Host& host) {
  if (owe_silence_.contains(host.index)) fail("promise: the voter of " + host.id.value + " speaks after a reboot and has not folded its return");
}

void Checker::acks(const Host& host, const Ack& ack) {
  speaks(host);
  const LeaseState* lease = host.state->lease(kPostgres);
  for (const AckedClaim& claim : ack.accepted)
    for (const EndedSession& end : lease ? lease->ended : std::vector<EndedSession>{}) {
      const auto promise = host.core->voter().record().promises.find(claim.resource);
      if (end.session == claim.session && promise != host.core->voter().record().promises.end() && promise->second.node == end.node &&
          promise->second.instance == end.instance)
        fail("promise: the voter of " + host.id.value + " acks a session whose end it folded");
    }
}

void Checker::recorded(const Host& host, const VoterRecord& record) {
  for (const auto& [resource, was] : host.record->promises) {
    const auto is = record.promises.find(resource);
    if (is == record.promises.end()) fail("promise: the voter of " + host.id.value + " forgot one");
    else if (is->second.epoch < was.epoch || (is->second.epoch == was.epoch && is->second.session != was.session))
      fail("promise: the voter of " + host.id.value + " promised " + text(is->second.epoch) + " to another session after " + text(was.epoch));
  }
}

void Checker::healed() {
  if (world_.knobs().log_faults_only && releases_ != 0)
    fail("invariant 10: a healthy primary was demoted although only JetStream suffered");
}

std::string Checker::unfollowed(const Host& writer) const {
  std::string out;
  const State& state = world_.reference();
  const ResourceSpec* spec = state.topology.spec.resource(kPostgres);
  for (const auto& host : world_.hosts()) {
    if (host->gone || host.get() == &writer || spec == nullptr || !spec->has_member(host->id)) continue;
    if (host->id == writer.id) continue;  // a second host with the writer's id: who of the two is which is an operator's business
    if (!host->engine.running || host->engine.primary || !host->engine.streaming || host->engine.upstream != writer.id) out += " " + host->id.value;
  }
  return out;
}

void Checker::finish() {
  last_look();
  const Host* writer = nullptr;
  std::string waits;
  for (const auto& host : world_.hosts()) {
    if (host->engine.writable()) writer = host.get();
    if (!host->core) continue;
    for (const Wait& wait : host->core->waits()) {
      waits += "; " + host->id.value + ": " + wait.what;
      if (wait.what.empty() || wait.unblock.empty()) fail("invariant 11: a wait without a name or a way out on " + host->id.value);
    }
  }
  if (writer == nullptr) return fail("liveness: no writer " + std::to_string(kLiveWithinMs) + " ms after the heal" + waits);
  if (const std::string who = unfollowed(*writer); !who.empty())
    fail("liveness: " + writer->id.value + " writes, and these do not follow it " + std::to_string(kLiveWithinMs) + " ms after the heal:" + who + waits);
  if (!world_.set_is_whole() && !world_.one_id_twice()) {
    std::string set;
    for (const VoterInstance& v : world_.reference().voters.voters) set += " " + v.node.value;
    fail("liveness: the voter set has not come to be what is declared:" + set + waits);
  }
  for (const auto& host : world_.hosts())
    if (host->core && host->state->applied != world_.reference().applied)
      fail("liveness: " + host->id.value + " folded to " + std::to_string(host->state->applied.value) + " of " +
           std::to_string(world_.reference().applied.value));
  if (world_.settled_after() < Duration{}) fail("liveness: nothing stays as it is" + waits);
}

void Checker::last_look() { intervals_do_not_overlap(); }

}  // namespace daarion::sim
