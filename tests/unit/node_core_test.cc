#include "controlplane/core/node_core.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// node1's core, alone: what it hears and what its log holds is said by the test.
class NodeCoreTest : public testing::Test {
 protected:
  NodeCoreTest() : core(config(), at(0)) {}
  static NodeConfig config() {
    NodeConfig c;
    c.spec = spec_of_three();
    c.identity = {.self = node(1), .run = run(1), .boot = boot(1), .instance = instance(1), .software = "1", .fresh_log = log_id(),
                  .topology_hash = "hash"};
    c.record = VoterRecord{.instance = instance(1)};
    c.uptime = seconds(100);
    return c;
  }
  std::vector<Output> give(const Input& input, Instant now) {
    std::vector<Output> out = core.step(input, now);
    for (const Output& o : out)
      if (const auto* w = std::get_if<WriteRecord>(&o)) generation = w->generation;
    return out;
  }
  std::vector<Output> move(Instant now) { return give(StateMoved{std::make_shared<State>(log.state), {log.state.applied, {}, "c"}}, now); }
  void sync(Instant now) { give(RecordWritten{generation}, now); }
  /// Its record is on disk, and `log` is folded.
  void settle() {
    give(TimerFired{}, at(0));
    sync(at(1));
    move(at(10));
    sync(at(11));
  }
  template <class T>
  static std::vector<T> all(const std::vector<Output>& out) {
    std::vector<T> found;
    for (const Output& o : out)
      if (const T* t = std::get_if<T>(&o)) found.push_back(*t);
    return found;
  }
  /// A node that hears no majority of the voters appends nothing.
  void hear_others(Instant now) {
    for (const int peer : {2, 3}) give(BeatHeard{beat_of(peer, 1, State{})}, now);
  }
  static bool says_failed(const std::vector<Output>& out) {
    return std::ranges::any_of(all<Append>(out), [](const Append& a) { return std::holds_alternative<PromotionFailed>(a.request.payload); });
  }
  Log log = log_with_voters();
  NodeCore core;
  std::uint64_t generation = 0;
};

TEST_F(NodeCoreTest, RecordIsTheFirstOutput) {
  const auto out = give(TimerFired{}, at(0));
  ASSERT_FALSE(out.empty());
  ASSERT_TRUE(std::holds_alternative<WriteRecord>(out[0]));
  EXPECT_EQ(std::get<WriteRecord>(out[0]).record.run, run(1));
}

TEST_F(NodeCoreTest, BeatsInTheRhythmOfTheWall) {
  std::vector<std::int64_t> beats;
  for (std::int64_t ms = 0; ms <= 1000; ms += 10)
    for (const SendBeat& b : all<SendBeat>(give(TimerFired{}, at(ms)))) {
      beats.push_back(ms);
      EXPECT_EQ(b.beat.counter, beats.size());
    }
  EXPECT_EQ(beats, (std::vector<std::int64_t>{0, 250, 500, 750, 1000}));
  EXPECT_EQ(core.next_timer(), at(1100)) << "it looks at time at least every 100 ms";
}

TEST_F(NodeCoreTest, OneAppendPerAggregateIsInFlight) {
  give(TimerFired{}, at(0));
  auto appends = all<Append>(move(at(10)));
  ASSERT_EQ(appends.size(), 1u);
  const AppendRequest request = appends[0].request;
  EXPECT_EQ(request.aggregate, (Aggregate{"member", "node1"}));
  EXPECT_EQ(request.version, Version{1});
  EXPECT_EQ(request.actor, "node:node1");
  EXPECT_FALSE(request.reason.empty());
  EXPECT_TRUE(all<Append>(give(TimerFired{}, at(20))).empty());
  give(AppendDone{{.id = request.id, .outcome = AppendResult::Outcome::kConflict}}, at(30));
  EXPECT_TRUE(all<Append>(give(TimerFired{}, at(529))).empty()) << "the fold is to show what won";
  appends = all<Append>(give(TimerFired{}, at(530)));
  ASSERT_EQ(appends.size(), 1u);
  EXPECT_NE(appends[0].request.id, request.id);
}

TEST_F(NodeCoreTest, AChangedFileBecomesTheLogsTopologyAsItIs) {
  NodeConfig changed = config();
  changed.identity.topology_hash = "new";
  changed.spec.voters.push_back(node(4));
  NodeCore other(changed, at(0));
  other.step(TimerFired{}, at(0));
  other.step(StateMoved{std::make_shared<State>(log.state), {log.state.applied, {}, "c"}}, at(10));
  Beat two = beat_of(2, 1, log.state);
  two.topology_hash = "new";  // node3 is not heard: it may be the one that is to leave
  other.step(BeatHeard{two}, at(20));
  for (const Append& a : all<Append>(other.step(TimerFired{}, at(300)))) {
    const auto* topology = std::get_if<TopologyChanged>(&a.request.payload);
    if (topology == nullptr) continue;
    EXPECT_EQ(topology->spec.voters, changed.spec.voters);
    EXPECT_EQ(topology->file_hash, "new");
    return;
  }
  ADD_FAILURE() << "it was not appended";
}

TEST_F(NodeCoreTest, AVoterThatHearsNoMajorityAppendsNothing) {
  give(TimerFired{}, at(0));
  const auto first = all<Append>(move(at(10)));
  ASSERT_EQ(first.size(), 1u) << "nobody has been silent for long yet";
  give(AppendDone{{.id = first[0].request.id, .outcome = AppendResult::Outcome::kUnknown}}, at(20));
  for (std::int64_t ms = 1100; ms <= 5000; ms += 100) EXPECT_TRUE(all<Append>(give(TimerFired{}, at(ms))).empty()) << ms;
  const auto again = all<Append>(give(BeatHeard{beat_of(2, 1, log.state)}, at(5100)));
  ASSERT_FALSE(again.empty()) << "with itself that is two of three";
  EXPECT_EQ(again[0].request.aggregate, first[0].request.aggregate);
}

TEST_F(NodeCoreTest, ADroppedSlotIsAnEventOfItsReplicaAndSaidOnce) {
  settle();
  EngineReport r = standby_at(1000);
  r.dropped_slots = {{node(2), "daarion_node2", "why"}};
  give(GuardChanged{{.resource = kPostgres, .connected = true, .next = session(1)}}, at(20));
  const auto slots = [](const std::vector<Output>& out) {
    auto appends = all<Append>(out);
    std::erase_if(appends, [](const Append& a) { return !std::holds_alternative<SlotDropped>(a.request.payload); });
    return appends;
  };
  const auto told = slots(give(EngineObserved{r, at(30)}, at(30)));
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].request.aggregate, (Aggregate{"replica", "postgres.node2"}));
  const Sequence stored = log.add(told[0].request.payload, node(2), kPostgres);
  give(AppendDone{{.id = told[0].request.id, .outcome = AppendResult::Outcome::kStored, .sequence = stored}}, at(40));
  EXPECT_TRUE(slots(move(at(50))).empty());
  give(BeatHeard{beat_of(2, 1, log.state)}, at(29'990));  // it may append
  EXPECT_TRUE(slots(give(TimerFired{}, at(30'000))).empty());
}

TEST_F(NodeCoreTest, WhatWasSeenBeforeTheProcessStoodStillIsAsOldAsItIs) {
  settle();
  give(GuardChanged{{.resource = kPostgres, .connected = true, .next = session(1)}}, at(20));
  const auto beats = all<SendBeat>(give(EngineObserved{standby_at(1000), at(30)}, at(5030)));
  ASSERT_FALSE(beats.empty());
  EXPECT_GE(beats[0].beat.engines.at(0).age_ms, 5000u);
}

TEST_F(NodeCoreTest, WhoIsAskedForItsPositionAnswersInABeat) {
  settle();
  give(GuardChanged{{.resource = kPostgres, .connected = true, .next = session(1)}}, at(20));
  give(EngineObserved{standby_at(1000), at(20)}, at(20));
  Beat asks = beat_of(2, 50, log.state);
  asks.asks = {{kPostgres, session(20)}};
  const auto look = all<Drive>(give(BeatHeard{asks, "direct"}, at(30)));
  ASSERT_EQ(look.size(), 1u);
  EXPECT_EQ(look[0].command.verb, Verb::kObserve);
  EngineReport r = standby_at(1000);
  r.looked = look[0].command.op;
  const auto beats = all<SendBeat>(give(EngineObserved{r, at(31)}, at(31)));
  ASSERT_EQ(beats.size(), 1u);
  EXPECT_EQ(beats[0].beat.answers, (std::vector<SessionNote>{{kPostgres, session(20)}}));
}

TEST_F(NodeCoreTest, UnknownOutcomeIsTriedAgainUnderTheSameVersion) {
  give(TimerFired{}, at(0));
  const AppendRequest request = all<Append>(move(at(10))).at(0).request;
  give(AppendDone{{.id = request.id, .outcome = AppendResult::Outcome::kUnknown}}, at(30));
  const auto again = all<Append>(give(TimerFired{}, at(230)));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].request.version, request.version);
}

TEST_F(NodeCoreTest, StoredEventIsNotAppendedAgainBeforeItIsFolded) {
  give(TimerFired{}, at(0));
  const AppendRequest request = all<Append>(move(at(10))).at(0).request;
  give(AppendDone{{.id = request.id, .outcome = AppendResult::Outcome::kStored, .sequence = Sequence{4}}}, at(30));
  EXPECT_TRUE(all<Append>(give(TimerFired{}, at(1900))).empty());
}

TEST_F(NodeCoreTest, OwnBeatIsAckedInProcessAndVotesGoOut) {
  settle();
  const auto votes = all<SendVote>(give(TimerFired{}, at(250)));
  ASSERT_EQ(votes.size(), 1u);
  EXPECT_EQ(votes[0].vote.voter, node(1));
  EXPECT_EQ(votes[0].vote.voter_set, log.state.voters.id);
}

/// A server that stood still gives back what it held: votes about an epoch that is gone, which look as if they came just now.
TEST_F(NodeCoreTest, VotesOfEarlierBeatsAreNotCounted) {
  log.decide(1, 2, session(2));
  settle();
  const auto heard = [&](std::uint64_t counter, std::uint64_t voted, Instant now) {
    for (const int n : {2, 3}) {
      const Beat b = beat_of(n, counter, log.state);
      give(BeatHeard{b}, now);
      give(VoteHeard{{.voter = node(n), .instance = instance(n), .run = b.run, .counter = voted, .log = log.state.log.log, .voter_set = log.state.voters.id,
                      .resource = kPostgres, .highest = Epoch{1}}},
           now);
    }
    std::string waits;
    for (const Wait& w : core.waits()) waits += w.what + "; ";
    return waits;
  };
  EXPECT_NE(heard(100, 3, at(1000)).find("a majority of votes: 1 of 3"), std::string::npos) << "only its own";
  const std::string in_time = heard(101, 101, at(1250));
  EXPECT_EQ(in_time.find("a majority of votes"), std::string::npos) << in_time;
}

TEST_F(NodeCoreTest, AcksABeatOnlyAfterItsRecord) {
  log.decide(1, 2, session(2));
  settle();
  Beat b = beat_of(2, 1, log.state);
  b.claims = {claim_of(1, session(2))};
  const auto out = give(BeatHeard{b}, at(20));
  EXPECT_EQ(all<WriteRecord>(out).size(), 1u);
  EXPECT_TRUE(all<SendAck>(out).empty());
  const auto acks = all<SendAck>(give(RecordWritten{generation}, at(25)));
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].ack.holder, node(2));
  EXPECT_TRUE(all<SendAck>(give(BeatHeard{b}, at(30))).empty()) << "a repeat is dropped";
}

TEST_F(NodeCoreTest, NotCaughtUpWhileABeatNamesMore) {
  move(at(0));
  EXPECT_TRUE(core.caught_up());
  Beat b = beat_of(2, 1, log.state);
  b.applied.value += 1;
  give(BeatHeard{b}, at(1));
  EXPECT_FALSE(core.caught_up());
}

TEST_F(NodeCoreTest, WishOfBeforeThisRunIsNotCarriedOut) {
  Log before = log_with_holder();
  before.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 8000}, node(1), kPostgres);
  log = before;
  move(at(0));
  EXPECT_TRUE(core.context(at(0)).live_wishes.empty());
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 8000}, node(1), kPostgres);
  move(at(10));
  EXPECT_EQ(core.context(at(0)).live_wishes, std::vector{kPostgres});
  give(TimerFired{}, at(8010));
  EXPECT_EQ(core.context(at(0)).live_wishes.size(), 1u);
  give(TimerFired{}, at(8011));
  EXPECT_TRUE(core.context(at(0)).live_wishes.empty()) << "it ran out";
}

TEST_F(NodeCoreTest, EveryWaitNamesItsWayOut) {
  give(TimerFired{}, at(0));
  EXPECT_FALSE(core.waits().empty());
  for (const Wait& wait : core.waits()) {
    EXPECT_FALSE(wait.what.empty());
    EXPECT_FALSE(wait.unblock.empty());
  }
}

TEST_F(NodeCoreTest, ItsBeatsSayWhatItsAgentsWaitFor) {
  settle();
  const std::vector<Wait> waits = core.waits();
  const auto of_agent = std::ranges::find_if(waits, [](const Wait& w) { return w.what.find("the guard of postgres") != std::string::npos; });
  ASSERT_NE(of_agent, waits.end());
  std::vector<SendBeat> beats;
  for (int ms = 20; ms < 2000; ms += 10)
    for (const SendBeat& sent : all<SendBeat>(give(TimerFired{}, at(ms)))) beats.push_back(sent);
  ASSERT_FALSE(beats.empty());
  const std::vector<WaitNote>& said = beats.back().beat.waits;
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].resource, kPostgres);
  EXPECT_EQ(said[0].what, of_agent->what);
  EXPECT_EQ(said[0].unblock, of_agent->unblock);
  EXPECT_GT(said[0].for_ms, 1000u);
}

TEST_F(NodeCoreTest, NamedForAResourceThatItDoesNotRunItFails) {
  give(TimerFired{}, at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1)}, node(1), ResourceId("redis"), Epoch{1});
  hear_others(at(1500));
  const auto fails = [&](Instant now) { return says_failed(move(now)); };
  EXPECT_FALSE(fails(at(2019))) << "a guard of before its restart may still have the session";
  log.pause();
  EXPECT_FALSE(fails(at(2020))) << "and under a pause have it without an end";
  log.resume();
  EXPECT_FALSE(fails(at(2030))) << "it never heard of that";
  log.add(FencingConfirmed{session(1)}, node(1), ResourceId("redis"));
  EXPECT_TRUE(fails(at(2040)));
}

TEST_F(NodeCoreTest, AnswersForTheSessionsOfItsOwnInstanceOnly) {
  move(at(0));
  GuardReport guard{.resource = kPostgres, .connected = true, .next = session(1)};
  give(GuardChanged{guard}, at(0));
  const auto said = [&](const PromiseNote& note, std::uint64_t counter, Instant now) {
    Beat b = beat_of(2, counter, log.state);
    b.promises = {note};
    give(BeatHeard{b}, now);
    std::vector<SessionNote> ended;
    for (const SendBeat& s : all<SendBeat>(give(TimerFired{}, now + milliseconds(250)))) ended = s.beat.ended;
    return ended;
  };
  EXPECT_TRUE(said({kPostgres, node(1), session(7), instance(9)}, 1, at(1000)).empty()) << "the first host with its id may write under it";
  EXPECT_TRUE(said({kPostgres, node(2), session(8), instance(1)}, 2, at(2000)).empty());
  EXPECT_EQ(said({kPostgres, node(1), session(9), instance(1)}, 3, at(3000)), (std::vector<SessionNote>{{kPostgres, session(9)}}));
  EXPECT_EQ(said({kPostgres, node(1), session(10), {}}, 4, at(4000)).size(), 2u) << "an older voter's word names none";
}

TEST_F(NodeCoreTest, NamedInAnotherInstanceForAResourceThatItDoesNotRunItSaysNothing) {
  give(TimerFired{}, at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(1), ResourceId("redis"), Epoch{1});
  hear_others(at(1500));
  EXPECT_FALSE(says_failed(move(at(2020))));
}

TEST_F(NodeCoreTest, SameInputsSameOutputs) {
  NodeCore other(config(), at(0));
  const auto play = [&](NodeCore& c) {
    std::vector<Beat> beats;
    for (std::int64_t ms = 0; ms < 3000; ms += 50)
      for (const Output& o : c.step(ms == 100 ? Input(StateMoved{std::make_shared<State>(log.state), {log.state.applied, {}, "c"}}) : Input(TimerFired{}), at(ms)))
        if (const auto* b = std::get_if<SendBeat>(&o)) beats.push_back(b->beat);
    return beats;
  };
  const auto first = play(core);
  EXPECT_GT(first.size(), 10u);
  EXPECT_EQ(first, play(other));
}

TEST_F(NodeCoreTest, AppendsNothingWhileItFoldsTheLogAnewAndBeatsNameNoSequence) {
  give(TimerFired{}, at(0));
  give(LogLost{log_id(), log.state.applied, Sequence{1}, "lost"}, at(1));
  EXPECT_TRUE(all<Append>(move(at(10))).empty()) << "a version of events that are gone";
  EXPECT_FALSE(core.caught_up());
  for (const SendBeat& b : all<SendBeat>(give(TimerFired{}, at(250)))) {
    EXPECT_EQ(b.beat.applied, Sequence{});
    EXPECT_TRUE(b.beat.chain.empty());
  }
  const auto out = give(StateMoved{std::make_shared<State>(log.state), {log.state.applied, {}, "c"}, true}, at(260));
  EXPECT_TRUE(core.caught_up());
  EXPECT_FALSE(all<Append>(out).empty());
  bool told = false;
  for (std::int64_t ms = 260; ms < 1000; ms += 20)
    for (const Append& a : all<Append>(give(TimerFired{}, at(ms)))) told |= std::holds_alternative<LogRegressed>(a.request.payload);
  EXPECT_TRUE(told);
}

}  // namespace
}  // namespace daarion
