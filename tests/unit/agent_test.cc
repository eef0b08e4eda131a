#include "controlplane/core/agent.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// node1's agent. Its guard lives and offers session 1; node1 and node2 run postgres; the log names nobody yet.
class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    guard.resource = kPostgres;
    guard.connected = true;
    guard.next = session(1);
  }
  AgentOutput advance(Instant now) {
    const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(1), .instance = instance(1),
                           .software = "test", .caught_up = true, .start = at(-10'000), .live_wishes = wishes};
    AgentOutput out;
    agent.advance({.cluster = c, .voters = log.state.voters, .next_counter = 100, .state_loaded = loaded, .stopping = stopping}, now, out);
    return out;
  }
  void tell_guard(Instant now) { agent.on_guard(guard, now); }
  void observe(EngineState state, Instant now, SessionId opened = {}, std::uint64_t lsn = 1000, std::uint64_t timeline = 1) {
    EngineReport r = standby_at(lsn, timeline);
    r.state = state;
    r.incarnation = guard.incarnation;
    r.opened = opened;
    r.opened_epoch = opened.empty() ? Epoch{} : opened_epoch;
    r.timeline_start = Lsn{900};
    if (state == EngineState::kEmpty) r.position = {};
    agent.on_engine(r, now);
  }
  /// The guard starts an engine, and its driver looks at it.
  void engine(EngineState state, Instant now, SessionId opened = {}) {
    guard.engine_running = state == EngineState::kStandby || state == EngineState::kPrimary;
    ++guard.incarnation;
    tell_guard(now);
    observe(state, now, opened);
  }
  void majority_acks(std::uint64_t epoch, SessionId s, Instant now) {
    for (int voter = 1; voter <= 2; ++voter)
      agent.on_ack(ack_of(voter, 100, epoch, s, log.state.voters), now, log.state.voters, log.state, now);
  }
  void confirm(std::uint64_t epoch, SessionId s, Instant deadline, Instant now) {
    guard.taken = TakenSession{s, Epoch{epoch}, deadline};
    guard.next = session(50);
    tell_guard(now);
  }
  void end(SessionId s, EndCause cause, Instant now) {
    guard.taken.reset();
    guard.ended.push_back({s, cause});
    if (guard.next == s) guard.next = session(51);
    guard.engine_running = false;
    guard.fencing = false;
    tell_guard(now);
  }
  void done(const DriverCommand& command, bool ok, Instant now, Position where = {}) {
    agent.on_done({.op = command.op, .resource = kPostgres, .verb = command.verb, .ok = ok, .position = where, .method = "m", .message = "no"}, now);
  }
  /// node1, whom the log names, has its majority for session 1: what its agent does then.
  AgentOutput earn(std::uint64_t epoch, Instant now) {
    engine(EngineState::kStandby, now);
    advance(now);
    majority_acks(epoch, session(1), now);
    advance(now);
    confirm(epoch, session(1), now + milliseconds(1480), now);
    return advance(now);
  }
  /// node1 holds epoch 1 with session 1 and writes.
  void hold(Instant now) {
    log.decide(1, 1, session(1));
    const AgentOutput out = earn(1, now);
    ASSERT_TRUE(out.drive && out.drive->verb == Verb::kPromote);
    done(*out.drive, true, now);
    observe(EngineState::kPrimary, now, session(1));
    log.complete(1, 1, session(1), {1, Lsn{900}, "db"});
    advance(now);
  }
  template <class T>
  static const AppendWish* wish(const AgentOutput& out) {
    for (const AppendWish& w : out.appends)
      if (std::holds_alternative<T>(w.payload)) return &w;
    return nullptr;
  }
  /// What a PromotionFailed that is to be appended says; empty: none is.
  static std::string failure(const AgentOutput& out) {
    const AppendWish* failed = wish<PromotionFailed>(out);
    return failed ? failed->reason : "";
  }
  static bool commands(const AgentOutput& out, GuardCommand::Kind kind) {
    return std::ranges::find(out.guard, kind, &GuardCommand::kind) != out.guard.end();
  }
  static bool drives(const AgentOutput& out, Verb verb) { return out.drive && out.drive->verb == verb; }

  Log log = log_with_voters();
  TopologySpec spec = spec_of_three();
  Peers peers{node(1)};
  GuardReport guard;
  Agent agent{node(1), kPostgres, LeaseTimers{}};
  std::vector<ResourceId> wishes;
  Epoch opened_epoch{1};  // that the engine was opened under, if it was
  bool loaded = true, stopping = false;
};

// ---- taking over
TEST_F(AgentTest, WaitsForItsGuard) {
  const AgentOutput out = advance(at(0));
  EXPECT_FALSE(out.drive);
  ASSERT_TRUE(agent.wait());
  EXPECT_NE(agent.wait()->what.find("the guard of postgres on node1"), std::string::npos);
  EXPECT_FALSE(agent.wait()->unblock.empty());
}

TEST_F(AgentTest, ClaimsTheSessionThatTheLogNames) {
  tell_guard(at(0));
  log.decide(1, 1, session(1));
  const AgentOutput out = advance(at(0));
  ASSERT_TRUE(agent.claim());
  EXPECT_EQ(agent.claim()->epoch, Epoch{1});
  EXPECT_EQ(agent.claim()->session, session(1));
  EXPECT_TRUE(out.beat_now);
  EXPECT_TRUE(out.guard.empty()) << "nothing is earned yet";
}

TEST_F(AgentTest, LeavesDecisionsForOthersAlone) {
  tell_guard(at(0));
  log.decide(1, 2, session(2));
  const AgentOutput out = advance(at(0));
  EXPECT_FALSE(agent.claim());
  EXPECT_TRUE(out.appends.empty());
}

TEST_F(AgentTest, NeverPromotesUnconfirmed) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  EXPECT_FALSE(drives(advance(at(0)), Verb::kPromote)) << "no majority, no guard";
  majority_acks(1, session(1), at(10));
  const AgentOutput armed = advance(at(10));
  ASSERT_TRUE(commands(armed, GuardCommand::Kind::kArm));
  EXPECT_EQ(armed.guard[0].deadline, at(10 + 1480));
  EXPECT_EQ(armed.guard[0].epoch, Epoch{1});
  EXPECT_FALSE(drives(armed, Verb::kPromote)) << "the guard did not confirm";
  EXPECT_FALSE(drives(advance(at(20)), Verb::kPromote));
  confirm(1, session(1), at(1490), at(30));
  const AgentOutput out = advance(at(30));
  ASSERT_TRUE(drives(out, Verb::kPromote));
  EXPECT_EQ(out.drive->epoch, Epoch{1});
  EXPECT_FALSE(advance(at(31)).drive) << "one step at a time";
}

TEST_F(AgentTest, NeverPromotesWithTooLittleLeaseLeft) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  majority_acks(1, session(1), at(0));
  advance(at(0));
  confirm(1, session(1), at(1480), at(1));
  EXPECT_FALSE(drives(advance(at(1280)), Verb::kPromote));
}

TEST_F(AgentTest, NeverPromotesWhileTheGuardFences) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  majority_acks(1, session(1), at(0));
  advance(at(0));
  guard.fencing = true;
  confirm(1, session(1), at(1480), at(1));
  EXPECT_FALSE(advance(at(2)).drive);
}

TEST_F(AgentTest, CompletesWhenTheEngineIsOpen) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  majority_acks(1, session(1), at(100));
  advance(at(100));
  confirm(1, session(1), at(1580), at(100));
  const AgentOutput promote = advance(at(100));
  ASSERT_TRUE(promote.drive);
  EXPECT_EQ(wish<PromotionCompleted>(advance(at(110))), nullptr);
  done(*promote.drive, true, at(130));
  EXPECT_EQ(wish<PromotionCompleted>(advance(at(131))), nullptr) << "not before the engine was seen writable";
  observe(EngineState::kPrimary, at(140), session(1));
  const AgentOutput out = advance(at(140));
  const AppendWish* completed = wish<PromotionCompleted>(out);
  ASSERT_NE(completed, nullptr);
  const auto& p = std::get<PromotionCompleted>(completed->payload);
  EXPECT_EQ(p.session, session(1));
  EXPECT_EQ(p.position.lsn, Lsn{900}) << "where its timeline began";
  EXPECT_EQ(p.claimed_ms, 100u);
  EXPECT_EQ(p.promoted_ms, 40u);
  EXPECT_EQ(completed->epoch, Epoch{1});
  EXPECT_TRUE(out.beat_now);
}

TEST_F(AgentTest, MakesTheFirstDataUnderItsLeaseOnly) {
  log.decide(1, 1, session(1), DecisionKind::kBootstrap);
  engine(EngineState::kEmpty, at(0));
  EXPECT_FALSE(drives(advance(at(0)), Verb::kProvision));
  majority_acks(1, session(1), at(0));
  advance(at(0));
  confirm(1, session(1), at(1480), at(1));
  const AgentOutput out = advance(at(1));
  ASSERT_TRUE(drives(out, Verb::kProvision));
  EXPECT_TRUE(out.drive->upstream.empty());
}

TEST_F(AgentTest, NamedSessionThatIsGoneFailsAtOnce) {
  engine(EngineState::kStandby, at(0));
  log.decide(1, 1, session(77));
  const AgentOutput out = advance(at(0));
  const AppendWish* failed = wish<PromotionFailed>(out);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(std::get<PromotionFailed>(failed->payload).session, session(77));
  EXPECT_EQ(failed->epoch, Epoch{1});
  EXPECT_FALSE(agent.claim());
}

/// Session 9 was opened under epoch 1 and ended; then the log came to show what had waited for a leader: a needless nomination, and the holder's
/// answer under epoch 3, which never had a majority. Voters end the promise to epoch 2 on the word that 3 was completed: it must not be said.
TEST_F(AgentTest, WhatItWroteIsToldUnderTheEpochThatItWasOpenedUnder) {
  log.decide(1, 1, session(9));
  log.decide(2, 2, session(2));
  log.decide(3, 1, session(9), DecisionKind::kKeep);
  guard.ended.push_back({session(9), EndCause::kFenced});
  engine(EngineState::kStandby, at(0), session(9));
  const AgentOutput out = advance(at(0));
  ASSERT_NE(wish<PromotionCompleted>(out), nullptr);
  EXPECT_EQ(wish<PromotionCompleted>(out)->epoch, Epoch{1});
  EXPECT_EQ(wish<PromotionFailed>(out), nullptr) << "one at a time, and that one would end the session";
}

TEST_F(AgentTest, AnEpochThatOthersHaveCompletedSinceIsNotToldAsCompleted) {
  log.decide(1, 1, session(9));
  log.decide(2, 2, session(2));
  log.decide(3, 1, session(9), DecisionKind::kKeep);
  log.complete(2, 2, session(2));
  guard.ended.push_back({session(9), EndCause::kFenced});
  engine(EngineState::kStandby, at(0), session(9));
  const AgentOutput out = advance(at(0));
  EXPECT_EQ(wish<PromotionCompleted>(out), nullptr);
  EXPECT_NE(wish<PromotionFailed>(out), nullptr);
}

TEST_F(AgentTest, AnEngineThatDoesNotSayUnderWhatItWasOpenedLeavesDecisionsOpen) {
  log.decide(1, 1, session(9));
  engine(EngineState::kStarting, at(0));
  EngineReport r = standby_at(0, 0);
  r.state = EngineState::kStarting;
  r.incarnation = guard.incarnation;
  r.position = {};
  agent.on_engine(r, at(1));
  EXPECT_EQ(wish<PromotionFailed>(advance(at(1))), nullptr) << "it may have written under it";
  observe(EngineState::kStandby, at(10));
  EXPECT_NE(wish<PromotionFailed>(advance(at(10))), nullptr);
}

TEST_F(AgentTest, GivesUpWithoutAMajorityWithinOneTtl) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  EXPECT_FALSE(commands(advance(at(1999)), GuardCommand::Kind::kRetire));
  EXPECT_TRUE(commands(advance(at(2000)), GuardCommand::Kind::kRetire));
  EXPECT_FALSE(agent.claim());
  EXPECT_FALSE(advance(at(2001)).beat_now) << "and does not claim it again";
  end(session(1), EndCause::kReleased, at(2010));
  EXPECT_EQ(failure(advance(at(2010))), "no majority of voters acked its claim within one ttl");
}

TEST_F(AgentTest, GivesUpWhenAHigherEpochIsDecidedFirst) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  log.decide(2, 2, session(2));
  EXPECT_TRUE(commands(advance(at(10)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentTest, GivesUpWhenPausedBeforeTheDecision) {
  log.pause();
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  EXPECT_TRUE(commands(advance(at(0)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentTest, TakesWhatAnOperatorAskedForAlsoWhilePaused) {
  log.pause();
  log.decide(1, 1, session(1), DecisionKind::kForced);
  engine(EngineState::kStandby, at(0));
  EXPECT_FALSE(commands(advance(at(0)), GuardCommand::Kind::kRetire));
  EXPECT_TRUE(agent.claim());
}

TEST_F(AgentTest, GivesUpWhenItsIntentIsNotActive) {
  log.add(MemberJoined{}, node(1));
  log.add(MemberIntentChanged{MemberIntent::kDraining}, node(1));
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  EXPECT_TRUE(commands(advance(at(0)), GuardCommand::Kind::kRetire));
}

// ---- holding
TEST_F(AgentTest, ArmsTheGuardWithEveryMajority) {
  hold(at(0));
  for (int voter = 1; voter <= 2; ++voter)
    agent.on_ack(ack_of(voter, 101, 1, session(1), log.state.voters), at(250), log.state.voters, log.state, at(251));
  const AgentOutput out = advance(at(251));
  ASSERT_EQ(out.guard.size(), 1u);
  EXPECT_EQ(out.guard[0].deadline, at(250 + 1480));
  EXPECT_TRUE(advance(at(252)).guard.empty()) << "once";
}

TEST_F(AgentTest, AnswersANeedlessNominationWithKeep) {
  hold(at(0));
  log.decide(2, 2, session(2));
  AgentOutput out = advance(at(10));
  const AppendWish* keep = wish<PromotionDecided>(out);
  ASSERT_NE(keep, nullptr);
  EXPECT_EQ(keep->epoch, Epoch{3});
  EXPECT_EQ(std::get<PromotionDecided>(keep->payload).kind, DecisionKind::kKeep);
  EXPECT_EQ(std::get<PromotionDecided>(keep->payload).session, session(1));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kRetire));
  log.decide(3, 1, session(1), DecisionKind::kKeep);
  out = advance(at(20));
  EXPECT_EQ(agent.claim()->epoch, Epoch{3});
  EXPECT_EQ(wish<PromotionCompleted>(out), nullptr) << "epoch 3 is not earned";
  majority_acks(3, session(1), at(30));
  EXPECT_NE(wish<PromotionCompleted>(advance(at(30))), nullptr);
}

TEST_F(AgentTest, DoesNotKeepWithoutALivingLease) {
  hold(at(0));
  log.decide(2, 2, session(2));
  EXPECT_EQ(wish<PromotionDecided>(advance(at(1500))), nullptr);
}

TEST_F(AgentTest, RetiresWhenAnotherWasCompleted) {
  hold(at(0));
  log.decide(2, 2, session(2));
  log.complete(2, 2, session(2));
  EXPECT_TRUE(commands(advance(at(10)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentTest, RetiresWhenAMajorityPromisedHigher) {
  hold(at(0));
  for (int voter = 2; voter <= 3; ++voter) {
    Ack no = ack_of(voter, 101, 1, session(1), log.state.voters);
    no.accepted.clear();
    no.refused.push_back({kPostgres, Epoch{1}, session(1), Epoch{2}});
    agent.on_ack(no, at(10), log.state.voters, log.state, at(11));
  }
  EXPECT_TRUE(commands(advance(at(11)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentTest, OneSessionIsOpenedOnce) {
  hold(at(0));
  engine(EngineState::kStandby, at(50), session(1));
  const AgentOutput out = advance(at(50));
  EXPECT_TRUE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_FALSE(drives(out, Verb::kPromote));
}

TEST_F(AgentTest, FencesAnEngineThatIsFoundWritable) {
  engine(EngineState::kPrimary, at(0));
  EXPECT_TRUE(commands(advance(at(0)), GuardCommand::Kind::kFence));
}

TEST_F(AgentTest, FencesItAlsoWhenTheLogNamesThisNode) {
  log.decide(1, 1, session(1));
  engine(EngineState::kPrimary, at(0));
  EXPECT_TRUE(commands(advance(at(0)), GuardCommand::Kind::kFence)) << "a claim is no lease";
}

// ---- a daemon that was restarted
TEST_F(AgentTest, RestartedDaemonResumesTheLeaseOfItsGuard) {
  log.decide(1, 1, session(1));
  log.complete(1, 1, session(1), {1, Lsn{900}, "db"});
  guard.engine_running = true;
  guard.incarnation = 3;
  confirm(1, session(1), at(1000), at(0));
  observe(EngineState::kPrimary, at(0), session(1));
  const AgentOutput out = advance(at(0));
  ASSERT_TRUE(agent.claim());
  EXPECT_EQ(agent.claim()->session, session(1));
  EXPECT_TRUE(out.beat_now);
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kFence));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_TRUE(agent.holder().has_lease(at(999)));
  EXPECT_FALSE(agent.holder().has_lease(at(1000)));
}

TEST_F(AgentTest, RestartedDaemonClaimsBeforeItsFold) {
  loaded = false;
  guard.incarnation = 3;
  confirm(1, session(1), at(1000), at(0));
  EXPECT_TRUE(advance(at(0)).beat_now);
  EXPECT_TRUE(agent.claim());
}

TEST_F(AgentTest, RestartedDaemonOfAPausedHolderHasNoDeadline) {
  confirm(1, session(1), kNever, at(0));
  advance(at(0));
  EXPECT_TRUE(agent.holder().endless());
}

// ---- ends
TEST_F(AgentTest, CrashedEngineEndsTheSessionInTheLog) {
  hold(at(0));
  end(session(1), EndCause::kCrashed, at(50));
  const AgentOutput out = advance(at(50));
  const AppendWish* released = wish<LeaseReleased>(out);
  ASSERT_NE(released, nullptr);
  EXPECT_EQ(std::get<LeaseReleased>(released->payload).cause, EndCause::kCrashed);
  EXPECT_FALSE(std::get<LeaseReleased>(released->payload).final_position);
  EXPECT_FALSE(agent.claim());
  EXPECT_EQ(agent.ended_to_say(log.state), std::vector{session(1)});
}

TEST_F(AgentTest, ReturningHostEndsTheSessionOfItsEarlierBoot) {
  log.decide(1, 1, session(9));
  log.complete(1, 1, session(9));
  tell_guard(at(0));
  const AgentOutput out = advance(at(0));
  const AppendWish* released = wish<LeaseReleased>(out);
  ASSERT_NE(released, nullptr);
  EXPECT_EQ(std::get<LeaseReleased>(released->payload).cause, EndCause::kHostLost);
}

// ---- a second host with this node's id: the log speaks of the first one
TEST_F(AgentTest, SaysNoEndOfASessionOfAnEarlierInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(9), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  engine(EngineState::kEmpty, at(0));
  EXPECT_TRUE(advance(at(0)).appends.empty()) << "named, not completed";
  log.add(PromotionCompleted{.session = session(9), .instance = instance(9)}, node(1), kPostgres, Epoch{1});
  EXPECT_TRUE(advance(at(10)).appends.empty());
  EXPECT_TRUE(agent.ended_to_say(log.state).empty());
  ASSERT_TRUE(agent.wait());
  EXPECT_NE(agent.wait()->what.find("an earlier instance of node1 to run out by itself"), std::string::npos) << agent.wait()->what;
}

TEST_F(AgentTest, SaysNoCompletionForAnEarlierInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(9), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  engine(EngineState::kStandby, at(0), session(9));  // data copied from the first host may say so
  EXPECT_TRUE(advance(at(0)).appends.empty());
}

TEST_F(AgentTest, DoesNotTakeADecisionForAnotherInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  engine(EngineState::kStandby, at(0));
  EXPECT_TRUE(advance(at(0)).appends.empty());
  EXPECT_FALSE(agent.claim());
}

TEST_F(AgentTest, AnswersADecisionForItsSessionAndAnotherInstanceWithKeep) {
  hold(at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{2});
  const AgentOutput out = advance(at(10));
  const AppendWish* keep = wish<PromotionDecided>(out);
  ASSERT_NE(keep, nullptr);
  EXPECT_EQ(keep->epoch, Epoch{3});
  EXPECT_EQ(std::get<PromotionDecided>(keep->payload).instance, instance(1));
  EXPECT_EQ(wish<PromotionCompleted>(out), nullptr);
}

/// The files of the earlier installation are gone and its guard went on: what the log shows as completed is not this one's to end, but the
/// decision that it made itself for the same session is, and with it the session.
TEST_F(AgentTest, SaysTheEndOfASessionThatItTookUpFromAnEarlierInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  log.add(PromotionCompleted{.session = session(1), .position = {1, Lsn{900}, "db"}, .instance = instance(9)}, node(1), kPostgres, Epoch{1});
  engine(EngineState::kPrimary, at(0), session(1));
  confirm(1, session(1), at(1480), at(0));
  advance(at(0));
  ASSERT_TRUE(agent.claim()) << "its guard has it";
  majority_acks(1, session(1), at(10));
  const AgentOutput kept = advance(at(10));
  const AppendWish* keep = wish<PromotionDecided>(kept);
  ASSERT_NE(keep, nullptr);
  EXPECT_NE(keep->reason.find("another installation of node1"), std::string::npos) << keep->reason;
  log.decide(2, 1, session(1), DecisionKind::kKeep);
  end(session(1), EndCause::kFenced, at(1500));
  engine(EngineState::kStandby, at(1600), session(1));
  const AgentOutput out = advance(at(1600));
  EXPECT_EQ(wish<LeaseReleased>(out), nullptr) << "of a lease that another installation completed";
  EXPECT_EQ(wish<PromotionCompleted>(out), nullptr) << "epoch 2 never had a majority";
  const AppendWish* failed = wish<PromotionFailed>(out);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(failed->epoch, Epoch{2});
  log.add(failed->payload, node(1), kPostgres, failed->epoch);
  EXPECT_TRUE(log.state.lease(kPostgres)->has_ended(session(1)));
  log.decide(3, 1, guard.next);  // named again: nothing is left that the log would have to show first
  majority_acks(3, guard.next, at(1700));
  advance(at(1700));
  majority_acks(3, guard.next, at(1710));
  advance(at(1710));
  confirm(3, guard.next, at(3180), at(1720));
  EXPECT_TRUE(drives(advance(at(1720)), Verb::kPromote));
}

TEST_F(AgentTest, SaysTheEndOfACompletedSessionOnlyByADecisionThatNamesThisInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(9), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  log.add(PromotionCompleted{.session = session(9), .instance = instance(9)}, node(1), kPostgres, Epoch{1});
  log.add(PromotionDecided{.to = node(1), .session = session(9), .kind = DecisionKind::kKeep}, node(1), kPostgres, Epoch{2});
  engine(EngineState::kStandby, at(0));
  EXPECT_TRUE(advance(at(0)).appends.empty()) << "whose guard had it, a decision without an instance does not say";
}

TEST_F(AgentTest, AStopWaitsUntilTheLogShowsTheInstallationThatTookTheSessionUp) {
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  log.add(PromotionCompleted{.session = session(1), .position = {1, Lsn{900}, "db"}, .instance = instance(9)}, node(1), kPostgres, Epoch{1});
  engine(EngineState::kPrimary, at(0), session(1));
  confirm(1, session(1), at(1480), at(0));
  stopping = true;
  EXPECT_FALSE(drives(advance(at(10)), Verb::kStop)) << "nobody would hear its final position";
  log.decide(2, 1, session(1), DecisionKind::kKeep);
  advance(at(20));
  majority_acks(2, session(1), at(30));
  advance(at(30));
  confirm(2, session(1), at(1510), at(40));
  ASSERT_NE(wish<PromotionCompleted>(advance(at(40))), nullptr);
  log.complete(2, 1, session(1), {1, Lsn{900}, "db"});
  EXPECT_TRUE(drives(advance(at(50)), Verb::kStop));
}

TEST_F(AgentTest, StopsWithoutAWordOnAnEarlierInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(9), .instance = instance(9)}, node(2), kPostgres, Epoch{1});
  log.add(PromotionCompleted{.session = session(9), .instance = instance(9)}, node(1), kPostgres, Epoch{1});
  stopping = true;
  tell_guard(at(0));
  advance(at(0));
  EXPECT_TRUE(agent.stopped());
}

TEST_F(AgentTest, SaysTheEndOfADecisionThatNamedNoInstance) {
  log.add(PromotionDecided{.to = node(1), .session = session(9)}, node(2), kPostgres, Epoch{1});
  engine(EngineState::kStandby, at(0));
  const AgentOutput out = advance(at(0));
  const AppendWish* failed = wish<PromotionFailed>(out);
  ASSERT_NE(failed, nullptr);
  EXPECT_EQ(std::get<PromotionFailed>(failed->payload).instance, instance(1));
}

TEST_F(AgentTest, MakesNothingFromEmptyWhereDataWereToBePromoted) {
  log.decide(1, 1, session(1));
  engine(EngineState::kEmpty, at(0));
  EXPECT_TRUE(commands(advance(at(0)), GuardCommand::Kind::kRetire));
  end(session(1), EndCause::kReleased, at(10));
  observe(EngineState::kEmpty, at(20));
  EXPECT_EQ(failure(advance(at(20))), "its data directory is empty, and postgres is not to be made from nothing");
}

TEST_F(AgentTest, ALookThatFailsUnderARunningEngineEndsNothing) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  observe(EngineState::kEmpty, at(10));
  const AgentOutput out = advance(at(10));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_FALSE(drives(out, Verb::kProvision));
}

// ---- a lease whose engine does not open
class UnopenedTest : public AgentTest {
 protected:
  /// The claim is earned at 0 and renewed until `until`; the promotion that was begun never ends.
  bool retired_by(std::int64_t until) {
    bool retired = false;
    for (std::int64_t ms = 0; ms <= until; ms += 500) {
      if (agent.claim()) majority_acks(1, session(1), at(ms));
      if (agent.claim()) confirm(1, session(1), agent.holder().deadline(), at(ms));
      retired |= commands(advance(at(ms)), GuardCommand::Kind::kRetire);
    }
    return retired;
  }
};

TEST_F(UnopenedTest, EndsItsClaimAfterHalfAMinute) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  EXPECT_FALSE(retired_by(29'500));
  EXPECT_LE(agent.next_change(), at(30'000));
  EXPECT_TRUE(commands(advance(at(30'000)), GuardCommand::Kind::kRetire));
  EXPECT_FALSE(agent.claim());
  end(session(1), EndCause::kFenced, at(30'010));
  observe(EngineState::kStopped, at(30'020));
  EXPECT_EQ(failure(advance(at(30'020))), "the engine was not seen open within 30 s of earning the lease");
}

TEST_F(UnopenedTest, NotWhileAProvisionIsUnderWay) {
  log.decide(1, 1, session(1), DecisionKind::kKeep);  // of a bootstrap, on a needless nomination
  engine(EngineState::kEmpty, at(0));
  advance(at(0));
  EXPECT_FALSE(retired_by(120'000));
}

TEST_F(UnopenedTest, NotWhileItsReplayMoves) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  EXPECT_FALSE(retired_by(20'000));
  EngineReport r = agent.engine(at(20'000));
  r.incarnation = guard.incarnation;
  r.replayed = Lsn{5};
  agent.on_engine(r, at(20'000));
  for (std::int64_t ms = 20'000; ms < 50'000; ms += 500) {
    majority_acks(1, session(1), at(ms));
    ASSERT_FALSE(commands(advance(at(ms)), GuardCommand::Kind::kRetire)) << ms;
  }
  EXPECT_TRUE(commands(advance(at(50'000)), GuardCommand::Kind::kRetire));
}

TEST_F(UnopenedTest, NotForABootstrapWhichHasOneCandidate) {
  log.decide(1, 1, session(1), DecisionKind::kBootstrap);
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  EXPECT_FALSE(retired_by(120'000));
}

TEST_F(UnopenedTest, NotOnceItHadOpened) {
  hold(at(0));
  observe(EngineState::kUnresponsive, at(100), session(1));
  EXPECT_FALSE(retired_by(120'000));
}

TEST_F(UnopenedTest, AClaimThatNoMajorityPromisesIsNamed) {
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  advance(at(500));
  ASSERT_TRUE(agent.wait());
  EXPECT_EQ(agent.wait()->what, "a majority of voters to promise postgres to node1");
  EXPECT_EQ(agent.wait()->unblock, "daarionctl nodes");
  EXPECT_EQ(agent.wait()->since, at(0)) << "since it began";
  majority_acks(1, session(1), at(1000));
  confirm(1, session(1), agent.holder().deadline(), at(1000));
  const AgentOutput out = advance(at(1000));
  ASSERT_TRUE(out.drive);
  EXPECT_EQ(out.drive->verb, Verb::kPromote);
  EXPECT_FALSE(agent.wait());
}

TEST_F(UnopenedTest, AnOpenEngineThatDoesNotAnswerIsNamedAndItsLeaseGoesOn) {
  hold(at(0));
  observe(EngineState::kUnresponsive, at(100), session(1));
  const AgentOutput out = advance(at(200));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kFence));
  ASSERT_TRUE(agent.wait());
  EXPECT_NE(agent.wait()->what.find("postgres on node1 to answer"), std::string::npos) << agent.wait()->what;
  EXPECT_EQ(agent.wait()->unblock, "daarionctl resource postgres") << "it may have been slow once";
  advance(at(3300));
  EXPECT_EQ(agent.wait()->unblock, "daarionctl failover postgres");
  observe(EngineState::kPrimary, at(3400), session(1));
  advance(at(3500));
  EXPECT_FALSE(agent.wait());
}

TEST_F(AgentTest, WhatWasWrittenUnderALostSessionIsCompletedFirst) {
  log.decide(1, 1, session(9));
  engine(EngineState::kStandby, at(0), session(9));
  const AgentOutput out = advance(at(0));
  ASSERT_EQ(out.appends.size(), 1u);
  const AppendWish* completed = wish<PromotionCompleted>(out);
  ASSERT_NE(completed, nullptr);
  EXPECT_EQ(std::get<PromotionCompleted>(completed->payload).session, session(9));
  log.complete(1, 1, session(9), {1, Lsn{900}, "db"});
  EXPECT_NE(wish<LeaseReleased>(advance(at(10))), nullptr);
}

TEST_F(AgentTest, WhatWasOpenedBeforeIsToldBeforeTheNextOpening) {
  log.decide(1, 1, session(1));
  log.decide(2, 1, session(2));
  guard.next = session(2);
  tell_guard(at(0));
  engine(EngineState::kStandby, at(0), session(1));
  advance(at(0));
  majority_acks(2, session(2), at(0));
  advance(at(0));
  confirm(2, session(2), at(1480), at(0));
  AgentOutput out = advance(at(0));
  ASSERT_NE(wish<PromotionCompleted>(out), nullptr);
  EXPECT_EQ(wish<PromotionCompleted>(out)->epoch, Epoch{1});
  EXPECT_FALSE(drives(out, Verb::kPromote)) << "the data of epoch 2 would hide that of epoch 1";
  ASSERT_TRUE(agent.wait());
  log.complete(1, 1, session(1));
  out = advance(at(10));
  EXPECT_TRUE(drives(out, Verb::kPromote));
}

TEST_F(AgentTest, SessionThatAVoterIsBoundToAndTheGuardDoesNotHaveEnded) {
  tell_guard(at(0));
  agent.on_promise(session(33));
  agent.on_promise(session(33));
  agent.on_promise(session(1));
  EXPECT_EQ(agent.ended_to_say(log.state), std::vector{session(33)});
}

TEST_F(AgentTest, SaysNoEndWithoutItsGuard) {
  agent.on_promise(session(33));
  EXPECT_TRUE(agent.ended_to_say(log.state).empty());
}

// ---- planned ends
TEST_F(AgentTest, StoppedDaemonHandsOverByACleanStop) {
  hold(at(0));
  stopping = true;
  AgentOutput out = advance(at(10));
  ASSERT_TRUE(drives(out, Verb::kStop));
  EXPECT_FALSE(commands(out, GuardCommand::Kind::kRetire)) << "release follows demotion";
  EXPECT_FALSE(agent.stopped());
  guard.engine_running = false;
  tell_guard(at(30));
  done(*out.drive, true, at(30), {1, Lsn{1234}, "db"});
  out = advance(at(30));
  ASSERT_TRUE(commands(out, GuardCommand::Kind::kRetire));
  end(session(1), EndCause::kReleased, at(40));
  EXPECT_TRUE(agent.ended_to_say(log.state).empty()) << "the log first: deciders are to know the final position";
  out = advance(at(40));
  const AppendWish* released = wish<LeaseReleased>(out);
  ASSERT_NE(released, nullptr);
  EXPECT_TRUE(released->cause.empty()) << "nothing in the log led to it";
  const auto& p = std::get<LeaseReleased>(released->payload);
  EXPECT_TRUE(p.final_position);
  EXPECT_EQ(p.position.lsn, Lsn{1234});
  log.add(p, node(1), kPostgres, Epoch{1});
  observe(EngineState::kStopped, at(45), session(1));
  advance(at(50));
  advance(at(51));
  EXPECT_TRUE(agent.stopped());
}

TEST_F(AgentTest, SwitchoverStopsOnlyForATargetThatIsNear) {
  hold(at(0));
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 8000}, node(1), kPostgres);
  wishes = {kPostgres};
  Beat me = beat_of(1, 1, log.state), other = beat_of(2, 1, log.state);
  me.claims = {claim_of(1, session(1))};
  me.engines = {standby_at(10'000'000)};
  me.engines[0].state = EngineState::kPrimary;
  other.next = {{kPostgres, session(2)}};
  other.engines = {standby_at(10'000'000 - (1 << 20) - 1)};
  peers.hear(me, at(0));
  peers.hear(other, at(0));
  EXPECT_FALSE(drives(advance(at(10)), Verb::kStop));
  ASSERT_TRUE(agent.wait());
  EXPECT_NE(agent.wait()->what.find("switchover: node2"), std::string::npos);
  other.counter = 2;
  other.engines = {standby_at(9'999'999)};
  peers.hear(other, at(20));
  AgentOutput out = advance(at(30));
  ASSERT_TRUE(drives(out, Verb::kStop));
  guard.engine_running = false;
  tell_guard(at(40));
  done(*out.drive, true, at(40), {1, Lsn{10'000'000}, "db"});
  ASSERT_TRUE(commands(advance(at(40)), GuardCommand::Kind::kRetire));
  end(session(1), EndCause::kReleased, at(50));
  out = advance(at(50));
  const AppendWish* released = wish<LeaseReleased>(out);
  ASSERT_NE(released, nullptr);
  EXPECT_EQ(released->cause, log.events.back().event.header.id) << "it was asked for";
}

/// Its daemon slept while it held, was fenced meanwhile, and wakes with a wish that it still takes for its own.
TEST_F(AgentTest, AStopThatWasOvertakenIsForgotten) {
  hold(at(0));
  stopping = true;
  const AgentOutput stop = advance(at(10));
  ASSERT_TRUE(drives(stop, Verb::kStop));
  stopping = false;
  end(session(1), EndCause::kFenced, at(20));
  log.decide(2, 2, session(2));
  log.complete(2, 2, session(2), {2, Lsn{1000}, "db"});
  done(*stop.drive, false, at(30));
  peers.hear(beat_of(2, 1, log.state), at(30));
  observe(EngineState::kStopped, at(31), session(1));
  advance(at(40));
  EXPECT_TRUE(drives(advance(at(600)), Verb::kFollow)) << "node2 holds: there is nothing left to hand over";
}

/// Of a decision that named no instance, another host with this id may have said so.
TEST_F(AgentTest, AsksForAnotherSessionWhenTheNextOneEndedInTheLog) {
  tell_guard(at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1)}, node(1), kPostgres, Epoch{1});
  log.add(PromotionFailed{session(1), instance(9)}, node(1), kPostgres, Epoch{1});
  AgentOutput out = advance(at(10));
  ASSERT_TRUE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_EQ(out.guard[0].session, session(1));
  EXPECT_FALSE(commands(advance(at(20)), GuardCommand::Kind::kRetire)) << "the guard has its time to answer";
  EXPECT_TRUE(commands(advance(at(300)), GuardCommand::Kind::kRetire));
  guard.next = session(2);
  tell_guard(at(310));
  EXPECT_FALSE(commands(advance(at(900)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentTest, AsksForAnotherSessionWhenTheNextOneWasNamedAndOvertaken) {
  log.decide(1, 1, session(1));
  log.decide(2, 2, session(2));
  tell_guard(at(0));
  const AgentOutput out = advance(at(0));
  ASSERT_TRUE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_EQ(out.guard.front().session, session(1));
  end(session(1), EndCause::kReleased, at(10));
  engine(EngineState::kStopped, at(10));
  EXPECT_NE(wish<PromotionFailed>(advance(at(10))), nullptr);
}

TEST_F(AgentTest, SwitchoverAskedOfAnotherHolderOrEpochIsVoid) {
  hold(at(0));
  log.add(SwitchoverRequested{.from = node(2), .to = node(1), .valid_ms = 8000}, node(1), kPostgres);
  wishes = {kPostgres};
  EXPECT_FALSE(drives(advance(at(10)), Verb::kStop));
}

// ---- following
class FollowerTest : public AgentTest {
 protected:
  FollowerTest() {
    log.decide(1, 2, session(20));
    log.complete(1, 2, session(20), {2, Lsn{800}, "db"});
    peers.hear(beat_of(2, 1, log.state), at(0));
  }
  /// node2's beats show it writing under that epoch.
  void hear_writer(Instant now, std::uint64_t epoch = 1, SessionId by = session(20)) {
    Beat writes = beat_of(2, ++writer_counter_, log.state);
    writes.claims = {{.resource = kPostgres, .epoch = {epoch}, .session = by}};
    writes.engines = {standby_at(1150, 2)};
    writes.engines.front().state = EngineState::kPrimary;
    peers.hear(writes, now);
  }
  Instant now_ = at(0);
  std::uint64_t writer_counter_ = 1;
};

TEST_F(FollowerTest, EmptyNodeIsCopiedFromTheHolder) {
  engine(EngineState::kEmpty, at(0));
  const AgentOutput out = advance(at(0));
  ASSERT_TRUE(drives(out, Verb::kProvision));
  EXPECT_EQ(out.drive->upstream, node(2));
  done(*out.drive, true, at(10), {2, Lsn{850}, "db"});
  EXPECT_NE(wish<ReplicaProvisioned>(advance(at(10))), nullptr);
}

TEST_F(FollowerTest, StoppedEngineFollowsTheHolder) {
  engine(EngineState::kStopped, at(0));
  observe(EngineState::kStopped, at(0), {}, 700, 1);
  const AgentOutput out = advance(at(0));
  ASSERT_TRUE(drives(out, Verb::kFollow));
  EXPECT_EQ(out.drive->upstream, node(2));
}

TEST_F(FollowerTest, PartedDataAreSaidBeforeTheyAreRejoined) {
  log.state.leases[kPostgres].timelines = {{1, Lsn{1}}, {2, Lsn{800}}};
  engine(EngineState::kStopped, at(0));
  AgentOutput out = advance(at(0));
  EXPECT_NE(wish<ReplicaDiverged>(out), nullptr) << "1000 on timeline 1 is past the fork at 800";
  EXPECT_FALSE(drives(out, Verb::kRejoin));
  log.add(ReplicaDiverged{node(2), {}}, node(1), kPostgres);
  out = advance(at(10));
  EXPECT_TRUE(drives(out, Verb::kRejoin));
}

TEST_F(FollowerTest, CopiesThatFailAreTriedLessAndLessOften) {
  log.state.leases[kPostgres].timelines = {{1, Lsn{1}}, {2, Lsn{800}}};
  log.add(ReplicaDiverged{node(2), {}}, node(1), kPostgres);
  engine(EngineState::kStopped, at(0));
  std::vector<std::int64_t> tried;  // ms
  for (int ms = 1; ms < 3'600'000; ms += 250) {
    hear_writer(at(ms));
    observe(EngineState::kStopped, at(ms), {}, 1000, 1);
    const AgentOutput out = advance(at(ms));
    if (!drives(out, Verb::kRejoin)) continue;
    tried.push_back(ms);
    agent.on_done({.op = out.drive->op, .resource = kPostgres, .verb = Verb::kRejoin, .method = "rebuild", .message = "the network broke"}, at(ms));
  }
  ASSERT_EQ(tried.size(), 17u) << "in an hour; every 15 s it were 240";
  EXPECT_EQ(tried[1] - tried[0], 250);
  EXPECT_EQ(tried[12] - tried[11], 512'000);
  EXPECT_EQ(tried[16] - tried[15], 600'000);
  ASSERT_TRUE(agent.wait());
  EXPECT_EQ(agent.wait()->what, "another attempt to copy the data of node2, of which 17 failed; the last: the network broke");
  EXPECT_EQ(agent.wait()->unblock, "daarionctl rejoin postgres node1 --reason TEXT");
  // Whoever asks for it does not wait.
  log.add(RejoinRequested{}, node(1), kPostgres);
  hear_writer(at(3'600'000));
  AgentOutput out = advance(at(3'600'000));
  ASSERT_TRUE(drives(out, Verb::kRejoin));
  EXPECT_TRUE(out.drive->anew);
}

TEST_F(FollowerTest, WhatWasNoCopyIsTriedSoonAgain) {
  log.state.leases[kPostgres].timelines = {{1, Lsn{1}}, {2, Lsn{800}}};
  log.add(ReplicaDiverged{node(2), {}}, node(1), kPostgres);
  engine(EngineState::kStopped, at(0));
  int tried = 0;
  for (int ms = 1; ms < 3'600'000; ms += 250) {
    hear_writer(at(ms));
    observe(EngineState::kStopped, at(ms), {}, 1000, 1);
    const AgentOutput out = advance(at(ms));
    if (!drives(out, Verb::kRejoin)) continue;
    ++tried;
    agent.on_done({.op = out.drive->op, .resource = kPostgres, .verb = Verb::kRejoin, .message = "wait for node2's first checkpoint"}, at(ms));
  }
  EXPECT_GT(tried, 200);
}

TEST_F(FollowerTest, CopiesItsDataAnewOnceAPersonAskedForIt) {
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 700, 1);
  const Sequence asked = log.add(RejoinRequested{}, node(1), kPostgres);
  AgentOutput out = advance(at(5));
  ASSERT_TRUE(drives(out, Verb::kFollow)) << "this fold may lag, and the newest data be here";
  done(*out.drive, true, at(6));
  observe(EngineState::kStandby, at(7), {}, 700, 1);
  hear_writer(at(10));
  out = advance(at(10));
  ASSERT_TRUE(drives(out, Verb::kRejoin));
  EXPECT_TRUE(out.drive->anew);
  EXPECT_EQ(out.drive->upstream, node(2));
  done(*out.drive, true, at(20), {2, Lsn{900}, "db"});
  observe(EngineState::kStopped, at(30), {}, 900, 2);
  out = advance(at(30));
  const AppendWish* told = wish<ReplicaRejoined>(out);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->cause, log.state.replicas.at({kPostgres, node(1)}).asked_event);
  EXPECT_TRUE(drives(out, Verb::kFollow)) << "once for each time that it is asked for";
  log.add(ReplicaRejoined{"rewind", node(2), {2, Lsn{900}, "db"}}, node(1), kPostgres);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(1)}).asked, asked) << "another one, that was under way";
  LogEvent rebuilt = log.make(ReplicaRejoined{"rebuild", node(2), {2, Lsn{900}, "db"}}, node(1), kPostgres, {});
  rebuilt.event.header.cause = told->cause;
  log.add(rebuilt);
  EXPECT_EQ(log.state.replicas.at({kPostgres, node(1)}).asked, Sequence{});
}

TEST_F(FollowerTest, StopsAndStartsItsEngineOnceForEachTimeThatAPersonAsks) {
  const auto follows = [&](int ms) {
    EngineReport report = standby_at(700, 1);
    report.state = EngineState::kStandby;
    report.incarnation = guard.incarnation;
    report.upstream = node(2);
    agent.on_engine(report, at(ms));
  };
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 700, 1);
  log.add(RestartRequested{}, node(1), kPostgres);
  AgentOutput out = advance(at(5));
  ASSERT_TRUE(drives(out, Verb::kFollow)) << "this fold may lag, and show a request that was done long ago";
  done(*out.drive, true, at(6));
  follows(7);
  hear_writer(at(10));
  out = advance(at(10));
  ASSERT_TRUE(drives(out, Verb::kStop));
  EXPECT_FALSE(out.drive->anew);
  done(*out.drive, false, at(20));
  follows(21);
  EXPECT_FALSE(drives(advance(at(22)), Verb::kStop)) << "not at once after it failed";
  hear_writer(at(1000));
  follows(1000);
  out = advance(at(1000));
  ASSERT_TRUE(drives(out, Verb::kStop));
  EXPECT_EQ(wish<ReplicaRestarted>(out), nullptr);
  done(*out.drive, true, at(1010));
  observe(EngineState::kStopped, at(1020), {}, 700, 1);
  out = advance(at(1020));
  ASSERT_TRUE(drives(out, Verb::kFollow));
  EXPECT_EQ(wish<ReplicaRestarted>(out), nullptr) << "it does not run yet";
  done(*out.drive, true, at(1030));
  follows(1040);
  out = advance(at(1040));
  EXPECT_FALSE(drives(out, Verb::kStop)) << "once";
  const AppendWish* told = wish<ReplicaRestarted>(out);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->cause, log.state.replicas.at({kPostgres, node(1)}).asked_event);
  LogEvent answer = log.make(ReplicaRestarted{}, node(1), kPostgres, {});
  answer.event.header.cause = told->cause;
  log.add(answer);
  hear_writer(at(1050));
  out = advance(at(1050));
  EXPECT_FALSE(drives(out, Verb::kStop));
  EXPECT_EQ(wish<ReplicaRestarted>(out), nullptr);
  // One that is not running is started, and that is all.
  log.add(RestartRequested{}, node(1), kPostgres);
  observe(EngineState::kStopped, at(1060), {}, 700, 1);
  out = advance(at(1060));
  ASSERT_TRUE(drives(out, Verb::kFollow));
  done(*out.drive, true, at(1070));
  follows(1080);
  out = advance(at(1080));
  EXPECT_FALSE(drives(out, Verb::kStop));
  EXPECT_NE(wish<ReplicaRestarted>(out), nullptr);
}

TEST_F(FollowerTest, ACopyThatWasAskedForAndFailsLeavesTheReplicaInService) {
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 700, 1);
  log.add(RejoinRequested{}, node(1), kPostgres);
  hear_writer(at(10));
  AgentOutput out = advance(at(10));
  ASSERT_TRUE(drives(out, Verb::kRejoin));
  done(*out.drive, false, at(20));
  const auto again = [&](int ms) {
    hear_writer(at(ms));
    observe(EngineState::kStopped, at(ms), {}, 700, 1);
    return advance(at(ms));
  };
  out = again(1000);
  ASSERT_TRUE(drives(out, Verb::kFollow)) << "it goes on with what it has";
  ASSERT_TRUE(agent.wait());
  EXPECT_EQ(agent.wait()->what, "another attempt at the whole copy that was asked for: no");
  done(*out.drive, true, at(1010));
  out = again(15'000);
  ASSERT_TRUE(drives(out, Verb::kFollow));
  done(*out.drive, true, at(15'010));
  EXPECT_TRUE(drives(again(16'000), Verb::kRejoin)) << "later it is tried again";
}

TEST_F(FollowerTest, ACopyThatWasAskedForIsVoidUnderAnotherEpoch) {
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 700, 1);
  log.add(RejoinRequested{}, node(1), kPostgres);
  log.decide(2, 2, session(21));
  hear_writer(at(0), 2, session(21));
  EXPECT_FALSE(drives(advance(at(1)), Verb::kRejoin));
}

// node2 was decided again and has opened timeline 3; the log does not have its completion yet. node1 streams that timeline already.
TEST_F(FollowerTest, DataOfAWriterThatTheLogIsLateOnHaveNotParted) {
  log.decide(2, 2, session(21));
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 1100, 3);
  EXPECT_NE(wish<ReplicaDiverged>(advance(at(1))), nullptr) << "nobody shows that timeline";
  Beat writes = beat_of(2, 2, log.state);
  writes.claims = {{.resource = kPostgres, .epoch = {2}, .session = session(21)}};
  writes.engines = {standby_at(1150, 3)};
  writes.engines.front().state = EngineState::kPrimary;
  peers.hear(writes, at(2));
  ASSERT_NE(peers.primary(kPostgres), nullptr);
  const AgentOutput out = advance(at(3));
  EXPECT_EQ(wish<ReplicaDiverged>(out), nullptr);
  EXPECT_TRUE(drives(out, Verb::kFollow)) << "it compares before it follows";
}

// node2 opened under epoch 2, and its host was lost and rebuilt before the log had the completion.
TEST_F(FollowerTest, NobodyFollowsAWriterWhoseHostWasRebuilt) {
  log.release(1, 2, session(20));
  log.decide(2, 2, session(21));
  Beat writes = beat_of(2, 2, log.state);
  writes.claims = {{.resource = kPostgres, .epoch = {2}, .session = session(21)}};
  writes.engines = {standby_at(1150, 3)};
  writes.engines.front().state = EngineState::kPrimary;
  peers.hear(writes, at(1));
  engine(EngineState::kStopped, at(2));
  observe(EngineState::kStopped, at(2), {}, 700, 2);
  const AgentOutput before = advance(at(3));
  EXPECT_TRUE(drives(before, Verb::kFollow));
  done(*before.drive, false, at(4));
  Beat rebuilt = beat_of(2, 3, log.state);
  rebuilt.run = run(9);
  rebuilt.instance = instance(9);
  peers.hear(rebuilt, at(5));
  observe(EngineState::kStopped, at(1000), {}, 700, 2);
  EXPECT_TRUE(drives(advance(at(1000)), Verb::kStart)) << "so that it can be promoted";
}

// A standby parts from its upstream when that opens, long after the follow was done: nothing but another look at it tells.
TEST_F(FollowerTest, LooksAgainAtAnEngineThatNobodyToldOf) {
  const auto follows = [&](Instant now, bool diverged) {
    EngineReport r = standby_at(1000);
    r.incarnation = guard.incarnation;
    r.upstream = node(2);
    r.streaming = !diverged;
    r.diverged = diverged;
    agent.on_engine(r, now);
  };
  engine(EngineState::kStandby, at(0));
  follows(at(0), false);
  advance(at(0));
  follows(at(5), false);
  EXPECT_FALSE(advance(at(900)).drive) << "its observation is fresh";
  EXPECT_TRUE(drives(advance(at(1100)), Verb::kObserve));
  EXPECT_FALSE(advance(at(1200)).drive) << "it was asked for";
  follows(at(1300), true);
  EXPECT_NE(wish<ReplicaDiverged>(advance(at(1300))), nullptr);
}

TEST_F(FollowerTest, ForeignDataAreNeverTouched) {
  engine(EngineState::kForeign, at(0));
  const AgentOutput out = advance(at(0));
  EXPECT_FALSE(out.drive && out.drive->verb != Verb::kObserve);
  EXPECT_TRUE(out.guard.empty());
  ASSERT_TRUE(agent.wait());
  EXPECT_NE(agent.wait()->what.find("is not ours"), std::string::npos);
}

TEST_F(FollowerTest, FailedStepIsTriedAgainLater) {
  engine(EngineState::kEmpty, at(0));
  AgentOutput out = advance(at(0));
  for (const std::int64_t backoff_ms : {250, 500, 1000}) {
    ASSERT_TRUE(drives(out, Verb::kProvision));
    const Instant failed = now_;
    done(*out.drive, false, failed);
    observe(EngineState::kEmpty, failed);
    EXPECT_FALSE(drives(advance(failed + milliseconds(backoff_ms - 1)), Verb::kProvision));
    ASSERT_TRUE(agent.wait());
    EXPECT_EQ(agent.wait()->what, "to try again: no");
    now_ = failed + milliseconds(backoff_ms);
    peers.hear(beat_of(2, static_cast<std::uint64_t>(backoff_ms), log.state), now_);
    out = advance(now_);
  }
}

TEST_F(FollowerTest, AsksForAFreshPositionWhenVotesCome) {
  engine(EngineState::kStandby, at(0));
  observe(EngineState::kStandby, at(0), {}, 900, 2);
  advance(at(0));
  agent.on_vote();
  EXPECT_TRUE(drives(advance(at(1000)), Verb::kObserve) || !agent.idle());
}

// ---- commands that the guard did not hear
TEST_F(AgentTest, AnArmThatTheGuardDoesNotShowIsSaidAgain) {
  tell_guard(at(0));
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  majority_acks(1, session(1), at(1));
  EXPECT_TRUE(commands(advance(at(1)), GuardCommand::Kind::kArm));
  EXPECT_FALSE(commands(advance(at(100)), GuardCommand::Kind::kArm));
  EXPECT_TRUE(commands(advance(at(250)), GuardCommand::Kind::kArm)) << "the guard's reports do not show it";
  confirm(1, session(1), at(1) + holder_length(LeaseTimers{}.ttl, LeaseTimers{}.drift_ppm) - LeaseTimers{}.fence_budget, at(260));
  EXPECT_FALSE(commands(advance(at(600)), GuardCommand::Kind::kArm)) << "now they do";
}

/// Voters give their promises an end on that word, so the guard must have one by then: one that is stopped would go on without.
TEST_F(AgentTest, AResumedIsNamedOnlyOnceTheGuardHasItsDeadline) {
  hold(at(0));
  const Sequence paused = log.pause();
  for (int voter = 1; voter <= 2; ++voter)
    agent.on_ack(ack_of(voter, 100, 1, session(1), log.state.voters, paused), at(100), log.state.voters, log.state, at(100));
  ASSERT_EQ(advance(at(100)).guard.at(0).deadline, kNever);
  const Sequence resumed = log.resume();
  ASSERT_EQ(advance(at(5000)).guard.at(0).deadline, at(6480)) << "the guard's last word is of before the pause";
  EXPECT_EQ(agent.resumed(), Sequence{});
  confirm(1, session(1), kNever, at(5001));
  EXPECT_EQ(agent.resumed(), Sequence{}) << "it has dropped its deadline, and not heard of the other";
  advance(at(5210));
  EXPECT_EQ(agent.resumed(), Sequence{});
  confirm(1, session(1), at(6480), at(5211));
  EXPECT_EQ(agent.resumed(), resumed);
}

TEST_F(AgentTest, AGuardWithoutADeadlineIsToldAlsoOfOneThatHasPassed) {
  hold(at(0));
  const Sequence paused = log.pause();
  for (int voter = 1; voter <= 2; ++voter)
    agent.on_ack(ack_of(voter, 100, 1, session(1), log.state.voters, paused), at(100), log.state.voters, log.state, at(100));
  advance(at(100));
  confirm(1, session(1), kNever, at(101));
  log.resume();
  advance(at(5000));
  const AgentOutput late = advance(at(9000));
  ASSERT_TRUE(commands(late, GuardCommand::Kind::kArm)) << "it fences then";
  EXPECT_EQ(late.guard[0].deadline, at(6480));
  confirm(1, session(1), at(6480), at(9001));
  EXPECT_FALSE(commands(advance(at(9300)), GuardCommand::Kind::kArm));
}

TEST_F(AgentTest, ARetirementThatTheGuardDoesNotShowIsSaidAgain) {
  tell_guard(at(0));
  log.decide(1, 1, session(1));
  engine(EngineState::kStandby, at(0));
  advance(at(0));
  EXPECT_TRUE(commands(advance(at(2100)), GuardCommand::Kind::kRetire)) << "no majority within a ttl";
  advance(at(2101));
  EXPECT_TRUE(commands(advance(at(2400)), GuardCommand::Kind::kRetire)) << "the guard still offers the session";
  end(session(1), EndCause::kReleased, at(2410));
  EXPECT_FALSE(commands(advance(at(2900)), GuardCommand::Kind::kRetire));
}

// ---- a log that lost events
TEST_F(AgentTest, ALeaseThatTheLogHasLostIsDecidedAgainAboveItself) {
  hold(at(0));
  log = log_with_voters();
  log.decide(1, 2, session(22), DecisionKind::kBootstrap);
  log.complete(1, 2, session(22));
  AgentOutput out = advance(at(100));
  const AppendWish* again = wish<PromotionDecided>(out);
  ASSERT_NE(again, nullptr) << "epoch 1 is another's in this log";
  EXPECT_EQ(again->epoch, Epoch{2});
  EXPECT_EQ(std::get<PromotionDecided>(again->payload).session, session(1));
  EXPECT_EQ(std::get<PromotionDecided>(again->payload).kind, DecisionKind::kKeep);
  EXPECT_TRUE(agent.claim()) << "and it goes on";
  log.decide(2, 1, session(1), DecisionKind::kKeep);
  out = advance(at(110));
  EXPECT_EQ(agent.claim()->epoch, Epoch{2});
  EXPECT_EQ(wish<PromotionDecided>(out), nullptr);
}

TEST_F(AgentTest, ALeaseIsDecidedAgainAlsoWhereTheLogLostAllOfThem) {
  hold(at(0));
  log = log_with_voters();
  const AgentOutput out = advance(at(100));
  const AppendWish* again = wish<PromotionDecided>(out);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->epoch, Epoch{2});
}

TEST_F(AgentTest, LeavesItsEngineBesideAWriterWhoseEpochTheLogDoesNotShow) {
  log.decide(1, 2, session(22), DecisionKind::kBootstrap);
  log.complete(1, 2, session(22), {1, Lsn{100}, "db"});
  engine(EngineState::kStandby, at(0));
  Beat beat = beat_of(2, 1, log.state);
  beat.claims = {claim_of(5, session(23))};
  EngineReport writer = standby_at(2000, 4);
  writer.state = EngineState::kPrimary;
  beat.engines = {writer};
  peers.hear(beat, at(0));
  const AgentOutput out = advance(at(0));
  EXPECT_TRUE(!out.drive || out.drive->verb == Verb::kObserve) << "neither follows nor rejoins by a log that lacks epoch 5";
  EXPECT_EQ(wish<ReplicaDiverged>(out), nullptr);
}

TEST_F(AgentTest, ASlotThatWasDroppedIsToldUntilTheLogHasIt) {
  tell_guard(at(0));
  hold(at(0));
  EngineReport r = standby_at(2000);
  r.state = EngineState::kPrimary;
  r.incarnation = guard.incarnation;
  r.dropped_slots = {{node(2), "daarion_node2", "it kept more WAL than max_slot_wal_keep_size"}};
  agent.on_engine(r, at(10));
  r.dropped_slots.clear();
  agent.on_engine(r, at(20));  // said once by the driver
  const AgentOutput out = advance(at(30));
  const AppendWish* told = wish<SlotDropped>(out);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->about, node(2));
  EXPECT_EQ(told->epoch, Epoch{1});
  EXPECT_EQ(told->reason, "it kept more WAL than max_slot_wal_keep_size");
  EXPECT_NE(wish<SlotDropped>(advance(at(40))), nullptr);
  agent.told(std::get<SlotDropped>(told->payload));
  EXPECT_EQ(wish<SlotDropped>(advance(at(50))), nullptr);
}

// ---- for whose word commits wait
class AgentSyncTest : public AgentTest {
 protected:
  AgentSyncTest() {
    spec.resources[0].members = {node(1), node(2), node(3)};
    spec.resources[0].sync = SyncMode::kSync;
  }
  /// The engine is open, waits for any one of those, and these stream from it.
  void look(Instant now, std::vector<NodeId> confirmers, std::vector<NodeId> followers, bool confirmed = true) {
    EngineReport r = standby_at(1000);
    r.state = EngineState::kPrimary;
    r.incarnation = guard.incarnation;
    r.opened = session(1);
    r.opened_epoch = Epoch{1};
    r.confirmers = std::move(confirmers);
    r.confirmations = 1;
    r.confirmed_all = confirmed;
    r.followers = std::move(followers);
    agent.on_engine(r, now);
  }
  const SyncSetChanged* said(const AgentOutput& out) {
    const AppendWish* w = wish<SyncSetChanged>(out);
    return w ? &std::get<SyncSetChanged>(w->payload) : nullptr;
  }
  const std::vector<NodeId> both{node(2), node(3)}, first{node(2)};
};

TEST_F(AgentSyncTest, SaysWhomItsCommitsWaitForAndLeavesOutWhoIsAwayForLong) {
  hold(at(0));
  look(at(10), both, both);
  AgentOutput out = advance(at(10));
  ASSERT_NE(said(out), nullptr);
  EXPECT_EQ(*said(out), (SyncSetChanged{session(1), both, 1}));
  EXPECT_EQ(wish<SyncSetChanged>(out)->reason, "each commit waits for 1 of node2, node3");
  log.add(*said(out), node(1), kPostgres, Epoch{1});
  EXPECT_EQ(said(advance(at(20))), nullptr);

  look(at(1000), both, first);
  out = advance(at(1000));
  EXPECT_FALSE(out.drive) << "it may be back in a moment";
  majority_acks(1, session(1), at(5900));
  look(at(6000), both, first);
  out = advance(at(6000));
  ASSERT_TRUE(drives(out, Verb::kSetSync));
  EXPECT_EQ(out.drive->confirmers, first);
  EXPECT_EQ(out.drive->confirmations, 1u);
  EXPECT_EQ(said(out), nullptr);
  done(*out.drive, true, at(6010));
  advance(at(6015));
  look(at(6020), first, first, false);
  EXPECT_EQ(said(advance(at(6020))), nullptr) << "node3 may have confirmed what node2 lacks";
  look(at(6030), first, first);
  out = advance(at(6030));
  ASSERT_NE(said(out), nullptr);
  EXPECT_EQ(said(out)->members, first);
  log.add(*said(out), node(1), kPostgres, Epoch{1});

  look(at(7000), first, both);
  out = advance(at(7000));
  ASSERT_NE(said(out), nullptr);
  EXPECT_EQ(said(out)->members, both);
  EXPECT_FALSE(out.drive) << "the log first";
  log.add(*said(out), node(1), kPostgres, Epoch{1});
  out = advance(at(7010));
  ASSERT_TRUE(drives(out, Verb::kSetSync));
  EXPECT_EQ(out.drive->confirmers, both);
}

TEST_F(AgentSyncTest, WhoIsDrainedConfirmsNothingMore) {
  hold(at(0));
  log.add(SyncSetChanged{session(1), both, 1}, node(1), kPostgres, Epoch{1});
  log.add(MemberJoined{.instance = instance(3)}, node(3));
  log.add(MemberIntentChanged{MemberIntent::kDraining}, node(3));
  look(at(10), both, both);
  const AgentOutput out = advance(at(10));
  ASSERT_TRUE(drives(out, Verb::kSetSync));
  EXPECT_EQ(out.drive->confirmers, first);
}

TEST_F(AgentSyncTest, BeatsDoNotCarryIt) {
  hold(at(0));
  look(at(10), both, both);
  EXPECT_TRUE(agent.engine(at(10)).confirmers.empty());
  EXPECT_TRUE(agent.engine(at(10)).followers.empty());
  EXPECT_FALSE(agent.engine(at(10)).confirmed_all);
}

// ---- what others have is asked before the engine opens
/// node2 wrote, and its commits waited for one of node1 and node3. node1 is named, and has its majority.
class AgentAskTest : public AgentSyncTest {
 protected:
  /// What the first step after the majority does.
  AgentOutput named(Evidence evidence = {}) {
    log.decide(1, 2, session(20), DecisionKind::kBootstrap);
    log.complete(1, 2, session(20), {1, Lsn{100}, "db"});
    log.release(1, 2, session(20));
    log.add(PromotionDecided{.to = node(1), .session = session(1), .kind = DecisionKind::kFailover, .evidence = std::move(evidence), .instance = instance(1)}, node(1),
            kPostgres, Epoch{2});
    return earn(2, at(1));
  }
  void renew(Instant now) {
    majority_acks(2, session(1), now);
    confirm(2, session(1), agent.holder().deadline(), now);
  }
  void look_again(std::uint64_t op, Instant now, std::uint64_t lsn = 1000) {
    EngineReport r = standby_at(lsn);
    r.incarnation = guard.incarnation;
    r.looked = op;
    agent.on_engine(r, now);
  }
  void hear_from_node3(std::uint64_t counter, std::uint64_t lsn, const SessionId& answers, Instant now) {
    Beat b = beat_of(3, counter, log.state);
    b.engines = {standby_at(lsn)};
    if (!answers.empty()) b.answers = {{kPostgres, answers}};
    peers.hear(b, now);
  }
  /// Its own look after it asked.
  AgentOutput looked() {
    const AgentOutput out = advance(at(2));
    EXPECT_TRUE(drives(out, Verb::kObserve));
    look_again(out.drive->op, at(3));
    return advance(at(3));
  }
};

TEST_F(AgentAskTest, OpensOnceEnoughOthersShowWhatTheyHave) {
  hear_from_node3(1, 1000, {}, at(0));
  const AgentOutput first = named();
  EXPECT_FALSE(drives(first, Verb::kPromote));
  EXPECT_TRUE(first.beat_now) << "others are to hear of it at once";
  EXPECT_EQ(agent.asks(), session(1));
  EXPECT_FALSE(drives(looked(), Verb::kPromote)) << "what node3 showed is of before";
  hear_from_node3(2, 1000, session(7), at(4));
  EXPECT_FALSE(drives(advance(at(4)), Verb::kPromote)) << "it answers another";
  ASSERT_TRUE(agent.wait());
  EXPECT_EQ(agent.wait()->what, "1 of the 2 replicas that confirmed the writes of node2 show what they have, 2 must, or an acknowledged write could be missing");
  hear_from_node3(3, 1000, session(1), at(5));
  EXPECT_TRUE(drives(advance(at(5)), Verb::kPromote));
}

TEST_F(AgentAskTest, NotOnItsOwnLookOfBefore) {
  named();
  hear_from_node3(1, 1000, session(1), at(2));
  const AgentOutput out = advance(at(2));
  ASSERT_TRUE(drives(out, Verb::kObserve));
  look_again(out.drive->op - 1, at(3));
  EXPECT_FALSE(drives(advance(at(3)), Verb::kPromote));
  look_again(out.drive->op, at(4));
  EXPECT_TRUE(drives(advance(at(4)), Verb::kPromote));
}

TEST_F(AgentAskTest, GivesTheSessionBackWhereAnotherHasMore) {
  named();
  hear_from_node3(1, 1001, session(1), at(2));
  const AgentOutput out = looked();
  EXPECT_FALSE(drives(out, Verb::kPromote));
  EXPECT_TRUE(commands(out, GuardCommand::Kind::kRetire));
  EXPECT_FALSE(agent.asks());
  end(session(1), EndCause::kReleased, at(10));
  observe(EngineState::kStandby, at(20));
  EXPECT_EQ(failure(advance(at(20))), "node3 has more, which may have been acknowledged");
}

TEST_F(AgentAskTest, GivesTheSessionBackWhereNobodyAnswersForATtl) {
  named();
  looked();
  renew(at(1000));
  EXPECT_FALSE(commands(advance(at(1990)), GuardCommand::Kind::kRetire));
  EXPECT_LE(agent.next_change(), at(2001));
  EXPECT_TRUE(commands(advance(at(2001)), GuardCommand::Kind::kRetire));
}

TEST_F(AgentAskTest, AsksNobodyWhereAPersonAcceptsTheLoss) {
  EXPECT_TRUE(drives(named({.wanted = node(1), .allow_data_loss = true}), Verb::kPromote));
}

TEST_F(AgentAskTest, OfAnotherNodeIsNoWordForThisOne) {
  EXPECT_FALSE(drives(named({.wanted = node(3), .allow_data_loss = true}), Verb::kPromote));
}

TEST_F(AgentAskTest, AsksNobodyWhereCommitsWaitForNobody) {
  spec.resources[0].sync = SyncMode::kAsync;
  EXPECT_TRUE(drives(named(), Verb::kPromote));
  EXPECT_FALSE(agent.asks());
}

TEST_F(AgentAskTest, ACleanEndExcusesOnlyWhoHasAllOfIt) {
  for (const std::uint64_t final_lsn : {1001, 1000}) {
    log = log_with_voters();
    log.decide(1, 2, session(20), DecisionKind::kBootstrap);
    log.complete(1, 2, session(20), {1, Lsn{100}, "db"});
    log.decide(2, 1, session(1));
    // It ended after the decision, and nobody who decided saw how far it came.
    log.add(LeaseReleased{.session = session(20), .cause = EndCause::kReleased, .final_position = true, .position = {1, Lsn{final_lsn}, "db"}, .instance = instance(2)},
            node(2), kPostgres, Epoch{1});
    ASSERT_TRUE(log.lease().final_position);
    agent = Agent{node(1), kPostgres, LeaseTimers{}};
    guard = {.resource = kPostgres, .connected = true, .next = session(1)};
    EXPECT_EQ(drives(earn(2, at(1)), Verb::kPromote), final_lsn == 1000) << final_lsn;
  }
}

TEST_F(AgentAskTest, ThatAPersonAcceptsALossForAnotherIsNoWordForThisOne) {
  named();
  log.add(PromotionDecided{.to = node(3), .session = session(30), .evidence = {.allow_data_loss = true}, .instance = instance(3)}, node(3), kPostgres, Epoch{3});
  ASSERT_TRUE(log.lease().accepts_loss);
  EXPECT_FALSE(drives(advance(at(2)), Verb::kPromote));
}

TEST_F(AgentAskTest, WhoIsNoMemberAnyMoreDoesNotOpen) {
  named();
  spec.resources[0].members = {node(2), node(3)};
  const AgentOutput out = advance(at(2));
  EXPECT_FALSE(drives(out, Verb::kPromote));
  EXPECT_TRUE(commands(out, GuardCommand::Kind::kRetire));
}

TEST_F(AgentAskTest, AnothersLateQuestionDoesNotTakeItsOwnAway) {
  named();
  agent.on_ask(session(20));
  hear_from_node3(1, 1000, session(1), at(2));
  advance(at(2));
  EXPECT_TRUE(drives(looked(), Verb::kPromote));
}

TEST_F(AgentAskTest, WhoIsAskedLooksAndAnswersAtOnce) {
  engine(EngineState::kStandby, at(0));
  const AgentOutput before = advance(at(0));
  EXPECT_FALSE(agent.answers());
  agent.on_ask(session(9));
  if (before.drive) look_again(before.drive->op, at(1));
  EXPECT_FALSE(agent.answers()) << "that look was begun before it was asked";
  const AgentOutput out = advance(at(2));
  ASSERT_TRUE(drives(out, Verb::kObserve));
  look_again(out.drive->op, at(3));
  EXPECT_EQ(agent.answers(), session(9));
  EXPECT_TRUE(advance(at(3)).beat_now);
  agent.on_ask(session(9));
  look_again(out.drive->op, at(200));
  EXPECT_FALSE(advance(at(200)).beat_now) << "said once; the next beats have it too";
}

TEST_F(AgentSyncTest, TheSetChangesOnlyUnderTheNewestEpoch) {
  hold(at(0));
  look(at(10), both, both);
  ASSERT_NE(said(advance(at(10))), nullptr);
  log.decide(2, 2, session(20));
  EXPECT_EQ(said(advance(at(20))), nullptr) << "who is named knows nothing of another set";
  log.decide(3, 1, session(1), DecisionKind::kKeep);
  EXPECT_EQ(said(advance(at(30))), nullptr) << "whom a majority backs is not settled";
  majority_acks(3, session(1), at(40));
  look(at(40), both, both);
  EXPECT_NE(said(advance(at(40))), nullptr);
}

}  // namespace
}  // namespace daarion
