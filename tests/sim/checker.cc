#include "tests/sim/checker.h"

#include "controlplane/core/decide.h"
#include "tests/sim/world.h"

namespace daarion::sim {
namespace {
// After the heal: a lease's end, an election, a rejoin with its backoff, and some room.
constexpr std::int64_t kLiveWithinMs = 30'000;
}  // namespace

void Checker::fail(const std::string& what) {
  if (failure_.empty()) failure_ = "at " + std::to_string(to_ms(world_.now().time_since_epoch())) + " ms: " + what;
}

void Checker::one_writer(const Host& host) {
  for (const auto& other : world_.hosts())
    if (other.get() != &host && other->engine.writable())
      fail("invariant 1: " + host.id.value + " (epoch " + std::to_string(host.engine.epoch.value) + ") and " + other->id.value +
           " (epoch " + std::to_string(other->engine.epoch.value) + ") are writable at once");
}

/// A writer stands on a majority of promises. A voter that is down or blank is silent, which is as good as a promise.
void Checker::majority_promised(const Host& host) {
  const VoterSet& set = world_.reference().voters;
  std::uint32_t for_it = 0;
  for (const auto& other : world_.hosts()) {
    bool in_set = false;
    for (const VoterInstance& v : set.voters) in_set |= v.node == other->id && other->record && v.instance == other->record->instance;
    if (!in_set) continue;
    if (!other->core || other->core->voter().blank()) {
      ++for_it;
      continue;
    }
    const auto until = other->core->voter().promised_until(ResourceId("postgres"), host.engine.session, world_.local(*other));
    if (until) ++for_it;
  }
  if (for_it < set.majority())
    fail("invariant 2: " + host.id.value + " writes under epoch " + std::to_string(host.engine.epoch.value) + " with " +
         std::to_string(for_it) + " of " + std::to_string(set.voters.size()) + " promises");
}

void Checker::opened(const Host& host) {
  one_writer(host);
  majority_promised(host);
  if (host.engine.epoch < newest_)
    fail("invariant 2: epoch " + std::to_string(host.engine.epoch.value) + " writes after epoch " + std::to_string(newest_.value));
  newest_ = std::max(newest_, host.engine.epoch);
  world_.counters().add("opened");
}

void Checker::writes(const Host& host) {
  one_writer(host);
  majority_promised(host);
  if (host.engine.epoch < newest_) fail("invariant 2: an older epoch goes on writing");
}

void Checker::stored(const LogEvent& event) {
  world_.counters().add(payload_name(event.event.payload));
  if (std::holds_alternative<LeaseReleased>(event.event.payload)) ++releases_;
  if (event.event.header.reason.empty()) fail("a decision event without a reason");
  const auto* decided = std::get_if<PromotionDecided>(&event.event.payload);
  if (decided == nullptr || decided->kind == DecisionKind::kKeep || event.event.header.actor == "operator:chance") return;
  const Decision again = decide(decided->evidence);
  if (again.to != decided->to || again.session != decided->session || again.instance != decided->instance || again.epoch != event.event.header.epoch ||
      again.verdicts != decided->verdicts || again.loss_bytes != decided->loss_bytes)
    fail("invariant 6: decision " + std::to_string(event.sequence.value) + " is another one when made again from its evidence");
}

void Checker::healed() {
  if (world_.knobs().log_faults_only && releases_ != 0)
    fail("invariant 10: a healthy primary was demoted although only JetStream suffered");
}

void Checker::finish() {
  const Host* writer = nullptr;
  for (const auto& host : world_.hosts()) {
    if (host->engine.writable()) writer = host.get();
    if (!host->core) continue;
    for (const Wait& wait : host->core->waits())
      if (wait.what.empty() || wait.unblock.empty()) fail("invariant 11: a wait without a name or a way out on " + host->id.value);
  }
  if (writer == nullptr) {
    std::string waits;
    for (const auto& host : world_.hosts())
      if (host->core)
        for (const Wait& wait : host->core->waits()) waits += "; " + host->id.value + ": " + wait.what;
    fail("liveness: no writer " + std::to_string(kLiveWithinMs) + " ms after the heal" + waits);
  }
  for (const auto& host : world_.hosts()) {
    if (!host->core) continue;
    if (host->state->applied != world_.reference().applied)
      fail("liveness: " + host->id.value + " folded to " + std::to_string(host->state->applied.value) + " of " +
           std::to_string(world_.reference().applied.value));
    else if (!(*host->state == world_.reference()))
      fail("invariant 4: the state of " + host->id.value + " differs at the same sequence");
  }
}

}  // namespace daarion::sim
