#include "controlplane/core/service_core.h"

#include <algorithm>
#include <set>
#include <utility>

#include "controlplane/core/capability.h"

namespace daarion {
namespace {

constexpr Duration kHookAgain = std::chrono::seconds(2);         // after a command that failed
constexpr Duration kIdle = std::chrono::milliseconds(500);       // timers that nothing is due for
constexpr Duration kTellAtLeast = std::chrono::seconds(10);      // telemetry, so that a reader can tell "no change" from "no reporter"

/// What its placing and its check are made of: a change of these begins anew.
bool same_check(const ServiceSpec& a, const ServiceSpec& b) { return a.port == b.port && a.check == b.check; }

}  // namespace

std::vector<ServiceOutput> ServiceCore::step(const ServiceInput& input, Instant now) {
  std::visit([&](const auto& in) { on(in, now); }, input);
  advance(now);
  return std::exchange(out_, {});
}

std::vector<ServiceSpec> ServiceCore::own() const {
  std::vector<ServiceSpec> out;
  for (const auto& [name, own] : own_) out.push_back(own.spec);
  return out;
}

std::vector<std::string> ServiceCore::warnings() const {
  std::vector<std::string> out;
  for (const auto& [name, own] : own_) {
    if (!own.hook_failed.empty()) out.push_back("service " + name + ": " + own.hook_failed);
    if (own.filter.now().check_broken) out.push_back("service " + name + ": its check is broken, so nobody knows how it is: " + own.filter.now().cause);
  }
  return out;
}

void ServiceCore::on(const ServicesFolded& in, Instant now) {
  const bool other = in.state->topology.sequence != state_->topology.sequence || in.state->log.log != state_->log.log;
  if (in.state->applied < state_->applied) appends_.forget();
  state_ = in.state;
  if (!other) return;
  std::set<std::string> here;
  for (const ServiceSpec& spec : state_->topology.spec.services) {
    if (spec.role_on(self_) == ServiceRole::kOff) continue;
    here.insert(spec.name);
    const auto [at, fresh] = own_.try_emplace(spec.name);
    if (fresh || !same_check(at->second.spec, spec)) {
      at->second.filter = HealthFilter(spec.check.rise, spec.check.fall);
      at->second.grace = now;
    }
    // Its worker is replaced: what it was told to run is told again, to whom runs the commands of now.
    if (at->second.hook_running || at->second.spec.start != spec.start || at->second.spec.stop != spec.stop) at->second.started.reset();
    at->second.hook_running &= at->second.spec == spec;
    at->second.spec = spec;
  }
  std::erase_if(own_, [&](const auto& entry) { return !here.contains(entry.first); });
}

void ServiceCore::on(const ServiceLooked& in, Instant now) {
  const auto at = own_.find(in.service);
  if (at == own_.end() || at->second.hook_running || at->second.cold()) return;
  Own& own = at->second;
  const bool good = !in.verdict.check_broken && (in.verdict.health == Health::kHealthy || in.verdict.health == Health::kDegraded);
  if (good) own.grace = now;
  if (!good && now < own.grace) return;
  if (own.filter.step(in.verdict, now)) own.told = {};
  if (own.filter.in_doubt()) out_.push_back(LookSoon{in.service});
}

void ServiceCore::on(const ServiceHookEnded& in, Instant now) {
  const auto at = own_.find(in.service);
  if (at == own_.end()) return;
  Own& own = at->second;
  own.hook_running = false;
  own.hook_failed = in.ok ? "" : std::string(in.start ? "start" : "stop") + " failed: " + in.message;
  if (in.ok) {
    own.started = in.start;
    if (in.start) own.grace = now + own.spec.hook_limit;
    return;
  }
  own.hook_again = now + kHookAgain;
  if (in.start) own.filter.fail(own.hook_failed, now);
}

void ServiceCore::on(const ServiceAppended& in, Instant now) { appends_.ended(in.result, now); }

void ServiceCore::advance(Instant now) {
  next_ = now + kIdle;
  for (auto& [name, own] : own_) {
    drive_hooks(name, own, now);
    say_health(name, own, now);
    tell(name, own, now);
  }
  if (!contact_.voter || !contact_.caught_up || contact_.alone) return;
  decide_services(now);
  decide_capabilities(now);
}

void ServiceCore::drive_hooks(const std::string& name, Own& own, Instant now) {
  if (!own.spec.moves() || own.spec.start.empty() || own.hook_running || !contact_.ever_caught_up) return;
  const auto place = place_of(*state_, name, self_);
  const bool wanted = place && place->role == ServiceRole::kActive && !contact_.alone;
  if (own.started == wanted) {
    if (own.cold()) own.filter.forget(now);
    return;
  }
  if (now < own.hook_again) {
    next_ = std::min(next_, own.hook_again);
    return;
  }
  own.hook_running = true;
  own.filter.forget(now);
  out_.push_back(RunServiceHook{name, wanted});
}

/// What counts here and what the log has of it.
void ServiceCore::say_health(const std::string& name, Own& own, Instant now) {
  if (!contact_.caught_up || contact_.alone) return;
  const ServiceHealthChanged& mine = own.filter.now();
  const auto at = state_->service_health.find({ResourceId(name), self_});
  const bool known = at != state_->service_health.end();
  const ServiceHealthState none, &said = known ? at->second : none;
  if (mine.health == said.health && mine.check_broken == said.check_broken && mine.flapping == said.flapping) return;
  if (mine.health == Health::kUnknown && !mine.check_broken && !own.cold()) return;  // it has looked less than the run before, or is starting
  append(mine, ResourceId(name), mine.cause.empty() ? std::string(text_of(mine.health)) : mine.cause, {}, now);
}

void ServiceCore::tell(const std::string& name, Own& own, Instant now) {
  if (contact_.voter && contact_.alone) return;  // telemetry is a stream of voters' servers: see NodeCore::may_append
  if (own.filter.now().health == Health::kUnknown || (own.told != Instant{} && now < own.told + kTellAtLeast)) return;
  own.told = now;
  const ServiceHealthChanged& mine = own.filter.now();
  out_.push_back(Report{HealthReported{.node = self_, .what = name, .healthy = mine.health == Health::kHealthy, .cause = mine.cause}, {}});
}

bool ServiceCore::my_turn(const std::string& what, Instant now) {
  const Instant turn = since_.try_emplace(what, now).first->second + kTurn * contact_.rank;
  if (now < turn) next_ = std::min(next_, turn);
  return now >= turn;
}

void ServiceCore::decide_services(Instant now) {
  for (const ServiceSpec& spec : state_->topology.spec.services) {
    if (!spec.moves()) continue;
    const ResourceId id(spec.name);
    std::vector<ServiceEvidence> evidence = service_evidence(*state_, spec);
    auto decision = state_->paused(id) ? std::nullopt : decide_service(evidence);
    if (!decision) {
      since_.erase(spec.name);
      continue;
    }
    if (!my_turn(spec.name, now)) continue;
    EventId cause;  // what was said of the first one that is replaced
    for (const ServiceEvidence& e : evidence) {
      const bool replaced = e.active && std::ranges::find(decision->active, e.node) == decision->active.end();
      if (!replaced || !cause.empty()) continue;
      const auto at = state_->service_health.find({id, e.node});
      if (!e.reachable) cause = state_->member(e.node)->unreachable;
      else if (at != state_->service_health.end()) cause = at->second.event;
    }
    append(ServiceMoved{std::move(decision->active), std::move(evidence)}, id, std::move(decision->reason), cause, now);
  }
}

void ServiceCore::decide_capabilities(Instant now) {
  for (const auto& [capability, chain] : state_->topology.spec.capabilities) {
    const std::string due = "capability " + capability;
    const auto said = state_->routes.find(capability);
    const bool known = said != state_->routes.end();
    std::vector<ProviderEvidence> evidence = providers_of(*state_, chain);
    ProviderChoice choice = choose_provider(evidence);
    // The first time, what is not known yet may be better.
    if (known ? said->second.provider == choice.provider : !choice.certain) {
      since_.erase(due);
      continue;
    }
    if (my_turn(due, now)) append(CapabilityMoved{capability, std::move(choice.provider), std::move(evidence)}, {}, std::move(choice.reason), {}, now);
  }
}

void ServiceCore::append(Payload payload, const ResourceId& resource, std::string reason, const EventId& cause, Instant now) {
  if (auto out = appends_.make(std::move(payload), resource, std::move(reason), cause, *state_, now, next_)) out_.emplace_back(std::move(*out));
}

}  // namespace daarion
