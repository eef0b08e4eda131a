// The simulated log: what JetStream does at its worst.
#include "tests/sim/world.h"

#include "controlplane/core/fold.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Duration kPollLog = milliseconds(400);
constexpr std::int64_t kLogEpochNs = 1'700'000'000'000'000'000;  // JetStream's clock at world time 0
}  // namespace

void World::lose_log_leader(Duration length) {
  note("log without a leader for " + std::to_string(to_ms(length)) + " ms");
  counters_.add("elections");
  log_back_ = std::max(log_back_, now_ + length);
}

/// A node reaches the log through a majority of voters' hosts that are up.
bool World::reaches_log(const Host& host) const {
  if (!nats_up_ || now_ < log_back_) return false;
  int reached = 0;
  for (int v = 0; v < knobs_.voters; ++v) {
    const Host& voter = *hosts_[static_cast<std::size_t>(v)];
    const auto a = static_cast<std::size_t>(host.index), b = static_cast<std::size_t>(v);
    if (voter.up && (v == host.index || (!cut_[a][b] && !cut_[b][a]))) ++reached;
  }
  return reached >= knobs_.voters / 2 + 1;
}

AppendResult World::store(const NodeId& node, const AppendRequest& request) {
  AppendResult result{.id = request.id};
  if (!stored_.insert({request.aggregate, request.version}).second) {
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
  std::vector<StateKey> touched;
  fold_into(reference_, event, touched);
  note("stored " + std::to_string(event.sequence.value) + " " + payload_name(request.payload) + " " + request.aggregate.name + " e" +
       std::to_string(request.epoch.value) + " by " + node.value + ": " + request.reason);
  checker_.stored(event);
  tell_tail(event);
  result.outcome = AppendResult::Outcome::kStored;
  result.sequence = event.sequence;
  return result;
}

void World::append_by_hand(Payload payload, const ResourceId& resource, Epoch epoch, const std::string& actor, const NodeId& node) {
  AppendRequest request;
  request.aggregate = aggregate_of(payload, node, resource);
  request.version = Version{reference_.version_of(request.aggregate).value + 1};
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
    after(in, [this, h, life, result] {
      if (h->life == life) give(*h, AppendDone{result});
    });
  };
  const AppendResult unknown{.id = request.id, .outcome = AppendResult::Outcome::kUnknown, .sequence = {}};
  after(random_.between(microseconds(300), milliseconds(4)), [this, h, request, answer, unknown] {
    if (!h->up || !reaches_log(*h)) {
      // Nobody answers; now and then the request lies in a buffer and is stored long after its publisher gave up.
      if (random_.chance(0.2))
        after(random_.between(milliseconds(500), seconds(6)), [this, h, request] {
          if (nats_up_ && now_ >= log_back_) {
            counters_.add("late commits");
            store(h->id, request);
          }
        });
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
      if (h->up && reaches_log(*h)) fold_up_to(*h, count);
    });
  }
}

void World::poll_log(Host& host) {
  Host* h = &host;
  const std::uint64_t life = host.life;
  if (reaches_log(host)) {
    const LogHead head{.exists = true, .head = Sequence{log_.size()}};
    give(host, head);
    // A read may be stale: a prefix of the log, never another log.
    const std::size_t count = random_.chance(0.1) && !log_.empty() ? static_cast<std::size_t>(random_.between(0, static_cast<std::int64_t>(log_.size()))) : log_.size();
    fold_up_to(host, count);
  }
  after(kPollLog, [this, h, life] {
    if (h->life == life) poll_log(*h);
  });
}

void World::fold_up_to(Host& host, std::size_t count) {
  if (!host.daemon_up || now_ < host.paused_until) return;
  if (host.state->applied.value >= count) return;
  auto state = std::make_shared<State>(*host.state);
  std::vector<StateKey> touched;
  while (state->applied.value < count) fold_into(*state, log_[state->applied.value], touched);
  host.state = state;
  give(host, StateMoved{state, {state->applied, {}, "sim"}});
}

}  // namespace daarion::sim
