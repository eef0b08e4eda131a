#include "controlplane/core/observed_core.h"

#include <algorithm>
#include <utility>

namespace daarion {
namespace {

constexpr Duration kSettle = std::chrono::milliseconds(100);      // a change that is over by then is none
constexpr Duration kOther = std::chrono::milliseconds(400);        // for one who is not the speaker, which says it by then if it lives: a lost one was it as often as not
constexpr Duration kOlder = std::chrono::seconds(5);              // an engine whose count of elections went back: set up anew
constexpr Duration kFlapWindow = std::chrono::seconds(60);
constexpr std::size_t kFlapFree = 8;                              // changes in that window without a longer wait: more than a failover makes
constexpr Duration kFlapLongest = std::chrono::seconds(30);
constexpr Duration kRepairAgain = std::chrono::seconds(2);        // an engine needs about that long to show what a step did
constexpr int kRepairDoublings = 5;
constexpr Duration kIdle = std::chrono::milliseconds(500);
constexpr Duration kLagAtLeast = std::chrono::seconds(10);

bool answers(EngineState state) { return state != EngineState::kUnknown && state != EngineState::kUnresponsive; }

/// What makes an event: where it was seen from is no change.
bool same(const ResourceObserved& a, const ResourceObserved& b) {
  return a.primary == b.primary && a.elected_by == b.elected_by && a.election == b.election && a.members == b.members && a.problems == b.problems;
}

std::string name_of(const MemberSeen& m) { return m.role + " of " + m.node.value; }

/// What another identity means.
std::string other_identity(const MemberSeen& was, const MemberSeen& m) {
  if (m.role == kDumpRole) return m.identity.empty() ? " is not known" : " is of " + m.identity;
  if (!is_known_by_process(m.role)) return " has other data";
  return was.identity.empty() ? " answers" : " was restarted";
}

void join(std::string& out, const std::string& more) { out += (out.empty() ? "" : "; ") + more; }

const MemberSeen* find(const ResourceObserved& in, const MemberSeen& m) {
  // What serves data changes its role; a helper is what it is.
  const auto kind = [](const MemberSeen& of) { return is_helper(of.role) ? of.role : std::string(); };
  const auto same_process = [&](const MemberSeen& other) { return other.node == m.node && kind(other) == kind(m); };
  const auto at = std::ranges::find_if(in.members, same_process);
  return at == in.members.end() ? nullptr : &*at;
}

}  // namespace

std::size_t reached(const ResourceObserved& seen) {
  return static_cast<std::size_t>(std::ranges::count_if(seen.members, [](const MemberSeen& m) { return answers(m.state); }));
}

std::string change_between(const ResourceObserved& before, const ResourceObserved& now) {
  std::string out;
  if (before.primary != now.primary)
    out = "primary " + (before.primary.empty() ? "" : before.primary.value + " -> ") + (now.primary.empty() ? "none" : now.primary.value);
  for (const MemberSeen& m : now.members) {
    const MemberSeen* was = find(before, m);
    if (was == nullptr) {
      if (!before.members.empty()) join(out, name_of(m) + " is new");
    } else if (was->health != m.health) {
      join(out, name_of(m) + ": " + (m.health.empty() ? "well" : m.health));
    } else if (was->role != m.role && before.primary == now.primary) {
      join(out, m.node.value + " is " + m.role);
    } else if (was->identity != m.identity && before.primary == now.primary) {
      join(out, name_of(m) + other_identity(*was, m));
    } else if (was->version != m.version) {
      join(out, name_of(m) + ": version " + m.version);
    }
  }
  for (const MemberSeen& m : before.members)
    if (find(now, m) == nullptr) join(out, name_of(m) + " is gone");
  for (const std::string& problem : now.problems)
    if (std::ranges::find(before.problems, problem) == before.problems.end()) join(out, problem);
  for (const std::string& problem : before.problems)
    if (std::ranges::find(now.problems, problem) == now.problems.end()) join(out, "over: " + problem);
  return out.empty() ? "seen anew" : out;
}

std::vector<ObservedOutput> ObservedCore::step(const ObservedInput& input, Instant now) {
  std::visit([&](const auto& in) { on(in, now); }, input);
  advance(now);
  return std::exchange(out_, {});
}

std::vector<std::string> ObservedCore::warnings() const {
  std::vector<std::string> out;
  for (const auto& [id, own] : own_)
    for (const auto& [step, repair] : own.repairs)
      if (!repair.failed.empty()) out.push_back(id.value + ": " + step + ": " + repair.failed);
  return out;
}

void ObservedCore::on(const ObservedFolded& in, Instant now) {
  if (in.state->applied < state_->applied) appends_.forget();
  state_ = in.state;
  for (auto& [id, own] : own_) {
    const OperatorState* asked = state_->operator_of(id);
    if (asked == nullptr || asked->switchover.sequence == own.wish) continue;
    own.wish = asked->switchover.sequence;
    own.wish_since = now;
    own.wish_failed.clear();
    if (!contact_.ever_caught_up) own.wish_tried = own.wish;  // of before this run: nobody expects it any more
  }
}

void ObservedCore::on(const ObservedLooked& in, Instant) {
  const auto [at, fresh] = own_.try_emplace(in.resource);
  Own& own = at->second;
  if (fresh)
    if (const OperatorState* asked = state_->operator_of(in.resource)) own.wish = own.wish_tried = asked->switchover.sequence;
  own.view = in.view;
  own.seen = own.looked_after = true;
}

void ObservedCore::on(const ObservedActed& in, Instant now) {
  const auto at = own_.find(in.action.resource);
  if (at == own_.end() || at->second.acting != in.action.id) return;
  Own& own = at->second;
  own.acting = 0;
  own.looked_after = false;
  if (in.action.repair.empty()) {
    own.wish_failed = in.ok ? "" : in.message;
  } else if (const auto repair = own.repairs.find(in.action.repair); repair != own.repairs.end()) {
    Own::Repair& r = repair->second;
    r.failed = in.ok ? "" : in.message;
    r.again = now + kRepairAgain * (1 << r.tries);
    r.tries = std::min(r.tries + 1, kRepairDoublings);
  }
}

void ObservedCore::on(const ObservedAppended& in, Instant now) { appends_.ended(in.result, now); }

void ObservedCore::advance(Instant now) {
  next_ = now + kIdle;
  if (!contact_.caught_up || contact_.alone) return;
  for (auto& [id, own] : own_) {
    if (!own.seen || state_->topology.spec.resource(id) == nullptr) continue;
    say(id, own, now);
    do_wish(id, own, now);
    do_repair(id, own, now);
    tell_lag(id, own, now);
  }
}

bool ObservedCore::wish_stands(const ResourceId& id, const Own& own, Instant now) const {
  const OperatorState* asked = state_->operator_of(id);
  const ObservedState* said = state_->observed_of(id);
  if (asked == nullptr || said == nullptr || own.wish.value == 0 || asked->switchover.sequence != own.wish) return false;
  return said->moved < own.wish && said->seen.primary == asked->switchover.from &&
         now < own.wish_since + std::chrono::milliseconds(asked->switchover.valid_ms);
}

/// The view as an event would say it.
ResourceObserved ObservedCore::present(const ResourceId& id, const Own& own, Instant now) const {
  ResourceObserved out{.primary = own.view.primary, .elected_by = own.view.elected_by, .election = own.view.election, .members = {}, .problems = own.view.problems,
                       .source = own.view.source};
  for (const MemberView& m : own.view.members) out.members.push_back(m.seen);
  if (!own.wish_failed.empty() && wish_stands(id, own, now)) {
    out.problems.push_back(std::string(kSwitchoverFailed) + ": " + own.wish_failed);
    out.source = kSwitchoverFailed;
  }
  return out;
}

bool ObservedCore::speaker_gone(const ObservedState& said) const {
  const MemberState* member = state_->member(said.observer);
  return member == nullptr || !member->reachable || member->intent == MemberIntent::kRetired || state_->topology.spec.node(said.observer) == nullptr;
}

/// How long the difference must have stood before this node says it; nothing: it is another's to say.
std::optional<Duration> ObservedCore::wait_to_say(const ResourceObserved& mine, const ObservedState* said, Own& own, Instant now) const {
  const Duration turn = kTurn * contact_.rank;
  if (said == nullptr || said->changed.value == 0) return kSettle + turn;
  if (mine.election > said->seen.election && !mine.primary.empty()) return turn;
  while (!own.said.empty() && own.said.front() + kFlapWindow < now) own.said.pop_front();
  Duration settle = kSettle;
  for (std::size_t n = kFlapFree; n < own.said.size() && settle < kFlapLongest; ++n) settle *= 2;
  settle = std::min(settle, kFlapLongest);
  if (mine.election < said->seen.election) {
    if (speaks(*said)) return std::max(kOlder, settle);
    return speaker_gone(*said) ? std::optional(kOlder + kOther + turn) : std::nullopt;
  }
  if (speaks(*said)) return settle;
  if (speaker_gone(*said)) return settle + turn;
  return reached(mine) > reached(said->seen) ? std::optional(settle + kOther + turn) : std::nullopt;
}

/// The event of the log that led to it: what an operator asked for, that a node with a process of it is unreachable, that the primary was seen to be
/// ill before. Empty: none of these is folded.
EventId ObservedCore::cause_of(const ResourceId& id, const Own& own, const ResourceObserved& mine, const ObservedState* said, Instant now) const {
  if (said == nullptr) return {};
  const bool moved = said->seen.primary != mine.primary;
  if (moved && wish_stands(id, own, now)) return state_->operator_of(id)->switchover.event;
  for (const MemberSeen& m : mine.members) {
    const MemberSeen* was = find(said->seen, m);
    const MemberState* member = state_->member(m.node);
    if (!m.health.empty() && was != nullptr && was->health.empty() && member != nullptr && !member->unreachable.empty()) return member->unreachable;
  }
  const auto ill = [&](const MemberSeen& m) { return m.node == said->seen.primary && !is_helper(m.role) && !m.health.empty(); };
  return moved && std::ranges::any_of(said->seen.members, ill) ? said->event : EventId{};
}

void ObservedCore::say(const ResourceId& id, Own& own, Instant now) {
  const ObservedState* said = state_->observed_of(id);
  ResourceObserved mine = present(id, own, now);
  if (said != nullptr && said->changed.value != 0 && same(mine, said->seen)) {
    own.differs_since.reset();
    return;
  }
  if (!own.differs_since) own.differs_since = now;
  const auto wait = wait_to_say(mine, said, own, now);
  if (!wait) return;
  if (now < *own.differs_since + *wait) {
    next_ = std::min(next_, *own.differs_since + *wait);
    return;
  }
  const ResourceObserved none, &before = said == nullptr ? none : said->seen;
  const bool moved = before.primary != mine.primary;
  const EventId cause = cause_of(id, own, mine, said, now);
  std::string reason = (mine.source.empty() ? "" : mine.source + ": ") + change_between(before, mine);
  auto append = appends_.make(std::move(mine), id, std::move(reason), cause, *state_, now, next_);
  if (!append) return;
  if (!moved) own.said.push_back(now);
  out_.emplace_back(std::move(*append));
}

void ObservedCore::run(Own& own, ObservedAction action) {
  own.acting = action.id = next_action_++;
  out_.emplace_back(RunObserved{std::move(action)});
}

/// A switchover that an operator asked for.
void ObservedCore::do_wish(const ResourceId& id, Own& own, Instant now) {
  if (own.wish_tried == own.wish || own.acting != 0 || !wish_stands(id, own, now)) return;
  const ObservedState& said = *state_->observed_of(id);
  if (!speaks(said)) {
    const Instant turn = own.wish_since + kOther + kTurn * contact_.rank;
    if (!speaker_gone(said)) return;
    if (now < turn) {
      next_ = std::min(next_, turn);
      return;
    }
  }
  own.wish_tried = own.wish;
  const SwitchoverState& wish = state_->operator_of(id)->switchover;
  run(own, {.id = 0, .resource = id, .from = wish.from, .to = wish.to, .repair = {}});
}

void ObservedCore::do_repair(const ResourceId& id, Own& own, Instant now) {
  std::map<std::string, Own::Repair> due;
  for (const RepairStep& step : own.view.repairs) {
    const auto known = own.repairs.find(step.name);
    due.emplace(step.name, known == own.repairs.end() ? Own::Repair{.again = now + step.patience, .tries = 0, .failed = {}} : known->second);
  }
  own.repairs = std::move(due);
  const ObservedState* said = state_->observed_of(id);
  if (said == nullptr || !speaks(*said) || own.acting != 0 || !own.looked_after || state_->paused(id) || wish_stands(id, own, now)) return;
  for (const RepairStep& step : own.view.repairs) {
    const Instant at = own.repairs.at(step.name).again;
    if (now >= at) return run(own, {.id = 0, .resource = id, .from = {}, .to = {}, .repair = step.name});
    next_ = std::min(next_, at);
  }
}

void ObservedCore::tell_lag(const ResourceId& id, Own& own, Instant now) {
  const ObservedState* said = state_->observed_of(id);
  if (said == nullptr || !speaks(*said) || (own.lag_told != Instant{} && now < own.lag_told + kLagAtLeast)) return;
  own.lag_told = now;
  for (const MemberView& m : own.view.members)
    if (m.lag_known)
      out_.push_back(Report{ReplicaLagReported{.node = m.seen.node, .primary = own.view.primary, .position = m.position, .lag_bytes = m.lag_bytes, .lag_ms = m.lag_ms,
                                               .state = text_of(m.seen.state)}, id});
}

}  // namespace daarion
