#include "controlplane/drivers/qdrant/plan.h"

#include <algorithm>
#include <tuple>

namespace daarion::qdrant {
namespace {

constexpr Duration kFirstWait = std::chrono::seconds(5);
constexpr Duration kLongestWait = std::chrono::minutes(10);
// A transfer says nothing of its progress to anybody but its source: one that lasts longer than this is named, so that somebody looks.
constexpr Duration kLongTransfer = std::chrono::minutes(10);

bool is_declared(const Declared& d, const NodeId& node) { return std::ranges::find(d.nodes, node) != d.nodes.end(); }
std::string seconds_text(Duration d) { return std::to_string(to_ms(d) / 1000) + " s"; }

/// One shard, by what may be counted on.
struct ShardView {
  std::vector<PeerId> whole;     // on a peer that answers and stays
  std::vector<PeerId> leaving;   // whole, on a peer that is retired and answers
  std::vector<PeerId> silent;    // whole by the others' word, on a peer that does not answer
  std::vector<PeerId> broken;    // not whole, on a peer that answers
  std::vector<PeerId> on_retired;  // in any state
  bool in_transfer = false;
};

class Planner {
 public:
  Planner(const Declared& declared, const Picture& picture, const History& history, Instant now) : d_(declared), p_(picture), h_(history), now_(now) {
    for (const auto& [name, c] : p_.collections) {
      for (const auto& [shard, replicas] : c.shards)
        for (const auto& [peer, state] : replicas) ++replicas_on_[peer];
      for (const Transfer& t : c.transfers) {
        ++transfers_;
        ++incoming_[t.to];
        ++outgoing_[t.from];
      }
    }
  }

  Plan run() {
    out_.problems = p_.problems;
    for (const auto& [name, c] : p_.collections) collection(name, c);
    if (p_.settled) remove_retired();
    return std::move(out_);
  }

  ShardView view(const CollectionSeen& c, ShardId shard) const {
    ShardView v;
    for (const auto& [peer, state] : c.shards.at(shard)) {
      const PeerSeen seen = seen_of(peer);
      const bool retired = d_.retired.contains(seen.node);
      if (retired && !seen.node.empty()) v.on_retired.push_back(peer);
      if (!seen.answers) {
        if (is_whole(state) && !seen.former && !retired) v.silent.push_back(peer);
      } else if (retired || !is_declared(d_, seen.node)) {
        if (is_whole(state)) v.leaving.push_back(peer);
      } else {
        (is_whole(state) ? v.whole : v.broken).push_back(peer);
      }
    }
    v.in_transfer = std::ranges::any_of(c.transfers, [&](const Transfer& t) { return t.shard == shard; });
    return v;
  }
  /// What can be had now, with the peers that there are.
  std::size_t target(const CollectionSeen& c) const {
    std::size_t can = 0;
    for (const auto& [peer, seen] : p_.peers) can += may_hold(seen) ? 1 : 0;
    return std::min<std::size_t>(factor(c), can);
  }
  std::uint32_t factor(const CollectionSeen& c) const { return d_.replication_factor != 0 ? d_.replication_factor : std::max(c.params.replication_factor, 1u); }

 private:
  PeerSeen seen_of(PeerId peer) const {
    const auto at = p_.peers.find(peer);
    return at == p_.peers.end() ? PeerSeen{} : at->second;
  }
  bool may_hold(const PeerSeen& seen) const { return seen.answers && is_declared(d_, seen.node) && !d_.retired.contains(seen.node); }
  bool may_get(const PeerSeen& seen) const { return may_hold(seen) && !d_.resting.contains(seen.node); }

  void say(const char* code, const std::string& name, std::optional<ShardId> shard, std::string text) {
    out_.problems.push_back({code, name, shard, name + (shard ? "/" + std::to_string(*shard) : "") + ": " + std::move(text)});
  }
  std::string names(const std::vector<PeerId>& peers) const {
    std::string out;
    for (const PeerId p : peers) out += (out.empty() ? "" : ", ") + p_.name_of(p);
    return out;
  }

  void collection(const std::string& name, const CollectionSeen& c) {
    const std::uint32_t want = factor(c);
    if (d_.shards != 0 && c.params.shard_number != 0 && !c.params.custom_sharding && c.params.shard_number != d_.shards)
      say("shard_number", name, {}, "has " + std::to_string(c.params.shard_number) + " shards, declared are " + std::to_string(d_.shards) +
                                        "; the number is fixed when a collection is made: make it anew, or declare what it has");
    if (c.params.replication_factor != 0 && c.params.replication_factor != want)
      say("factor_differs", name, {}, "was made with replication_factor " + std::to_string(c.params.replication_factor) + ", declared is "
          + std::to_string(want) +
                                          "; new shards get the former: PATCH /collections/" + name);
    if (target(c) < want)
      say("too_few_peers", name, {}, "needs " + std::to_string(want) + " peers, " + std::to_string(target(c)) + " can hold its shards now");
    if (c.resharding) say("resharding", name, {}, "is being resharded; nothing is repaired until that is over");
    for (ShardId shard = 0; !c.params.custom_sharding && shard < c.params.shard_number; ++shard)
      if (!c.shards.contains(shard)) say("lost", name, shard, "no peer has a replica of it");
    for (const auto& [shard, replicas] : c.shards) one_shard(name, c, shard);
  }

  void one_shard(const std::string& name, const CollectionSeen& c, ShardId shard) {
    const ShardView v = view(c, shard);
    const std::uint32_t want = factor(c);
    for (const Transfer& t : c.transfers)
      if (const auto since = h_.transfer_since.find({name, shard, t.from, t.to}); t.shard == shard && since != h_.transfer_since.end()
          && now_ - since->second >= kLongTransfer)
        say("long_transfer", name, shard, "its transfer from " + p_.name_of(t.from) + " to " + p_.name_of(t.to) + " has gone on for more than "
            + seconds_text(kLongTransfer) +
                                              "; if its source says that it stands still: abort_transfer");
    if (v.whole.empty() && v.leaving.empty()) {
      if (!v.silent.empty())
        say("unreachable", name, shard, "its only whole replica is on " + names(v.silent) + ", which does not answer");
      else
        say("lost", name, shard, "no replica of it is whole; nothing is done by itself: recover it from a snapshot, or say which replica is to be believed");
      return;
    }
    if (v.whole.size() < want)
      say("short", name, shard, std::to_string(v.whole.size()) + " of " + std::to_string(want) + " replicas are whole" +
                                    (v.silent.empty() ? "" : "; " + names(v.silent) + " does not answer") + (v.broken.empty() ? "" : "; broken on "
                                        + states(c, shard, v.broken)) +
                                    copies(c, shard));
    if (v.whole.size() > want) say("extra", name, shard, std::to_string(v.whole.size()) + " whole replicas, declared are " + std::to_string(want));
    if (!p_.settled || c.resharding || v.in_transfer) return;
    const std::size_t can = target(c);
    if (v.whole.size() < can) return copy(name, shard, v, want);
    if (!v.on_retired.empty() && !v.whole.empty()) drop(name, shard, v, can);
  }
  std::string copies(const CollectionSeen& c, ShardId shard) const {
    std::string out;
    for (const Transfer& t : c.transfers)
      if (t.shard == shard) out += "; being copied from " + p_.name_of(t.from) + " to " + p_.name_of(t.to);
    return out;
  }
  std::string states(const CollectionSeen& c, ShardId shard, const std::vector<PeerId>& peers) const {
    std::string out;
    for (const PeerId p : peers) out += (out.empty() ? "" : ", ") + p_.name_of(p) + " (" + text_of(c.shards.at(shard).at(p)) + ")";
    return out;
  }

  void copy(const std::string& name, ShardId shard, const ShardView& v, std::uint32_t want) {
    const auto since = h_.short_since.find({name, shard});
    const Duration been = since == h_.short_since.end() ? Duration{} : now_ - since->second;
    if (been < d_.patience) return;
    PeerId to = 0;
    for (const PeerId p : v.broken)
      if (may_get(seen_of(p)) && (to == 0 || load(p) < load(to))) to = p;
    if (to == 0) {
      if (waits_for_absent(name, shard)) return;
      for (const auto& [peer, seen] : p_.peers) {
        if (!may_get(seen) || p_.collections.at(name).shards.at(shard).contains(peer)) continue;
        if (to == 0 || load(peer) < load(to)) to = peer;
      }
    }
    if (to == 0 || incoming_[to] > 0 || transfers_ >= d_.most_transfers) return;
    const std::vector<PeerId>& sources = v.whole.empty() ? v.leaving : v.whole;
    const PeerId from = *std::ranges::min_element(sources, {}, [&](PeerId p) { return std::tuple(outgoing_[p], p); });
    step({.kind = Step::Kind::kReplicate, .collection = name, .shard = shard, .from = from, .to = to,
          .what = "replicate " + name + "/" + std::to_string(shard) + " from " + p_.name_of(from) + " to " + p_.name_of(to),
          .reason = std::to_string(v.whole.size()) + " of " + std::to_string(want) + " replicas are whole for " + seconds_text(been)});
  }
  /// A member that holds a replica of it and does not answer: it may come back with it.
  bool waits_for_absent(const std::string& name, ShardId shard) const {
    return std::ranges::any_of(p_.collections.at(name).shards.at(shard), [&](const auto& replica) {
      const PeerSeen seen = seen_of(replica.first);
      if (seen.answers || seen.former || !is_declared(d_, seen.node) || d_.retired.contains(seen.node)) return false;
      const auto silent = h_.silent_since.find(seen.node);
      return silent == h_.silent_since.end() || now_ - silent->second < d_.away;
    });
  }
  std::size_t load(PeerId peer) {
    return replicas_on_[peer] + incoming_[peer];
  }

  void drop(const std::string& name, ShardId shard, const ShardView& v, std::size_t can) {
    const PeerId peer = v.on_retired.front();
    step({.kind = Step::Kind::kDropReplica, .collection = name, .shard = shard, .from = 0, .to = peer,
          .what = "drop the replica of " + name + "/" + std::to_string(shard) + " on " + p_.name_of(peer),
          .reason = p_.name_of(peer) + " is retired, and " + std::to_string(v.whole.size()) + " whole replicas of " + std::to_string(can) + " are elsewhere"});
  }

  void remove_retired() {
    for (const auto& [peer, seen] : p_.peers) {
      if (seen.node.empty() || !d_.retired.contains(seen.node) || replicas_on_[peer] + incoming_[peer] + outgoing_[peer] > 0 || p_.peers.size() < 2) continue;
      step({.kind = Step::Kind::kRemovePeer, .collection = {}, .shard = 0, .from = 0, .to = peer,
            .what = "remove " + p_.name_of(peer) + " (peer " + std::to_string(peer) + ") from the consensus",
            .reason = seen.node.value + " is retired and holds no shard"});
      return;  // one change of the set at a time
    }
  }

  void step(Step s) {
    if (const auto at = h_.tries.find(key_of(s)); at != h_.tries.end()) {
      const Tries& t = at->second;
      if (t.count >= 3)
        out_.problems.push_back({"repair_fails", s.collection, s.kind == Step::Kind::kRemovePeer ? std::nullopt : std::optional(s.shard),
                                 s.what + ": tried " + std::to_string(t.count) + " times" + (t.error.empty() ? ", each was accepted and came to nothing"
                                     : ": " + t.error)});
      if (now_ - t.last < wait_after(t.count)) return;
    }
    if (s.kind == Step::Kind::kReplicate) {
      ++transfers_;
      ++incoming_[s.to];
      ++outgoing_[s.from];
    }
    out_.steps.push_back(std::move(s));
  }

  const Declared& d_;
  const Picture& p_;
  const History& h_;
  const Instant now_;
  std::map<PeerId, std::size_t> replicas_on_, incoming_, outgoing_;
  std::size_t transfers_ = 0;
  Plan out_;
};

}  // namespace

StepKey key_of(const Step& step) { return {step.collection, step.shard, step.kind, step.to}; }

Duration wait_after(std::uint32_t tries) {
  Duration out{};
  for (std::uint32_t i = 0; i < tries && out < kLongestWait; ++i) out = out == Duration{} ? kFirstWait : out * 2;
  return std::min<Duration>(out, kLongestWait);
}

void remember(History& history, const Declared& declared, const Picture& picture, Instant now) {
  const History before = std::move(history);
  history = {};
  history.commits = before.commits;
  if (picture.settled) history.commits.remember(picture.commit, now);
  const auto keep = [&](auto& to, const auto& from, const auto& key) {
    const auto at = from.find(key);
    to.emplace(key, at == from.end() ? now : at->second);
  };
  for (const auto& [id, peer] : picture.peers)
    if (!peer.answers && !peer.node.empty() && !peer.former) keep(history.silent_since, before.silent_since, peer.node);
  const Planner planner(declared, picture, before, now);
  for (const auto& [name, c] : picture.collections) {
    for (const Transfer& t : c.transfers) keep(history.transfer_since, before.transfer_since, std::tuple(name, t.shard, t.from, t.to));
    for (const auto& [shard, replicas] : c.shards)
      if (planner.view(c, shard).whole.size() < planner.factor(c)) keep(history.short_since, before.short_since, std::pair(name, shard));
  }
  for (const auto& [key, tries] : before.tries) {
    const auto& [name, shard, kind, peer] = key;
    const auto c = picture.collections.find(name);
    const bool there = c != picture.collections.end() && c->second.shards.contains(shard);
    const bool open = kind == Step::Kind::kReplicate     ? there && history.short_since.contains({name, shard})
                      : kind == Step::Kind::kDropReplica ? there && c->second.shards.at(shard).contains(peer)
                                                         : picture.peers.contains(peer);
    if (open) history.tries.emplace(key, tries);
  }
}

void tried(History& history, const Step& step, Instant now, std::string error) {
  Tries& t = history.tries[key_of(step)];
  ++t.count;
  t.last = now;
  t.error = std::move(error);
}

Plan plan(const Declared& declared, const Picture& picture, const History& history, Instant now) { return Planner(declared, picture, history, now).run(); }

}  // namespace daarion::qdrant
