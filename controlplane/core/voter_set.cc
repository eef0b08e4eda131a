#include "controlplane/core/voter_set.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "controlplane/core/lease.h"

namespace daarion {
namespace {

bool in(const std::vector<VoterInstance>& voters, const VoterInstance& one) { return std::ranges::find(voters, one) != voters.end(); }

bool is_majority(std::size_t some, const VoterSet& set) { return some >= set.majority(); }

Epoch log_epoch(const State& state, const ResourceId& resource) {
  const LeaseState* lease = state.lease(resource);
  return lease ? lease->epoch : Epoch{};
}

bool above_log(const std::vector<PromisedEpoch>& promised, const State& state) {
  return std::ranges::any_of(promised, [&](const PromisedEpoch& p) { return p.epoch > log_epoch(state, p.resource); });
}

std::string name_of(const VoterInstance& v) { return v.node.value + " (instance " + to_text(v.instance).substr(0, 8) + ")"; }

/// One voter that should join or leave.
struct Step {
  VoterInstance one;
  bool joins = false;
  std::string why;
};

class Planner {
 public:
  Planner(const DeciderContext& c, Instant now, Instant synced) : c_(c), now_(now), synced_(synced), set_(c.state.voters) {}

  SetPlan plan() {
    find_steps();
    const bool even = set_.voters.size() % 2 == 0;
    const Step* step = nullptr;
    const Step* next = nullptr;
    if (even && !set_.next.empty()) step = step_of(set_.next.front());
    const bool renamed = even && step == nullptr;  // what was to come next cannot come: another comes
    if (step == nullptr) step = best(nullptr);
    if (step == nullptr) return blocked_.empty() ? SetPlan{.change = {}, .reason = {}, .wait = {}, .in_place = in_place_} : waits(blocked_, {});
    if (!even) {
      next = best(step);
      if (next == nullptr) return waits(blocked_.empty() ? "another voter: an even number is worth no more than one less" : blocked_, *step);
    } else if (renamed) {
      next = step;
    }
    return carry_out(*step, next, renamed);
  }

 private:
  bool fresh(const VoterInstance& v) const {
    const Peer* peer = c_.peers.find(v.node);
    return peer != nullptr && peer->beat.instance == v.instance && peer->beat.log == c_.state.log.log && now_ - peer->heard <= c_.spec.lease.ttl;
  }

  /// Longer than a promise lasts and a beat may be missed.
  bool lost(const VoterInstance& v) const {
    const Duration limit = promise_length(c_.spec.lease.ttl, c_.spec.lease.drift_ppm) + 2 * c_.spec.lease.beat;
    return c_.peers.silent(v.node, v.instance, now_, c_.start) > limit;
  }

  /// The installations of the node that live, as far as one hears.
  std::vector<VoterInstance> living(const NodeId& node) const {
    std::vector<VoterInstance> out;
    if (const Peer* peer = c_.peers.find(node))
      for (const auto& [instance, heard] : peer->instances)
        if (!instance.empty() && !lost({node, instance})) out.push_back({node, instance});
    return out;
  }

  void find_steps() {
    std::vector<NodeId> apart;
    for (const NodeId& node : c_.spec.voters)
      if (!in_place(node)) apart.push_back(node);
    std::ranges::sort(apart);
    in_place_ = apart.empty();
    for (const NodeId& node : apart) find_steps(node);
    for (const VoterInstance& v : set_.voters)
      if (std::ranges::find(c_.spec.voters, v.node) == c_.spec.voters.end()) steps_.push_back({v, false, v.node.value + " is no longer declared a voter"});
  }

  /// It is in the set by the one installation that was ever heard, or was to be: nothing to do, whether it lives or not.
  bool in_place(const NodeId& node) const {
    const VoterInstance* only = nullptr;
    for (const VoterInstance& v : set_.voters) {
      if (v.node != node) continue;
      if (only != nullptr) return false;
      only = &v;
    }
    const Peer* peer = c_.peers.find(node);
    return only != nullptr && (peer == nullptr || std::ranges::all_of(peer->instances, [&](const auto& heard) { return heard.first == only->instance || heard.first.empty(); }));
  }

  void find_steps(const NodeId& node) {
    std::vector<VoterInstance> present;
    for (const VoterInstance& v : set_.voters)
      if (v.node == node) present.push_back(v);
    const std::vector<VoterInstance> alive = living(node);
    if (alive.size() > 1) {
      // One of them votes: that is as good as it gets, until the other one has ended. What was begun is carried out all the same.
      if (!set_.next.empty() && set_.next.front().node == node && (in(alive, set_.next.front()) || in(present, set_.next.front())))
        steps_.push_back({set_.next.front(), !in(present, set_.next.front()), "two hosts run as " + node.value + ", and this one was named next"});
      else if (present.size() != 1 || !in(alive, present.front()))
        block("the end of one of two hosts that run as " + node.value);
      return;
    }
    if (alive.empty()) {
      if (present.empty()) block(node.value + " to be heard: it is declared a voter");
      return;
    }
    const VoterInstance& one = alive.front();
    std::string why = node.value + " is declared a voter";
    for (const VoterInstance& old : present) {
      if (old == one) continue;
      if (!lost(old)) return;  // its beats are the newest to have ended: it may be heard again
      why = "the disk of " + node.value + " was replaced: instance " + to_text(one.instance).substr(0, 8) + " for " + to_text(old.instance).substr(0, 8);
      steps_.push_back({old, false, why});
    }
    if (!in(present, one)) steps_.push_back({one, true, why});
  }

  void block(std::string what) {
    if (blocked_.empty()) blocked_ = std::move(what);
  }

  const Step* step_of(const VoterInstance& one) const {
    const auto at = std::ranges::find(steps_, one, &Step::one);
    return at == steps_.end() ? nullptr : &*at;
  }

  /// How many of the voters that are heard could be lost once the step is done; negative: too few are heard.
  int tolerance_after(const Step& step) const {
    const std::vector<VoterInstance> voters = toggled(set_.voters, step.one);
    const auto heard = std::ranges::count_if(voters, [&](const VoterInstance& v) { return fresh(v); });
    return static_cast<int>(heard) - static_cast<int>(voters.size() / 2 + 1);
  }

  /// The step that leaves the most that may be lost; of equals one that takes away what is lost already, then one that adds. After
  /// another step: the other half of it, if it has one.
  const Step* best(const Step* after) const {
    const Step* best = nullptr;
    const auto rank = [&](const Step& s) {
      const bool half = after && s.one.node == after->one.node;
      return std::tuple(half, tolerance_after(s), !s.joins && !fresh(s.one), s.joins);
    };
    for (const Step& s : steps_)
      if (&s != after && (best == nullptr || rank(s) > rank(*best))) best = &s;
    return best;
  }

  SetPlan waits(const std::string& what, const std::optional<Step>& step, std::string unblock = "daarionctl nodes") const {
    const std::string about = step ? ": " + step->why + "; " + name_of(step->one) + (step->joins ? " is to join" : " is to leave") : std::string{};
    return {.change = {}, .reason = {}, .wait = Wait{{}, what + ", for a change of the voter set" + about, std::move(unblock), now_}};
  }

  bool gives_word(const VoterInstance& v) const {
    if (!fresh(v)) return false;
    const Beat& beat = c_.peers.find(v.node)->beat;
    // What one promised that is not in the set binds only itself.
    const bool member = set_.has(v.node, v.instance);
    return beat.ready_for == set_.id && beat.applied >= c_.state.log.newest_regression() && !(member && above_log(beat.promised, c_.state));
  }

  /// " (its promise of postgres has no end)": why it does not give its word, also where a resource is not declared any more.
  std::string without_end(const VoterInstance& v) const {
    if (!fresh(v)) return " (silent)";
    for (const PromiseNote& note : c_.peers.find(v.node)->beat.promises)
      if (note.endless) return " (its promise of " + note.resource.value + " has no end)";
    return {};
  }

  /// What helps where words are missing: a majority whose installations are not heard any more gives none.
  std::string words_from() const {
    std::string left;
    std::size_t heard = 0;
    for (const VoterInstance& v : set_.voters)
      if (!lost(v)) ++heard, left += (left.empty() ? "" : ",") + v.node.value;
    return is_majority(heard, set_) ? "daarionctl nodes" : "daarionctl override --voters " + left + " --others-off TEXT --reason TEXT";
  }

  SetPlan carry_out(const Step& step, const Step* next, bool renamed) const {
    for (const auto& [name, said] : c_.state.operators)
      if (said.paused > said.resumed && (name == "cluster" || c_.spec.resource(ResourceId(name)) != nullptr))
        return waits("the end of the pause of " + name, step, "daarionctl resume " + (name == "cluster" ? std::string{} : name + " ") + "--reason TEXT");
    if (!renamed && tolerance_after(step) < 0) return waits("a majority of the voters that there would be then", step, words_from());
    VoterSetChanged change{.voters = renamed ? set_.voters : toggled(set_.voters, step.one), .base = set_.id};
    if (next != nullptr) change.next = {next->one};
    std::string missing;
    for (const VoterInstance& v : set_.voters) {
      if (gives_word(v))
        change.words.push_back({v.node, v.instance, c_.peers.find(v.node)->beat.promised});
      else
        missing += (missing.empty() ? "" : ", ") + v.node.value + without_end(v);
    }
    if (!is_majority(change.words.size(), set_)) return waits("the word of a majority; missing: " + missing, step, words_from());
    if (now_ < synced_) return waits("the present set to be on the disks of the log's servers", step);
    // Who joins has been silent for as long, and has folded the set: it says so itself.
    if (step.joins && !renamed && !gives_word(step.one)) return waits("the word of " + name_of(step.one), step);
    if (const std::string why = objection(c_.state, change); !why.empty()) return waits(why, step);
    const std::string does = renamed ? " is the next to " + std::string(step.joins ? "join" : "leave") : step.joins ? " joins" : " leaves";
    return {.change = std::move(change), .reason = step.why + "; " + name_of(step.one) + does, .wait = {}};
  }

  const DeciderContext& c_;
  Instant now_;
  Instant synced_;
  const VoterSet& set_;
  std::vector<Step> steps_;
  bool in_place_ = false;  // every declared voter is
  std::string blocked_;  // why a voter that is declared is not one of the steps
};

}  // namespace

std::vector<VoterInstance> toggled(std::vector<VoterInstance> voters, const VoterInstance& one) {
  if (std::erase(voters, one) == 0) voters.push_back(one);
  std::ranges::sort(voters, {}, [](const VoterInstance& v) { return std::pair(v.node, v.instance); });
  return voters;
}

std::string objection(const State& state, const VoterSetChanged& change) {
  const VoterSet& set = state.voters;
  if (change.base != set.id) return "it changes another set than the present one";
  if (change.voters.empty()) return "it has no voter";
  if (set.id.empty()) return {};
  const auto differs = [&](const VoterInstance& one) { return toggled(set.voters, one) == change.voters; };
  const bool same = change.voters == set.voters;
  const bool by_one = std::ranges::any_of(set.voters, differs) || std::ranges::any_of(change.voters, [&](const VoterInstance& v) { return !in(set.voters, v) && differs(v); });
  const bool even = set.voters.size() % 2 == 0;
  if (!same && !by_one) return "it changes more than one voter";
  if (same && (!even || change.next == set.next)) return "it changes nothing";
  if (!same && even && (set.next.size() != 1 || !differs(set.next.front()))) return "another change was to follow the present set";
  if (change.next.size() != (change.voters.size() % 2 == 0 ? 1u : 0u)) return "an even number has to name what follows it, and no other";
  std::vector<VoterInstance> words;
  for (const SetWord& word : change.words) {
    const VoterInstance voter{word.voter, word.instance};
    if (!in(set.voters, voter) || in(words, voter)) return "it counts a word of no voter, or one twice";
    if (above_log(word.promised, state)) return "an epoch that " + word.voter.value + " promised is above the log";
    words.push_back(voter);
  }
  return is_majority(words.size(), set) ? std::string{} : "it has no words of a majority";
}

SetPlan plan_voters(const DeciderContext& context, Instant now, Instant synced) { return Planner(context, now, synced).plan(); }

}  // namespace daarion
