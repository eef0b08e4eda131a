// What is read of Qdrant's answers, the one picture that is made of many words, and what is done by it: values in, values out.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "controlplane/drivers/qdrant/client.h"
#include "controlplane/drivers/qdrant/qdrant_observer.h"

namespace daarion::qdrant {
namespace {

using std::chrono::seconds;

const Instant kNow{std::chrono::hours(1)};
const std::map<NodeId, std::string> kAddresses{{NodeId("node1"), "10.0.0.1"}, {NodeId("node2"), "10.0.0.2"}, {NodeId("node3"), "10.0.0.3"},
    {NodeId("node4"), "10.0.0.4"}};
constexpr ReplicaState kActive = ReplicaState::kActive, kDead = ReplicaState::kDead, kPartial = ReplicaState::kPartial;

NodeId node(std::size_t n) { return NodeId("node" + std::to_string(n)); }

/// The word of node n, peer 10n, in a cluster of so many peers led by node1's.
PeerView word(std::size_t n, std::size_t of, std::uint64_t commit = 7) {
  PeerView v{.node = node(n), .reached = true, .error = {}, .clustered = true, .id = n * 10};
  for (std::size_t i = 1; i <= of; ++i) v.peers[i * 10] = "http://10.0.0." + std::to_string(i) + ":6335/";
  v.term = 3;
  v.commit = commit;
  v.leader = 10;
  v.whole = true;
  return v;
}
CollectionSeen docs(std::map<ShardId, std::map<PeerId, ReplicaState>> shards, std::uint32_t factor = 2) {
  return {.params = {.shard_number = static_cast<std::uint32_t>(shards.size()), .replication_factor = factor, .write_consistency_factor = 1},
      .shards = std::move(shards)};
}
/// A settled picture of `of` peers that all say the same; those not in `answering` are silent.
Picture picture(std::size_t of, const CollectionSeen& c, std::set<std::size_t> answering = {1, 2, 3, 4}) {
  std::vector<PeerView> words;
  for (std::size_t n = 1; n <= of; ++n) {
    PeerView v = word(n, of);
    v.collections["docs"] = c;
    if (!answering.contains(n)) v = {.node = node(n), .reached = false, .error = "no answer in time"};
    words.push_back(std::move(v));
  }
  return picture_of(words, kAddresses);
}
Declared declared(std::uint32_t factor, std::size_t nodes) {
  Declared d{.shards = 0, .replication_factor = factor};
  for (std::size_t n = 1; n <= nodes; ++n) d.nodes.push_back(node(n));
  return d;
}
/// The plan of one who has seen this for so long.
Plan after(Duration been, const Declared& d, const Picture& p) {
  History h;
  remember(h, d, p, kNow - been);
  remember(h, d, p, kNow);
  return plan(d, p, h, kNow);
}
bool says(const std::vector<Problem>& problems, const std::string& code) { return std::ranges::any_of(problems,
    [&](const Problem& p) { return p.code == code; }); }

TEST(QdrantPicture, APeersLagIsCountedInOperationsOfTheRaftAndItsTimeMeasured) {
  History h;
  const Declared d = declared(2, 3);
  const auto look = [&](std::uint64_t leader, std::uint64_t behind, Instant now) {
    const std::vector<PeerView> words = {word(1, 3, leader), word(2, 3, leader), word(3, 3, behind)};
    const Picture p = picture_of(words, kAddresses);
    remember(h, d, p, now);
    return view_of(d.nodes, words, p, plan(d, p, h, now), h, now, "");
  };
  ResourceView view = look(7, 7, kNow);
  EXPECT_FALSE(view.members[0].lag_known) << "the leader lags behind nobody";
  EXPECT_TRUE(view.members[2].lag_known);
  EXPECT_EQ(view.members[2].lag_transactions, 0u);
  look(9, 7, kNow + seconds(1));
  view = look(12, 8, kNow + seconds(4));
  EXPECT_EQ(view.members[1].lag_transactions, 0u);
  EXPECT_EQ(view.members[2].lag_transactions, 4u);
  EXPECT_EQ(view.members[2].lag_ms, 3000u) << "it lacks operation 9, which was there 3 s ago";
  EXPECT_EQ(view.members[2].position.lsn.value, 8u);
}

TEST(QdrantPicture, IsSettledByAMajorityThatNamesOneLeader) {
  EXPECT_TRUE(picture_of({word(1, 3), word(2, 3), {.node = node(3)}}, kAddresses).settled);
  EXPECT_FALSE(picture_of({word(1, 3), {.node = node(2)}, {.node = node(3)}}, kAddresses).settled);
  PeerView other = word(2, 3);
  other.leader = 20;
  EXPECT_FALSE(picture_of({word(1, 3), other, {.node = node(3)}}, kAddresses).settled);
  PeerView later = word(2, 3, 9), behind = word(1, 3, 5);
  later.collections["docs"] = docs({{0, {{10, kActive}}}});
  const Picture p = picture_of({behind, later}, kAddresses);
  EXPECT_EQ(p.by, node(2));
  EXPECT_TRUE(p.collections.contains("docs"));
  EXPECT_FALSE(says(p.problems, "views_differ")) << "one is behind, which is no contradiction";
  EXPECT_TRUE(says(picture_of({}, kAddresses).problems, "nobody_answers"));
}

TEST(QdrantPicture, ALoneWordAndAFormerPeerAreNamed) {
  PeerView forgot{.node = node(3), .reached = true, .error = {}, .clustered = true, .id = 99, .peers = {{99, "http://10.0.0.3:6335/"}}, .term = 50,
      .commit = 900};
  forgot.leader = 99;
  forgot.whole = true;
  const Picture p = picture_of({word(1, 3), word(2, 3), forgot}, kAddresses);
  EXPECT_TRUE(p.settled);
  EXPECT_EQ(p.term, 3u) << "a cluster of one, however high its term, is not the majority's";
  EXPECT_TRUE(says(p.problems, "not_in_cluster"));
  EXPECT_TRUE(says(p.problems, "former_peer"));
  EXPECT_TRUE(p.peers.at(30).former);
  EXPECT_EQ(p.peer_of(node(3)), std::nullopt);
}

TEST(QdrantPicture, TwoThatContradictEachOtherAreNamed) {
  PeerView a = word(1, 2), b = word(2, 2);
  a.collections["docs"] = docs({{0, {{10, kActive}, {20, kActive}}}});
  b.collections["docs"] = docs({{0, {{10, kDead}, {20, kActive}}}});
  EXPECT_TRUE(says(picture_of({a, b}, kAddresses).problems, "views_differ"));
}

TEST(QdrantPlan, AShortShardIsCopiedToThePeerWithTheFewest) {
  const Picture p = picture(3, docs({{0, {{10, kActive}}}, {1, {{10, kActive}, {20, kActive}}}}));
  EXPECT_TRUE(after(seconds(1), declared(2, 3), p).steps.empty()) << "Qdrant has its time first";
  const Plan done = after(seconds(11), declared(2, 3), p);
  EXPECT_TRUE(says(done.problems, "short"));
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].what, "replicate docs/0 from node1 to node3");
  EXPECT_EQ(body_of(done.steps[0]), R"({"replicate_shard":{"from_peer_id":10,"shard_id":0,"to_peer_id":30}})");
}

TEST(QdrantPlan, ABrokenReplicaIsMendedWhereItIs) {
  const Plan done = after(seconds(11), declared(2, 3), picture(3, docs({{0, {{10, kActive}, {20, kPartial}}}})));
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].to, 20u);
}

TEST(QdrantPlan, AMemberThatMayComeBackIsWaitedFor) {
  const Picture p = picture(3, docs({{0, {{10, kActive}, {20, kDead}}}}), {1, 3});
  EXPECT_TRUE(after(seconds(30), declared(2, 3), p).steps.empty());
  const Plan done = after(seconds(61), declared(2, 3), p);
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].to, 30u);
}

TEST(QdrantPlan, OneWithoutAWholeReplicaIsNamedAndLeftAlone) {
  const Plan done = after(std::chrono::hours(1), declared(2, 3), picture(3, docs({{0, {{10, kDead}, {20, kPartial}}}, {1, {{30, kActive}}}}), {1, 2}));
  EXPECT_TRUE(says(done.problems, "lost"));
  EXPECT_TRUE(says(done.problems, "unreachable"));
  EXPECT_TRUE(done.steps.empty());
}

TEST(QdrantPlan, ATransferIsWaitedForAndNamedWhenItDoesNotEnd) {
  CollectionSeen c = docs({{0, {{10, kActive}, {20, kPartial}}}});
  c.transfers = {{.shard = 0, .from = 10, .to = 20, .sync = true}};
  const Plan done = after(std::chrono::minutes(11), declared(2, 3), picture(3, c));
  EXPECT_TRUE(done.steps.empty());
  EXPECT_TRUE(says(done.problems, "long_transfer"));
}

TEST(QdrantPlan, ARetiredPeerIsEmptiedThenRemoved) {
  Declared d = declared(2, 3);
  d.retired = {node(2)};
  Plan done = after(seconds(11), d, picture(3, docs({{0, {{10, kActive}, {20, kActive}}}})));
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].what, "replicate docs/0 from node1 to node3");
  done = after(seconds(0), d, picture(3, docs({{0, {{10, kActive}, {20, kActive}, {30, kActive}}}})));
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].kind, Step::Kind::kDropReplica);
  EXPECT_EQ(done.steps[0].to, 20u);
  done = after(seconds(0), d, picture(3, docs({{0, {{10, kActive}, {30, kActive}}}}), {1, 3}));
  ASSERT_EQ(done.steps.size(), 1u);
  EXPECT_EQ(done.steps[0].kind, Step::Kind::kRemovePeer);
  d.retired = {};
  EXPECT_TRUE(after(std::chrono::hours(9), d, picture(3, docs({{0, {{10, kActive}, {30, kActive}}}}), {1, 3})).steps.empty()) << "dead, and not retired";
}

TEST(QdrantPlan, TriesAreSpacedAndNamed) {
  const Declared d = declared(2, 3);
  const Picture p = picture(3, docs({{0, {{10, kActive}, {20, kDead}}}}));
  History h;
  remember(h, d, p, kNow - seconds(20));
  std::vector<std::int64_t> at;
  for (int s = 0; s < 100; ++s) {
    const Instant now = kNow + seconds(s);
    remember(h, d, p, now);
    for (const Step& step : plan(d, p, h, now).steps) {
      tried(h, step, now, "no");
      at.push_back(s);
    }
  }
  EXPECT_EQ(at, (std::vector<std::int64_t>{0, 5, 15, 35, 75}));
  EXPECT_TRUE(says(plan(d, p, h, kNow).problems, "repair_fails"));
  remember(h, d, picture(3, docs({{0, {{10, kActive}, {20, kActive}}}})), kNow);
  EXPECT_TRUE(h.tries.empty());
}

TEST(QdrantPlan, WhatCannotBeMadeTrueIsSaid) {
  Declared d = declared(3, 2);
  d.shards = 4;
  const Plan done = after(std::chrono::hours(1), d, picture(2, docs({{0, {{10, kActive}, {20, kActive}}}})));
  for (const char* code : {"shard_number", "factor_differs", "too_few_peers", "short"}) EXPECT_TRUE(says(done.problems, code)) << code;
  EXPECT_TRUE(done.steps.empty());
}

struct World {
  Declared d;
  CollectionSeen a, b;
  std::set<std::size_t> answering;
  std::size_t of = 3;
};
CollectionSeen arbitrary_collection(std::size_t of) {
  CollectionSeen c;
  for (ShardId shard = 0; shard < 2; ++shard)
    for (std::size_t n = 1; n <= of; ++n)
      if (*rc::gen::inRange(0, 2) == 0) c.shards[shard][n * 10] = *rc::gen::inRange(0, 2) == 0 ? kActive : static_cast<ReplicaState>(*rc::gen::inRange(0, 12));
  if (*rc::gen::inRange(0, 4) == 0) c.transfers.push_back({.shard = *rc::gen::inRange<ShardId>(0, 2), .from = 10, .to = 20, .sync = true});
  c.resharding = *rc::gen::inRange(0, 10) == 0;
  c.params = {.shard_number = 2, .replication_factor = 2, .write_consistency_factor = 1};
  return c;
}
World arbitrary_world() {
  World w;
  w.of = *rc::gen::inRange<std::size_t>(2, 5);
  w.d = declared(*rc::gen::inRange<std::uint32_t>(1, 4), *rc::gen::inRange<std::size_t>(1, w.of + 1));
  for (std::size_t n = 1; n <= w.of; ++n) {
    if (*rc::gen::inRange(0, 4) != 0) w.answering.insert(n);
    if (*rc::gen::inRange(0, 4) == 0) w.d.retired.insert(node(n));
    if (*rc::gen::inRange(0, 6) == 0) w.d.resting.insert(node(n));
  }
  w.a = arbitrary_collection(w.of);
  w.b = arbitrary_collection(w.of);
  return w;
}
Picture seen(const World& w) {
  std::vector<PeerView> words;
  for (std::size_t n = 1; n <= w.of; ++n) {
    PeerView v = word(n, w.of);
    v.collections = {{"a", w.a}, {"b", w.b}};
    words.push_back(w.answering.contains(n) ? v : PeerView{.node = node(n)});
  }
  return picture_of(words, kAddresses);
}
bool stays(const World& w, PeerId peer) {
  return w.answering.contains(peer / 10) && !w.d.retired.contains(node(peer / 10)) && std::ranges::find(w.d.nodes, node(peer / 10)) != w.d.nodes.end();
}
std::size_t whole_elsewhere(const World& w, const CollectionSeen& c, ShardId shard, PeerId but) {
  std::size_t n = 0;
  for (const auto& [peer, state] : c.shards.at(shard)) n += peer != but && stays(w, peer) && is_whole(state) ? 1 : 0;
  return n;
}

RC_GTEST_PROP(QdrantPlan, NeverTakesWhatIsTheLastAndNeverTwoStepsForOneShard, ()) {
  const World w = arbitrary_world();
  const Picture p = seen(w);
  const Plan done = after(std::chrono::minutes(5), w.d, p);
  RC_CLASSIFY(!done.steps.empty(), "with steps");
  if (!p.settled) RC_ASSERT(done.steps.empty());
  std::set<std::pair<std::string, ShardId>> touched;
  std::size_t transfers = w.a.transfers.size() + w.b.transfers.size(), begun = 0;
  for (const Step& s : done.steps) {
    if (s.kind == Step::Kind::kRemovePeer) {
      RC_ASSERT(w.d.retired.contains(node(s.to / 10)));
      for (const CollectionSeen* c : {&w.a, &w.b})
        for (const auto& [shard, replicas] : c->shards) RC_ASSERT(!replicas.contains(s.to));
      continue;
    }
    const CollectionSeen& c = s.collection == "a" ? w.a : w.b;
    RC_ASSERT(touched.emplace(s.collection, s.shard).second);
    RC_ASSERT(!c.resharding);
    for (const Transfer& t : c.transfers) RC_ASSERT(t.shard != s.shard);
    if (s.kind == Step::Kind::kReplicate) {
      ++begun;
      RC_ASSERT(w.answering.contains(s.from / 10));
      RC_ASSERT(is_whole(c.shards.at(s.shard).at(s.from)));
      RC_ASSERT(stays(w, s.to) && !w.d.resting.contains(node(s.to / 10)));
      const auto there = c.shards.at(s.shard).find(s.to);
      const bool whole = there != c.shards.at(s.shard).end() && is_whole(there->second);
      RC_ASSERT(!whole);
    } else {
      RC_ASSERT(w.d.retired.contains(node(s.to / 10)));
      RC_ASSERT(whole_elsewhere(w, c, s.shard, s.to) >= 1);
    }
  }
  RC_ASSERT(begun == 0 || begun + transfers <= w.d.most_transfers);
}

RC_GTEST_PROP(QdrantPlan, CarriedOutToItsEndLeavesNothingToDo, ()) {
  World w = arbitrary_world();
  w.a.transfers.clear();
  w.b.transfers.clear();
  w.a.resharding = w.b.resharding = false;
  std::size_t removed = 0;
  for (int round = 0; round < 40; ++round) {
    const Picture p = seen(w);
    Plan done = after(std::chrono::minutes(5), w.d, p);
    std::erase_if(done.steps, [](const Step& s) { return s.kind == Step::Kind::kRemovePeer; });
    if (done.steps.empty()) {
      removed = static_cast<std::size_t>(round);
      break;
    }
    for (const Step& s : done.steps) {
      auto& replicas = (s.collection == "a" ? w.a : w.b).shards[s.shard];
      if (s.kind == Step::Kind::kReplicate) replicas[s.to] = kActive;
      else replicas.erase(s.to);
    }
    RC_ASSERT(round < 39);
  }
  RC_ASSERT(removed < 40u);
  const Picture p = seen(w);
  if (!p.settled) return;
  std::size_t can = 0, silent_or_resting = w.d.resting.size();
  for (std::size_t n = 1; n <= w.of; ++n) {
    can += stays(w, n * 10) ? 1 : 0;
    silent_or_resting += w.answering.contains(n) ? 0 : 1;
  }
  for (const CollectionSeen* c : {&w.a, &w.b})
    for (const auto& [shard, replicas] : c->shards) {
      bool source = false, retired = false;
      for (const auto& [peer, state] : replicas) {
        source |= w.answering.contains(peer / 10) && is_whole(state);
        retired |= w.d.retired.contains(node(peer / 10));
      }
      if (!source || silent_or_resting > 0) continue;
      RC_ASSERT(whole_elsewhere(w, *c, shard, 0) >= std::min<std::size_t>(w.d.replication_factor, can));
      if (can > 0) RC_ASSERT(!retired);
    }
}

TEST(QdrantAnswers, AreReadAsPublished) {
  PeerView v;
  ASSERT_TRUE(read_cluster(R"({"result":{"status":"enabled","peer_id":18446744073709551615,
    "peers":{"18446744073709551615":{"uri":"http://10.0.0.1:6335/"},"5":{"uri":"http://b:6335/"}},
    "raft_info":{"term":4,"commit":17,"pending_operations":1,"leader":5,"role":"Follower","is_voter":true},
    "consensus_thread_status":{"consensus_thread_status":"stopped_with_err","err":"disk"},"message_send_failures":{}},"status":"ok","time":0.1})", v));
  EXPECT_EQ(v.id, UINT64_MAX);
  EXPECT_EQ(v.peers.size(), 2u);
  EXPECT_EQ(v.leader, 5u);
  EXPECT_EQ(v.consensus, "stopped_with_err: disk");
  PeerView off;
  ASSERT_TRUE(read_cluster(R"({"result":{"status":"disabled"},"status":"ok"})", off));
  EXPECT_FALSE(off.clustered);
  CollectionSeen c;
  ASSERT_TRUE(read_placement(R"({"result":{"peer_id":1,"shard_count":2,"local_shards":[{"shard_id":0,"points_count":3,"state":"Active"}],
    "remote_shards":[{"shard_id":1,"peer_id":2,"state":"SomethingNew"}],
    "shard_transfers":[{"shard_id":0,"from":1,"to":2,"sync":true,"method":"wal_delta"}]}})", c));
  EXPECT_EQ(c.shards.at(1).at(2), ReplicaState::kUnknown);
  EXPECT_FALSE(is_whole(ReplicaState::kUnknown));
  EXPECT_EQ(c.transfers, (std::vector<Transfer>{{.shard = 0, .from = 1, .to = 2, .sync = true}}));
  EXPECT_EQ(read_params(R"({"result":{"config":{"params":{"vectors":{},"shard_number":2,"replication_factor":3}}}})").value(),
            (CollectionParams{.shard_number = 2, .replication_factor = 3, .write_consistency_factor = 1}));
  EXPECT_EQ(error_in(R"({"status":{"error":"Not found"},"time":0})"), "Not found");
  EXPECT_EQ(host_of("http://10.0.0.1:6335/"), "10.0.0.1");
  EXPECT_EQ(host_of("http://[::1]:6335/"), "::1");
}

TEST(QdrantAnswers, ThatAreWrongChangeNothing) {
  for (const char* text : {"", "{", "[]", "null", R"({"result":null})", R"({"result":{"status":"enabled","peer_id":-1}})",
      R"({"result":{"status":"enabled","peer_id":"1"}})",
                           R"({"result":{"status":"enabled","peer_id":1,"peers":{"x":{"uri":"u"}}}})"}) {
    PeerView v{.node = node(1)};
    const PeerView before = v;
    EXPECT_FALSE(read_cluster(text, v)) << text;
    EXPECT_EQ(v, before);
    CollectionSeen c;
    EXPECT_FALSE(read_placement(text, c)) << text;
    EXPECT_EQ(c, CollectionSeen{});
    EXPECT_FALSE(read_names(text));
    EXPECT_FALSE(read_params(text));
  }
}

}  // namespace
}  // namespace daarion::qdrant
