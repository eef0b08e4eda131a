#include "controlplane/core/fold.h"

#include "controlplane/core/override.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;
using Phase = LeaseState::Phase;

/// Folds `event` and expects that it moves nothing but the position in the log, the counter of ignored events, and (if the
/// event was rightly numbered) the version of its aggregate.
void expect_ignored(Log& log, const LogEvent& event, bool counted = true) {
  State wanted = log.state;
  ++wanted.ignored;
  wanted.applied = event.sequence;
  wanted.applied_ns = event.stored_ns;
  const Aggregate& of = event.event.header.aggregate;
  if (counted) (of.kind == "operator" ? wanted.operators[of.name].version : wanted.leases[kPostgres].version) = event.event.header.version;
  log.add(event);
  EXPECT_EQ(log.state, wanted) << payload_name(event.event.payload);
}

// ---- one test per payload
TEST(Fold, LogCreatedNamesTheLogOnce) {
  Log log;
  log.add(LogCreated{log_id(1), "test", log_id(9)});
  EXPECT_EQ(log.state.log.log, log_id(1));
  EXPECT_EQ(log.state.log.parent, log_id(9));
  log.add(LogCreated{log_id(2), "other", {}});
  EXPECT_EQ(log.state.log.log, log_id(1));
  EXPECT_EQ(log.state.log.cluster, "test");
  EXPECT_EQ(log.state.ignored, 1u);
  EXPECT_EQ(log.state.log.version, Version{2});
}

TEST(Fold, LogRegressedIsRemembered) {
  Log log = log_with_voters();
  const LogEvent event = log.make(LogRegressed{Sequence{9}, Sequence{3}, ""}, node(2));
  log.add(event);
  EXPECT_EQ(log.state.log.regressions, (std::vector{Regression{event.sequence, event.stored_ns, node(2), Sequence{9}, Sequence{3}}}));
}

/// An append that was on its way when the log lost events: its version is too high now, and its subject is taken.
TEST(Fold, AVersionBeforeItsTurnSaysNothingAndIsSteppedOver) {
  Log log = log_with_holder();
  const std::uint64_t next = log.state.version_of({"lease", "postgres"}).value + 1;
  for (const std::uint64_t early : {next + 1, next + 2}) {
    LogEvent e = log.make(LeaseReleased{.session = session(1)}, node(1), kPostgres, Epoch{1});
    e.event.header.version = Version{early};
    log.add(e);
  }
  EXPECT_EQ(log.state.ignored, 2u);
  EXPECT_EQ(log.lease().phase, Phase::kActive);
  EXPECT_EQ(log.state.log.voids.size(), 2u);
  EXPECT_EQ(log.state.version_of({"lease", "postgres"}).value + 1, next) << "the next append is still this one";
  log.decide(2, 2, session(2));
  EXPECT_EQ(log.lease().epoch, Epoch{2});
  EXPECT_EQ(log.state.version_of({"lease", "postgres"}).value, next + 2) << "what nobody can append any more is behind it";
  EXPECT_TRUE(log.state.log.voids.empty());
}

TEST(Fold, FeatureLevelOnlyRises) {
  Log log;
  log.add(FeatureLevelRaised{3});
  log.add(FeatureLevelRaised{2});
  EXPECT_EQ(log.state.log.feature_level, 3u);
}

TEST(Fold, VoterSetIsNamedByItsEvent) {
  Log log;
  const LogEvent e = log.make(voters_of(3), node(1));
  log.add(e);
  EXPECT_EQ(log.state.voters.id, e.event.header.id);
  EXPECT_EQ(log.state.voters.sequence, e.sequence);
  EXPECT_EQ(log.state.voters.voters, voters_of(3).voters);
}

/// Whoever appended it and however long it was on its way: a change that does not follow says nothing.
TEST(Fold, VoterSetChangesByOneOnTheWordOfAMajority) {
  const Log log = log_with_holder();
  const auto taken = [](Log from, const VoterSetChanged& change) {
    const EventId before = from.state.voters.id;
    from.add(change);
    return from.state.voters.id != before;
  };
  const VoterInstance old{node(3), instance(3)}, fresh{node(3), instance(9)}, fourth{node(4), instance(4)};
  const VoterSetChanged good = log.changed_set(old, {fresh});
  EXPECT_TRUE(taken(log, good));
  auto with = [&](auto&& change) {
    VoterSetChanged bad = good;
    change(bad);
    return taken(log, bad);
  };
  EXPECT_FALSE(with([](auto& c) { c.base = {}; })) << "a second first set";
  EXPECT_FALSE(with([](auto& c) { c.base = EventId{0xE, 99}; })) << "of a set that the log has lost";
  EXPECT_FALSE(with([](auto& c) { c.next = {}; })) << "an even number that names nothing to follow";
  EXPECT_FALSE(with([](auto& c) { c.voters = {{node(1), instance(1)}}; })) << "two at once";
  EXPECT_FALSE(with([&](auto& c) { c.voters.push_back(fresh); })) << "one for another is two at once";
  EXPECT_FALSE(with([](auto& c) { c.voters.clear(); }));
  EXPECT_FALSE(with([](auto& c) { std::ranges::reverse(c.voters); })) << "not in order";
  EXPECT_TRUE(with([](auto& c) { c.words.resize(2); }));
  EXPECT_FALSE(with([](auto& c) { c.words.resize(1); })) << "no majority";
  EXPECT_FALSE(with([](auto& c) { c.words.resize(1), c.words.push_back(c.words[0]); })) << "one counted twice";
  EXPECT_FALSE(with([](auto& c) { c.words[2].instance = instance(9); })) << "of no voter";
  EXPECT_TRUE(with([](auto& c) { c.words[0].promised = {{kPostgres, Epoch{1}}}; }));
  EXPECT_FALSE(with([](auto& c) { c.words[0].promised = {{kPostgres, Epoch{2}}}; })) << "the log has lost epoch 2";
  EXPECT_FALSE(with([](auto& c) { c.words[0].promised = {{ResourceId("other"), Epoch{1}}}; }));
  EXPECT_FALSE(taken(log, log.changed_set(fourth))) << "an even number";
  VoterSetChanged same = log.changed_set(fourth);
  same.voters = log.state.voters.voters;
  EXPECT_FALSE(taken(log, same)) << "nothing";
}

TEST(Fold, ASetOfEvenNumberIsFollowedByWhatItNamed) {
  Log log = log_with_voters();
  const VoterInstance old{node(3), instance(3)}, fresh{node(3), instance(9)}, newer{node(3), instance(10)};
  log.change_set(old, {fresh});
  ASSERT_EQ(log.state.voters.voters.size(), 2u);
  const auto size_after = [](Log from, const VoterSetChanged& change) {
    from.add(change);
    return from.state.voters.voters.size();
  };
  EXPECT_EQ(size_after(log, log.changed_set(fresh)), 3u);
  EXPECT_EQ(size_after(log, log.changed_set(newer)), 2u) << "another was named";
  EXPECT_EQ(size_after(log, log.changed_set(old)), 2u) << "not even back";
  EXPECT_EQ(size_after(log, log.changed_set({node(2), instance(2)})), 2u);
  // To name another one is a change of its own.
  VoterSetChanged rename = log.changed_set(fresh, {newer});
  rename.voters = log.state.voters.voters;
  const EventId before = log.state.voters.id;
  log.add(rename);
  EXPECT_NE(log.state.voters.id, before);
  EXPECT_EQ(log.state.voters.next, std::vector{newer});
  EXPECT_EQ(size_after(log, log.changed_set(fresh)), 2u);
  EXPECT_EQ(size_after(log, log.changed_set(newer)), 3u);
}

TEST(Fold, TopologyReplacesTheWholeSpec) {
  Log log = log_with_voters();
  TopologySpec spec = spec_of_three();
  spec.resources.clear();
  log.add(TopologyChanged{spec, "other"});
  EXPECT_EQ(log.state.topology.spec, spec);
  EXPECT_EQ(log.state.topology.file_hash, "other");
  EXPECT_EQ(log.state.topology.version, Version{2});
}

TEST(Fold, MemberJoinsGoesSilentAndReturns) {
  Log log;
  log.add(MemberJoined{.role = NodeRole::kReplica, .region = "eu", .address = "host2", .software = "1", .instance = instance(2), .boot = boot(1)},
          node(2));
  EXPECT_TRUE(log.state.member(node(2))->reachable);
  EXPECT_EQ(log.state.member(node(2))->returned, Sequence{});
  log.add(MemberUnreachable{3000, {node(1), node(3)}}, node(2));
  EXPECT_FALSE(log.state.member(node(2))->reachable);
  EXPECT_EQ(log.state.member(node(2))->unreachable, log.events.back().event.header.id);
  const Sequence back = log.add(MemberReturned{instance(2), boot(2), run(5), "2", 1}, node(2));
  const MemberState& m = *log.state.member(node(2));
  EXPECT_TRUE(m.reachable);
  EXPECT_TRUE(m.unreachable.empty());
  EXPECT_EQ(m.boot, boot(2));
  EXPECT_EQ(m.returned_run, run(5));
  EXPECT_EQ(m.returned, back);
  EXPECT_EQ(m.software, "2");
  EXPECT_EQ(m.region, "eu");
  log.add(MemberIntentChanged{MemberIntent::kDraining}, node(2));
  EXPECT_EQ(log.state.member(node(2))->intent, MemberIntent::kDraining);
}

TEST(Fold, DecisionNominatesAndCompletionMakesTheHolder) {
  Log log = log_with_voters();
  const Sequence decided = log.decide(1, 1, session(1), DecisionKind::kBootstrap);
  EXPECT_EQ(log.lease().phase, Phase::kDecided);
  EXPECT_EQ(log.lease().holder, node(1));
  EXPECT_EQ(log.lease().open.size(), 1u);
  EXPECT_FALSE(log.lease().has_holder());
  const Sequence completed = log.complete(1, 1, session(1), {1, Lsn{100}, "db"});
  const LeaseState& l = log.lease();
  EXPECT_EQ(l.phase, Phase::kActive);
  EXPECT_EQ(l.completed.node, node(1));
  EXPECT_EQ(l.completed.decided, decided);
  EXPECT_EQ(l.completed.sequence, completed);
  EXPECT_EQ(l.position, (Position{1, Lsn{100}, "db"}));
  EXPECT_EQ(l.timelines, (std::vector<TimelineStart>{{1, Lsn{100}, session(1)}}));
  EXPECT_TRUE(l.open.empty());
  EXPECT_TRUE(l.promotions_ns.empty()) << "a bootstrap is no automatic promotion";
}

TEST(Fold, FailoverCountsAsAutomaticPromotionAndSwitchoverDoesNot) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2), DecisionKind::kFailover);
  log.complete(2, 2, session(2), {2, Lsn{200}, "db"});
  EXPECT_EQ(log.lease().promotions_ns.size(), 1u);
  log.decide(3, 1, session(3), DecisionKind::kSwitchover);
  log.complete(3, 1, session(3), {3, Lsn{300}, "db"});
  EXPECT_EQ(log.lease().promotions_ns.size(), 1u);
}

TEST(Fold, WhatWasOpenedUnderTheSameNumberBeforeIsNoHistoryOfTheNewestWriter) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  log.complete(2, 2, session(2), {2, Lsn{200}, "db"});
  log.decide(3, 2, session(4));
  log.complete(3, 2, session(4), {3, Lsn{400}, "db"});
  log.decide(4, 3, session(3));
  log.complete(4, 3, session(3), {2, Lsn{150}, "db"});  // it never heard of either
  const auto first = log.lease().timelines.front();
  EXPECT_EQ(log.lease().timelines, (std::vector<TimelineStart>{first, {2, Lsn{150}, session(3)}}));
  EXPECT_EQ(first.session, session(1));
}

TEST(Fold, KeepRaisesTheEpochOfTheSameWriter) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  log.decide(3, 1, session(1), DecisionKind::kKeep);
  log.complete(3, 1, session(1), {1, Lsn{100}, "db"});
  EXPECT_EQ(log.lease().completed.epoch, Epoch{3});
  EXPECT_EQ(log.lease().timelines.size(), 1u);
  EXPECT_EQ(log.lease().phase, Phase::kActive);
  EXPECT_EQ(log.lease().open.size(), 1u) << "session 2 may still have been opened";
}

TEST(Fold, FailedDecisionIsOver) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{2});
  EXPECT_EQ(log.lease().phase, Phase::kEnded);
  EXPECT_TRUE(log.lease().has_ended(session(2)));
  EXPECT_TRUE(log.lease().has_holder()) << "node1 was not told that it ended";
}

TEST(Fold, ReleaseAfterACleanStopKeepsTheFinalPosition) {
  Log log = log_with_holder();
  log.add(LeaseReleased{session(1), EndCause::kReleased, true, {1, Lsn{900}, "db"}, instance(1)}, node(1), kPostgres, Epoch{1});
  EXPECT_TRUE(log.lease().final_position);
  EXPECT_EQ(log.lease().position.lsn, Lsn{900});
  EXPECT_EQ(log.lease().phase, Phase::kEnded);
  log.decide(2, 2, session(2));
  log.complete(2, 2, session(2), {2, Lsn{900}, "db"});
  EXPECT_FALSE(log.lease().final_position);
}

TEST(Fold, ReleaseWithoutACleanStopKeepsTheOldPosition) {
  Log log = log_with_holder();
  log.release(1, 1, session(1), EndCause::kCrashed);
  EXPECT_FALSE(log.lease().final_position);
  EXPECT_EQ(log.lease().position.lsn, Lsn{100});
}

TEST(Fold, ReplicaEventsSetItsStatus) {
  using Status = ReplicaState::Status;
  Log log = log_with_holder();
  const auto status = [&] { return log.state.replicas.at({kPostgres, node(2)}).status; };
  log.add(ReplicaProvisioned{"basebackup", node(1), {1, Lsn{5}, "db"}}, node(2), kPostgres);
  EXPECT_EQ(status(), Status::kProvisioned);
  log.add(ReplicaDiverged{node(1), {}}, node(2), kPostgres);
  EXPECT_EQ(status(), Status::kDiverged);
  log.add(ReplicaRejoined{"rewind", node(1), {1, Lsn{6}, "db"}}, node(2), kPostgres);
  EXPECT_EQ(status(), Status::kRejoined);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).method, "rewind");
  log.add(SlotDropped{"s"}, node(2), kPostgres);
  EXPECT_EQ(status(), Status::kRejoined);
  const Sequence asked = log.add(RejoinRequested{.request = "r7"}, node(2), kPostgres);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).asked, asked);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).asked_epoch, log.state.lease(kPostgres)->epoch);
  EXPECT_TRUE(std::ranges::any_of(log.state.requests, [](const RequestState& r) { return r.request == "r7"; }));
  log.add(ReplicaDiverged{node(1), {}}, node(2), kPostgres);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).asked, asked);
  LogEvent done = log.make(ReplicaRejoined{"rebuild", node(1), {1, Lsn{6}, "db"}}, node(2), kPostgres, {});
  done.event.header.cause = log.state.replicas.at({kPostgres, node(2)}).asked_event;
  log.add(done);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).asked, Sequence{});
  log.add(RestartRequested{.request = "r8"}, node(2), kPostgres);
  EXPECT_TRUE(log.state.replicas.at({kPostgres, node(2)}).asked_restart);
  EXPECT_TRUE(std::ranges::any_of(log.state.requests, [](const RequestState& r) { return r.request == "r8"; }));
  LogEvent restarted = log.make(ReplicaRestarted{}, node(2), kPostgres, {});
  log.add(restarted);
  EXPECT_TRUE(log.state.replicas.at({kPostgres, node(2)}).asked_restart) << "of another request";
  restarted = log.make(ReplicaRestarted{}, node(2), kPostgres, {});
  restarted.event.header.cause = log.state.replicas.at({kPostgres, node(2)}).asked_event;
  log.add(restarted);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(2)}).asked, Sequence{});
  EXPECT_FALSE(log.state.replicas.at({kPostgres, node(2)}).asked_restart);
  EXPECT_EQ(status(), Status::kRejoined);
  log.add(ReplicaRemoved{}, node(2), kPostgres);
  EXPECT_EQ(status(), Status::kRemoved);
  EXPECT_EQ(log.state.version_of({"replica", "postgres.node2"}), Version{11});
}

TEST(Fold, TheSyncSetIsTheWritersWordAndOfItsSession) {
  Log log = log_with_holder();
  log.add(SyncSetChanged{session(1), {node(2)}, 1}, node(2), kPostgres, Epoch{1});
  EXPECT_EQ(log.lease().sync, SyncSet{}) << "node2 does not write";
  log.add(SyncSetChanged{session(2), {node(2)}, 1}, node(1), kPostgres, Epoch{1});
  EXPECT_EQ(log.lease().sync, SyncSet{}) << "of another session";
  const Sequence at = log.add(SyncSetChanged{session(1), {node(2)}, 1}, node(1), kPostgres, Epoch{1});
  EXPECT_EQ(log.lease().sync, (SyncSet{session(1), {node(2)}, 1, at}));
  EXPECT_EQ(log.lease().epoch, Epoch{1});
  log.release(1, 1, session(1));
  log.add(SyncSetChanged{session(1), {node(3)}, 1}, node(1), kPostgres, Epoch{1});
  EXPECT_EQ(log.lease().sync.members, std::vector{node(2)}) << "what it acknowledged, it acknowledged before";
}

TEST(Fold, ThatAPersonAcceptsALossIsOfTheDecisionAndOfWhomItNames) {
  Log log = log_with_holder();
  const auto decide = [&](std::uint64_t epoch, Evidence evidence) {
    log.add(PromotionDecided{.to = node(2), .session = session(epoch), .evidence = std::move(evidence), .instance = instance(2)}, node(2), kPostgres, Epoch{epoch});
    return log.lease().accepts_loss;
  };
  EXPECT_TRUE(decide(2, {.allow_data_loss = true}));
  EXPECT_FALSE(decide(3, {}));
  EXPECT_TRUE(decide(4, {.wanted = node(2), .allow_data_loss = true}));
  EXPECT_FALSE(decide(5, {.wanted = node(1), .allow_data_loss = true}));
}

TEST(Fold, RoutesAndCapabilities) {
  Log log;
  log.add(RouteTableChanged{{RouteRule{.name = "r", .subjects = {"a.>"}}}});
  log.add(CapabilityMoved{"llm", "gpu1"});
  EXPECT_EQ(log.state.routes.at("table").rules.size(), 1u);
  EXPECT_EQ(log.state.routes.at("llm").provider, "gpu1");
}

TEST(Fold, SwitchoverIsPendingUntilTheNextDecision) {
  Log log = log_with_holder();
  const Sequence asked =
      log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 5000, .request = "r1"}, node(1), kPostgres);
  const SwitchoverState& wish = log.state.operator_of(kPostgres)->switchover;
  EXPECT_EQ(wish.sequence, asked);
  EXPECT_EQ(wish.epoch, Epoch{1});
  EXPECT_EQ(wish.to, node(2));
  ASSERT_EQ(log.state.requests.size(), 1u);
  EXPECT_EQ(log.state.requests[0].request, "r1");
  EXPECT_EQ(log.state.requests[0].sequence, asked);
  log.decide(2, 2, session(2), DecisionKind::kSwitchover);
  EXPECT_EQ(log.state.operator_of(kPostgres)->switchover, SwitchoverState{});
  EXPECT_EQ(log.state.requests.size(), 1u) << "the key outlives the wish";
}

TEST(Fold, RequestKeysAreBounded) {
  Log log = log_with_holder();
  for (std::size_t i = 0; i < kMaxRequests + 5; ++i)
    log.add(SwitchoverRequested{.from = node(1), .request = "r" + std::to_string(i)}, node(1), kPostgres);
  ASSERT_EQ(log.state.requests.size(), kMaxRequests);
  EXPECT_EQ(log.state.requests.back().request, "r" + std::to_string(kMaxRequests + 4));
  EXPECT_EQ(log.state.requests.front().request, "r5");
}

TEST(Fold, FencingConfirmedNamesTheSession) {
  Log log = log_with_holder();
  const Sequence at = log.add(FencingConfirmed{session(1), "powered off"}, node(1), kPostgres);
  EXPECT_EQ(log.state.operator_of(kPostgres)->fenced, (std::vector<FencedSession>{{session(1), at}}));
}

TEST(Fold, OverrideLeavesTheVotersNamedUnderANewNameAndHigherEpochs) {
  Log log = log_with_holder();
  const State before = log.state;
  const Sequence at = log.add(log.override_for({2}));
  const State& s = log.state;
  EXPECT_EQ(s.voters.voters, (std::vector<VoterInstance>{{node(2), instance(2)}}));
  EXPECT_EQ(s.voters.id, log.events.back().event.header.id);
  EXPECT_EQ(s.voters.sequence, at);
  EXPECT_NE(s.log.log, before.log.log);
  EXPECT_EQ(s.log.parent, before.log.log);
  EXPECT_EQ(s.log.root, before.log.log);
  EXPECT_EQ(s.log.overrides, 1u);
  EXPECT_EQ(log.lease().epoch.value, 1 + kOverrideEpochs);
  EXPECT_EQ(log.lease().phase, LeaseState::Phase::kEnded);
  EXPECT_EQ(log.lease().completed, before.leases.at(kPostgres).completed) << "whose data the others follow";
  log.add(log.override_for({2}));
  EXPECT_EQ(s.log.overrides, 1u) << "one voter is a majority of one";
}

TEST(Fold, OverrideNamesItsLogAndFewerThanAMajorityOfItsVoters) {
  Log log = log_with_holder();
  OverrideGranted other_set = log.override_for({2});
  other_set.base = EventId{1, 1};
  expect_ignored(log, log.make(other_set, node(1)));
  OverrideGranted other_log = log.override_for({2}), stranger = log.override_for({2}), twice = log.override_for({2, 2}), silent = log.override_for({2});
  other_log.parent = log_id(9);
  stranger.voters[0].instance = instance(9);
  silent.others_off = {};
  expect_ignored(log, log.make(other_log, node(1)));
  expect_ignored(log, log.make(stranger, node(1)));
  expect_ignored(log, log.make(twice, node(1)));
  expect_ignored(log, log.make(silent, node(1)));
  expect_ignored(log, log.make(log.override_for({}), node(1)));
  expect_ignored(log, log.make(log.override_for({2, 3}), node(1)));
}

TEST(Fold, OverrideIsTheWordOnASessionWithoutAnEndOfALostVoter) {
  Log log = log_with_holder();
  log.pause();
  log.resume();
  ASSERT_EQ(endless_sessions(log.state, kPostgres).size(), 1u) << "node1 may not have folded that it is over";
  log.add(log.override_for({2}));
  EXPECT_TRUE(log.state.fenced(kPostgres, session(1)));
  EXPECT_TRUE(endless_sessions(log.state, kPostgres).empty());
}

TEST(Fold, OverrideWaitsForWordOnASessionWithoutAnEndOfAVoterThatIsLeft) {
  Log log = log_with_holder();
  log.pause();
  log.resume();
  EXPECT_NE(objection(log.state, log.override_for({1})).find("word that node1 is off"), std::string::npos);
  expect_ignored(log, log.make(log.override_for({1}), node(1)));
  log.add(FencingConfirmed{session(1), "its engine is off"}, node(1), kPostgres);
  EXPECT_EQ(objection(log.state, log.override_for({1})), "");
}

TEST(Fold, OverrideIsTheWordOnWhoeverElseItNames) {
  Log log = log_with_holder();
  log.pause();
  log.resume();
  OverrideGranted granted = log.override_for({1});
  granted.off = {node(1)};
  granted.request = "again";
  log.add(granted);
  EXPECT_EQ(log.state.log.overrides, 1u);
  EXPECT_TRUE(log.state.fenced(kPostgres, session(1)));
  EXPECT_EQ(log.state.requests.back().request, "again");
}

TEST(Fold, WordsOnTwoSessionsStandBesideEachOther) {
  Log log = log_with_holder();
  log.pause();
  log.decide(2, 2, session(2));
  log.add(FencingConfirmed{session(1), "off"}, node(3), kPostgres);
  log.add(FencingConfirmed{session(2), "off"}, node(3), kPostgres);
  EXPECT_TRUE(log.state.fenced(kPostgres, session(1)));
  EXPECT_TRUE(log.state.fenced(kPostgres, session(2)));
}

// ---- what no rule accepts
TEST(Fold, EpochThatIsNotHigherIsIgnored) {
  Log log = log_with_holder();
  for (const std::uint64_t epoch : {0, 1})
    expect_ignored(log, log.make(PromotionDecided{.to = node(2), .session = session(2)}, node(2), kPostgres, Epoch{epoch}));
}

TEST(Fold, CompletionThatNoDecisionFitsIsIgnored) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  const PromotionCompleted right{.session = session(2), .instance = instance(2)};
  expect_ignored(log, log.make(PromotionCompleted{.session = session(9), .instance = instance(2)}, node(2), kPostgres, Epoch{2}));
  expect_ignored(log, log.make(right, node(1), kPostgres, Epoch{2}));
  expect_ignored(log, log.make(right, node(2), kPostgres, Epoch{3}));
}

TEST(Fold, DoubledCompletionIsIgnored) {
  Log log = log_with_holder();
  expect_ignored(log, log.make(PromotionCompleted{.session = session(1), .instance = instance(1)}, node(1), kPostgres, Epoch{1}));
}

TEST(Fold, EndSaidByAnotherNodeIsIgnored) {
  Log log = log_with_holder();
  expect_ignored(log, log.make(LeaseReleased{.session = session(1), .instance = instance(1)}, node(2), kPostgres, Epoch{1}));
  expect_ignored(log, log.make(PromotionFailed{session(1), instance(1)}, node(2), kPostgres, Epoch{1}));
}

TEST(Fold, EndSaidByAnotherInstanceOfTheNodeIsIgnored) {
  Log log = log_with_holder();
  for (const InstanceId& other : {instance(9), InstanceId{}}) {
    expect_ignored(log, log.make(LeaseReleased{.session = session(1), .cause = EndCause::kHostLost, .instance = other}, node(1), kPostgres, Epoch{1}));
    expect_ignored(log, log.make(PromotionFailed{session(1), other}, node(1), kPostgres, Epoch{1}));
  }
  log.decide(2, 2, session(2));
  expect_ignored(log, log.make(PromotionFailed{session(2), instance(9)}, node(2), kPostgres, Epoch{2}));
  log.release(1, 1, session(1));
  EXPECT_TRUE(log.lease().has_ended(session(1)));
  EXPECT_EQ(log.lease().ended.back().instance, instance(1));
}

TEST(Fold, CompletionByAnotherInstanceOfTheNodeIsIgnored) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  EXPECT_EQ(log.lease().instance, instance(2));
  EXPECT_EQ(log.lease().open.back().instance, instance(2));
  expect_ignored(log, log.make(PromotionCompleted{.session = session(2), .instance = instance(9)}, node(2), kPostgres, Epoch{2}));
  log.complete(2, 2, session(2));
  EXPECT_EQ(log.lease().completed.instance, instance(2));
}

TEST(Fold, DecisionThatNamedNoInstanceIsAnyOfTheNode) {
  Log log = log_with_voters();
  log.add(PromotionDecided{.to = node(1), .session = session(1)}, node(1), kPostgres, Epoch{1});
  log.complete(1, 1, session(1));
  EXPECT_EQ(log.lease().phase, Phase::kActive);
  EXPECT_TRUE(log.lease().completed.instance.empty());
  log.add(LeaseReleased{.session = session(1)}, node(1), kPostgres, Epoch{1});
  EXPECT_TRUE(log.lease().has_ended(session(1)));
}

TEST(Fold, DoubledEndIsIgnored) {
  Log log = log_with_holder();
  log.release(1, 1, session(1));
  expect_ignored(log, log.make(LeaseReleased{.session = session(1), .instance = instance(1)}, node(1), kPostgres, Epoch{1}));
}

TEST(Fold, EndOfAnUnknownSessionIsIgnored) {
  Log log = log_with_holder();
  expect_ignored(log, log.make(LeaseReleased{.session = session(77)}, node(1), kPostgres, Epoch{1}));
}

TEST(Fold, WrongVersionIsIgnoredAndNotCounted) {
  Log log = log_with_holder();
  for (const std::uint64_t version : {1, 2}) {
    LogEvent e = log.make(PromotionDecided{.to = node(2), .session = session(2)}, node(2), kPostgres, Epoch{2});
    e.event.header.version = Version{version};
    expect_ignored(log, e, false);
  }
}

TEST(Fold, PayloadOnAnotherKindsSubjectIsIgnored) {
  Log log = log_with_holder();
  LogEvent e = log.make(Paused{}, node(1));
  e.event.header.aggregate = {"lease", "postgres"};
  e.event.header.version = Version{3};
  expect_ignored(log, e, false);
  EXPECT_FALSE(log.state.paused(kPostgres));
}

TEST(Fold, TelemetryIsNotFolded) {
  Log log = log_with_holder();
  expect_ignored(log, log.make(HealthReported{.node = node(1), .what = "disk"}, node(1)), false);
}

// ---- what comes late
TEST(Fold, LateCompletionOfAnOvertakenDecisionIsHistory) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  log.decide(3, 1, session(3));
  log.complete(2, 2, session(2), {2, Lsn{200}, "db"});
  EXPECT_EQ(log.lease().phase, Phase::kDecided) << "epoch 3 is still open";
  EXPECT_EQ(log.lease().completed.epoch, Epoch{2});
  EXPECT_EQ(log.lease().timelines.size(), 2u);
  log.complete(3, 1, session(3), {3, Lsn{300}, "db"});
  EXPECT_EQ(log.lease().completed.epoch, Epoch{3});
}

TEST(Fold, CompletionOlderThanACompletedOneIsIgnored) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  log.decide(3, 1, session(3));
  log.complete(3, 1, session(3), {2, Lsn{300}, "db"});
  expect_ignored(log, log.make(PromotionCompleted{.session = session(2), .instance = instance(2)}, node(2), kPostgres, Epoch{2}));
}

TEST(Fold, DecisionThatNamesAnEndedSessionIsOverAtOnce) {
  Log log = log_with_holder();
  log.release(1, 1, session(1));
  log.decide(2, 1, session(1));
  EXPECT_EQ(log.lease().phase, Phase::kEnded);
  EXPECT_EQ(log.lease().epoch, Epoch{2}) << "its epoch is used up";
  EXPECT_TRUE(log.lease().open.empty());
  expect_ignored(log, log.make(PromotionCompleted{.session = session(1), .instance = instance(1)}, node(1), kPostgres, Epoch{2}));
}

TEST(Fold, WorkedExampleOfTheHeader) {
  Log log = log_with_holder();
  log.decide(2, 2, session(2));
  EXPECT_EQ(log.lease().completed.node, node(1));
  log.complete(2, 2, session(2));
  const CompletedLease before = log.lease().completed;
  log.release(1, 1, session(1), EndCause::kHostLost);
  EXPECT_EQ(log.lease().completed, before);
  EXPECT_EQ(log.lease().phase, Phase::kActive);
  EXPECT_EQ(log.state.ignored, 1u) << "session 1 is neither completed nor open any more";
}

TEST(Fold, TouchesTheKeysThatChanged) {
  Log log = log_with_holder();
  log.add(SwitchoverRequested{.from = node(1), .to = node(2)}, node(1), kPostgres);
  const LogEvent e = log.make(PromotionDecided{.to = node(2), .session = session(2)}, node(2), kPostgres, Epoch{2});
  std::vector<StateKey> touched;
  fold_into(log.state, e, touched);
  EXPECT_TRUE(std::ranges::count(touched, StateKey{Table::kLease, "postgres"}));
  EXPECT_TRUE(std::ranges::count(touched, StateKey{Table::kOperator, "postgres"}));
}

TEST(FoldDeathTest, GapInTheSequenceStopsTheProcess) {
  Log log = log_with_holder();
  LogEvent e = log.make(Paused{}, node(1));
  ++e.sequence.value;
  EXPECT_DEATH(fold(log.state, e), "every sequence in order");
}

// ---- properties, over logs in which everything can be wrong
LogEvent arbitrary_event(const Log& log) {
  const int who = *rc::gen::inRange(1, 4);
  const SessionId s = session(*rc::gen::inRange<std::uint64_t>(1, 5));
  const Epoch epoch{*rc::gen::inRange<std::uint64_t>(0, 8)};
  const InstanceId its = *rc::gen::element(InstanceId{}, instance(who), instance(who), instance(9));
  LogEvent e = [&] {
    switch (*rc::gen::inRange(0, 10)) {
      case 0:
      case 1: return log.make(PromotionDecided{.to = node(who), .session = s, .instance = its}, node(who), kPostgres, epoch);
      case 2:
      case 3:
        return log.make(PromotionCompleted{.session = s, .position = {epoch.value, Lsn{epoch.value * 10}, "db"}, .instance = its}, node(who),
                        kPostgres, epoch);
      case 4: return log.make(PromotionFailed{s, its}, node(who), kPostgres, epoch);
      case 5: return log.make(LeaseReleased{.session = s, .instance = its}, node(who), kPostgres, epoch);
      case 6: return log.make(Paused{}, node(who), *rc::gen::element(ResourceId{}, kPostgres));
      case 7: return log.make(Resumed{}, node(who), *rc::gen::element(ResourceId{}, kPostgres));
      case 8: return log.make(MemberReturned{.boot = boot(epoch.value)}, node(who));
      default: return log.make(SwitchoverRequested{.from = node(1), .to = node(who), .request = "r"}, node(who), kPostgres);
    }
  }();
  if (*rc::gen::inRange(0, 10) == 0) e.event.header.version.value += *rc::gen::inRange<std::uint64_t>(1, 3);
  return e;
}
Log arbitrary_log() {
  Log log = log_with_voters();
  for (int n = *rc::gen::inRange(0, 60); n > 0; --n) log.add(arbitrary_event(log));
  return log;
}

RC_GTEST_PROP(FoldProperty, PrefixAndRestAreTheWhole, ()) {
  const Log log = arbitrary_log();
  const auto cut = *rc::gen::inRange<std::size_t>(0, log.events.size() + 1);
  State whole, parts;
  std::vector<StateKey> touched;
  for (const LogEvent& e : log.events) whole = fold(std::move(whole), e);
  for (std::size_t i = 0; i < cut; ++i) fold_into(parts, log.events[i], touched);
  const State snapshot = parts;
  State rest = snapshot;
  for (std::size_t i = cut; i < log.events.size(); ++i) fold_into(rest, log.events[i], touched);
  RC_ASSERT(rest == whole);
  RC_ASSERT(snapshot == parts);
}

RC_GTEST_PROP(FoldProperty, EpochsNeverFallAndEndsStay, ()) {
  const Log log = arbitrary_log();
  State s;
  for (const LogEvent& e : log.events) {
    const LeaseState before = s.leases[kPostgres];
    s = fold(std::move(s), e);
    const LeaseState& after = s.leases[kPostgres];
    RC_ASSERT(after.epoch >= before.epoch);
    RC_ASSERT(after.completed.epoch >= before.completed.epoch);
    RC_ASSERT(after.completed.epoch <= after.epoch);
    for (const EndedSession& end : before.ended) RC_ASSERT(after.has_ended(end.session));
    for (const OpenDecision& d : after.open) RC_ASSERT(!after.has_ended(d.session));
    if (after.phase == Phase::kDecided) RC_ASSERT(!after.open.empty() && after.open.back().epoch == after.epoch);
  }
}

}  // namespace
}  // namespace daarion
