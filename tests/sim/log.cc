// The simulated log: what JetStream does at its worst.
//
//   elections    the log answers nobody for 4 to 9 s, because its leader's host was lost, or for no reason; 0.3 s when asked to step down
//   lost acks    an append is stored, and its answer is lost
//   late commits an append whose publisher gave up is stored seconds later, with or without an election
//   double acks  an answer comes twice
//   conflicts    the version was there already
//   tail gaps    the live tail loses an event for one reader; the next event, or the next read, shows it
//   stale reads  a read ends before the log's end, and so does the head that is told
//   lost tail    a power loss on a majority takes the newest events, and the log goes on without them
#include "tests/sim/world.h"

#include <algorithm>

#include "controlplane/core/fold.h"
#include "controlplane/core/override.h"
#include "tests/sim/plants.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Duration kPollLog = milliseconds(400);
constexpr Duration kStepDown = milliseconds(300);  // measured with nats-server: 0.28 s
constexpr std::int64_t kLogEpochNs = 1'700'000'000'000'000'000;  // JetStream's clock at world time 0
}  // namespace

void World::lose_log_leader(Duration length) {
  note("log without a leader for " + std::to_string(to_ms(length)) + " ms");
  counters_.add("elections");
  log_back_ = std::max(log_back_, now_ + length);
}

/// How many voters' hosts, itself counted, a host can talk to.
int World::reached_voters(int from) const {
  int reached = 0;
  for (int v = 0; v < knobs_.voters; ++v) {
    const auto a = static_cast<std::size_t>(from), b = static_cast<std::size_t>(v);
    if (hosts_[b]->up && (v == from || (!cut_[a][b] && !cut_[b][a]))) ++reached;
  }
  return reached;
}

/// A leader whose host is lost, or without a majority, is followed by another one, after an election.
void World::watch_leader() {
  const bool leads = hosts_[leader_]->up && reached_voters(static_cast<int>(leader_)) >= knobs_.voters / 2 + 1;
  if (leads || now_ < log_back_) return;
  for (int i = 1; i < knobs_.voters; ++i) {
    const auto next = (leader_ + static_cast<std::size_t>(i)) % static_cast<std::size_t>(knobs_.voters);
    if (!hosts_[next]->up || reached_voters(static_cast<int>(next)) < knobs_.voters / 2 + 1) continue;
    leader_ = next;
    counters_.add("leaders lost");
    return lose_log_leader(random_.between(seconds(4), seconds(9)));
  }
}

void World::step_down() {
  counters_.add("step-down");
  if (!knobs_.steered || !nats_up_ || now_ < log_back_) return;
  const auto voters = static_cast<std::size_t>(knobs_.voters);
  const std::size_t next = (leader_ + static_cast<std::size_t>(random_.between(1, knobs_.voters - 1))) % voters;
  if (!hosts_[next]->up) return;
  leader_ = next;
  log_back_ = now_ + kStepDown;
}

/// A node reaches the log through a majority of voters' hosts that are up.
bool World::reaches_log(const Host& host) const {
  return nats_up_ && now_ >= log_back_ && reached_voters(host.index) >= knobs_.voters / 2 + 1;
}

AppendResult World::store(const NodeId& node, const AppendRequest& request) {
  AppendResult result{.id = request.id};
  if (!stored_.insert({request.aggregate, request.version}).second && !PLANTED(kAppendBlind)) {
    counters_.add("append conflicts");
    result.outcome = AppendResult::Outcome::kConflict;
    return result;
  }
  LogEvent event;
  event.sequence = Sequence{log_.size() + 1};
  event.stored_ns = kLogEpochNs + now_.time_since_epoch().count();
  event.event.header = {.id = random_.id<EventIdTag>(), .schema = 1, .node = node, .actor = request.actor, .reason = request.reason,
                        .cause = request.cause, .resource = request.resource, .epoch = request.epoch, .wall_time_ns = event.stored_ns,
                        .min_feature = 1, .aggregate = request.aggregate, .version = request.version};
  event.event.payload = request.payload;
  log_.push_back(event);
  auto folded = std::make_shared<State>(reference());
  std::vector<StateKey> touched;
  fold_into(*folded, event, touched);
  history_.push_back(std::move(folded));
  note("stored " + std::to_string(event.sequence.value) + " " + payload_name(request.payload) + " " + request.aggregate.name + " e" +
       std::to_string(request.epoch.value) + " by " + node.value + ": " + request.reason);
  checker_.stored(event);
  tell_tail(event);
  result.outcome = AppendResult::Outcome::kStored;
  result.sequence = event.sequence;
  return result;
}

/// What made the cluster (log, topology, the first voter set) stays, and a voter set that was synced.
void World::lose_tail(std::size_t events) {
  std::size_t base = 0;
  for (const LogEvent& e : log_)
    if (std::holds_alternative<VoterSetChanged>(e.event.payload) && (base == 0 || kLogEpochNs + (now_ - kLogSync).time_since_epoch().count() >= e.stored_ns))
      base = e.sequence.value;
  if (base == 0) return;
  if (healed_ || log_.size() <= base) return;
  const std::size_t keep = std::max(base, log_.size() - std::min(events, log_.size()));
  note("the log lost its events after " + std::to_string(keep));
  counters_.add("tails lost");
  tail_lost_ = true;
  if (reference().voters.sequence.value > keep) counters_.add("voter sets lost");
  for (std::size_t i = keep; i < log_.size(); ++i) stored_.erase({log_[i].event.header.aggregate, log_[i].event.header.version});
  log_.resize(keep);
  history_.resize(keep + 1);
  for (auto& host : hosts_) {
    if (host->state && host->state->applied.value > keep) {
      host->common = Sequence{host->ahead_of_log ? std::min<std::uint64_t>(host->common.value, keep) : keep};
      host->ahead_of_log = true;
    }
    if (host->stored && host->stored->applied.value > keep) host->stored.reset();
  }
  checker_.tail_lost();
}

void World::append_by_hand(Payload payload, const ResourceId& resource, Epoch epoch, const std::string& actor, const NodeId& node) {
  AppendRequest request;
  request.aggregate = aggregate_of(payload, node, resource);
  request.version = Version{reference().version_of(request.aggregate).value + 1};
  request.payload = std::move(payload);
  request.resource = resource;
  request.epoch = epoch;
  request.actor = actor;
  request.reason = "said by hand";
  store(node, request);
}

void World::on_append(Host& host, const AppendRequest& request) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  const auto answer = [this, h, life](AppendResult result, Duration in) {
    const int copies = random_.chance(knobs_.append_twice) ? 2 : 1;
    if (copies == 2) counters_.add("double answers");
    for (int i = 0; i < copies; ++i)
      after(in * (i + 1), [this, h, life, result] {
        if (h->life == life) give(*h, AppendDone{result});
      });
  };
  const auto store_late = [this, h, request] {
    after(random_.between(milliseconds(500), seconds(6)), [this, h, request] {
      if (!nats_up_ || now_ < log_back_) return;
      counters_.add("late commits");
      store(h->id, request);
    });
  };
  const AppendResult unknown{.id = request.id, .outcome = AppendResult::Outcome::kUnknown, .sequence = {}};
  after(random_.between(microseconds(300), milliseconds(4)), [this, h, request, answer, store_late, unknown] {
    if (!h->up || !reaches_log(*h)) {
      // Nobody answers; now and then the request lies in a buffer and is stored long after its publisher gave up.
      if (random_.chance(0.2)) store_late();
      return answer(unknown, milliseconds(1500));
    }
    if (random_.chance(knobs_.append_late)) {
      store_late();
      return answer(unknown, milliseconds(1500));
    }
    const AppendResult result = store(h->id, request);
    if (random_.chance(knobs_.append_unknown)) {
      counters_.add("lost answers");
      return answer(unknown, milliseconds(1500));
    }
    answer(result, random_.between(microseconds(200), milliseconds(2)));
  });
}

void World::tell_tail(const LogEvent& event) {
  const std::size_t count = event.sequence.value;
  for (auto& host : hosts_) {
    if (random_.chance(knobs_.tail_gap)) {
      counters_.add("tail gaps");
      continue;
    }
    Host* h = host.get();
    after(random_.between(microseconds(100), milliseconds(3)), [this, h, count] {
      if (h->up && reaches_log(*h)) fold_up_to(*h, count, true);
    });
  }
}

void World::poll_log(Host& host) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  if (reaches_log(host)) {
    // A read may be stale: a prefix of the log, never another log.
    const bool stale = random_.chance(knobs_.stale_read) && !log_.empty();
    const std::size_t count = stale ? static_cast<std::size_t>(random_.between(0, static_cast<std::int64_t>(log_.size()))) : log_.size();
    if (count < host.state->applied.value) counters_.add("stale reads");
    const LogHead head{.exists = true, .head = Sequence{count}, .asked = local(host)};
    if (!host.told_head.exists || host.told_head.head != head.head) host.told_head = head, give(host, head);
    const LeadersSeen leaders{.log = knobs_.leaders ? hosts_[leader_]->id : NodeId{}, .meta = {}};
    if (host.told_leaders.log != leaders.log) host.told_leaders = leaders, give(host, leaders);
    if (host.ahead_of_log) refold(host);
    else fold_up_to(host, count, false);
  }
  after(kPollLog, [this, h, life] {
    if (h->life == life) poll_log(*h);
  });
}

/// The leader's word, twice, that the newest event folded here is not the log's: as of this look.
void World::refold(Host& host) {
  if (now_ < host.paused_until || host.refolding) return;
  counters_.add("folds begun anew");
  note(host.id.value + " notices that the log lost what it folded");
  host.refolding = true;
  give(host, LogLost{.log = root_of(host.state->log), .folded = {}, .head = {}, .known = {}});
  refolded(host, {.log = root_of(host.state->log), .folded = host.state->applied, .head = host.common, .known = "of the simulator"});
}

void World::refolded(Host& host, LogLost lost) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  after(random_.between(milliseconds(5), milliseconds(600)), [this, h, life, lost] {
    if (h->life != life) return;
    if (now_ < h->paused_until || !reaches_log(*h)) return refolded(*h, lost);
    give(*h, lost);
    h->refolding = h->ahead_of_log = false;
    h->state = history_.back();
    checker_.folded(*h);
    flush_fold(*h);
    give(*h, StateMoved{h->state, {h->state->applied, {}, "sim"}, true});
  });
}

void World::fold_up_to(Host& host, std::size_t count, bool live) {
  if (!host.daemon_up || now_ < host.paused_until || host.ahead_of_log || count > log_.size()) return;
  if (host.state->applied.value >= count) return;
  auto state = std::make_shared<State>(*host.state);
  if (live && PLANTED(kTailGapSkipped)) state->applied = Sequence{count - 1};
  std::vector<StateKey> touched;
  while (state->applied.value < count) fold_into(*state, log_[state->applied.value], touched);
  host.state = state;
  checker_.folded(host);
  flush_fold(host);
  give(host, StateMoved{state, {state->applied, {}, "sim"}});
}

/// State and sequence are one batch: after a crash there are both, or neither.
void World::flush_fold(Host& host) {
  if (!random_.chance(knobs_.checkpoint)) return;
  host.stored = host.state;
  if (!PLANTED(kCheckpointAhead) || host.state->applied.value >= log_.size()) return;
  auto ahead = std::make_shared<State>(*host.state);
  ++ahead->applied.value;
  host.stored = std::move(ahead);
}

}  // namespace daarion::sim
