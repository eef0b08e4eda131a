#include "controlplane/core/decide.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <functional>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

CandidateEvidence standby(int n, std::uint64_t lsn = 1000, std::uint64_t timeline = 1) {
  CandidateEvidence c;
  c.node = node(n);
  c.heard = true;
  c.beat_age_ms = 100;
  c.session = session(static_cast<std::uint64_t>(n));
  c.instance = instance(n);
  c.engine = standby_at(lsn, timeline);
  return c;
}

/// node1 held epoch 7 and was last heard at position 1000; node2 and node3 have everything; two of three voters vote.
Evidence after_loss_of_node1() {
  Evidence e;
  e.resource = kPostgres;
  e.kind = DecisionKind::kFailover;
  e.log_epoch = Epoch{7};
  e.last_holder = node(1);
  e.last_position = {1, Lsn{1000}, "db"};
  e.timelines = {{1, Lsn{1}}};
  e.voters = 3;
  e.votes = {{node(2), Epoch{7}, 10, 0}, {node(3), Epoch{7}, 10, 0}};
  e.limits = {.bytes = 500, .time_ms = 10'000, .staleness_ms = 60'000};
  e.unreachable_ms = 2000;
  e.declared_primary = node(1);
  CandidateEvidence dead = standby(1);
  dead.beat_age_ms = 2100;
  e.candidates = {dead, standby(2), standby(3)};
  return e;
}

std::string rule_of(const Decision& d, int n) {
  for (const Verdict& v : d.verdicts)
    if (v.node == node(n)) return v.rule;
  return "no verdict";
}

TEST(FailoverDecide, PromotesTheEligibleWithTheNextEpoch) {
  const Decision d = decide(after_loss_of_node1());
  EXPECT_EQ(d.to, node(2));
  EXPECT_EQ(d.session, session(2));
  EXPECT_EQ(d.instance, instance(2));
  EXPECT_EQ(d.epoch, Epoch{8});
  EXPECT_EQ(d.verdicts.size(), 3u);
  EXPECT_EQ(rule_of(d, 1), "unreachable");
  EXPECT_EQ(rule_of(d, 2), "eligible");
  EXPECT_FALSE(d.reason.empty());
  EXPECT_TRUE(d.unblock.empty());
}

TEST(FailoverDecide, EpochIsAboveEveryVote) {
  Evidence e = after_loss_of_node1();
  e.votes[1].highest = Epoch{12};
  EXPECT_EQ(decide(e).epoch, Epoch{13});
}

// ---- one rule each: what is changed in node2's evidence, and the verdict that follows
struct Rule {
  const char* rule;
  std::function<void(Evidence&, CandidateEvidence&)> change;
};
void PrintTo(const Rule& r, std::ostream* out) { *out << r.rule; }
class FailoverDecideRule : public testing::TestWithParam<Rule> {};

TEST_P(FailoverDecideRule, SpeaksAgainstTheCandidate) {
  Evidence e = after_loss_of_node1();
  GetParam().change(e, e.candidates[1]);
  const Decision d = decide(e);
  EXPECT_EQ(rule_of(d, 2), GetParam().rule);
  for (const Verdict& v : d.verdicts) EXPECT_FALSE(v.detail.empty()) << v.node.value;
  EXPECT_NE(d.to, node(2));
}

INSTANTIATE_TEST_SUITE_P(
    Each, FailoverDecideRule,
    testing::Values(Rule{"not_active", [](Evidence&, CandidateEvidence& c) { c.intent = MemberIntent::kDraining; }},
                    Rule{"not_active", [](Evidence&, CandidateEvidence& c) { c.intent = MemberIntent::kRetired; }},
                    Rule{"nofailover", [](Evidence&, CandidateEvidence& c) { c.tags.nofailover = true; }},
                    Rule{"unreachable", [](Evidence&, CandidateEvidence& c) { c.heard = false; }},
                    Rule{"unreachable", [](Evidence& e, CandidateEvidence& c) { c.beat_age_ms = e.unreachable_ms + 1; }},
                    Rule{"no_session", [](Evidence&, CandidateEvidence& c) { c.session = {}; }},
                    Rule{"no_engine", [](Evidence&, CandidateEvidence& c) { c.engine.state = EngineState::kForeign; }},
                    Rule{"no_engine", [](Evidence&, CandidateEvidence& c) { c.engine.state = EngineState::kEmpty; }},
                    Rule{"no_engine", [](Evidence&, CandidateEvidence& c) { c.engine.state = EngineState::kUnresponsive; }},
                    Rule{"not_standby", [](Evidence&, CandidateEvidence& c) { c.engine.state = EngineState::kStopped; }},
                    Rule{"not_standby", [](Evidence&, CandidateEvidence& c) { c.engine.state = EngineState::kPrimary; }},
                    Rule{"other_identity", [](Evidence&, CandidateEvidence& c) { c.engine.position.identity = "other"; }},
                    Rule{"diverged", [](Evidence&, CandidateEvidence& c) { c.engine.position.timeline = 2; }},
                    Rule{"cannot_replay", [](Evidence&, CandidateEvidence& c) { c.engine.blocked = "max_connections is 50 here and 100 on its primary"; }},
                    Rule{"unfit", [](Evidence&, CandidateEvidence& c) { c.engine.lacks = {"extension postgis (database shop)"}; }},
                    Rule{"lag_bytes", [](Evidence&, CandidateEvidence& c) { c.engine.position.lsn = Lsn{499}; }},
                    Rule{"lag_ms", [](Evidence& e, CandidateEvidence& c) { c.lag_ms = e.limits.time_ms + 1; }},
                    Rule{"staleness", [](Evidence& e, CandidateEvidence& c) { c.engine.contact_age_ms = e.limits.staleness_ms + 1; }},
                    Rule{"loses_writes", [](Evidence& e, CandidateEvidence& c) { e.final_position = true; c.engine.position.lsn = Lsn{999}; }}));

TEST(FailoverDecide, AnybodyWithinTheLimitsBeforeWhoDoesNotReadTheLog) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].deaf = true;
  e.candidates[2].engine.position.lsn = Lsn{600};
  const Decision d = decide(e);
  EXPECT_EQ(d.to, node(3));
  EXPECT_EQ(rule_of(d, 2), "deaf");
  EXPECT_EQ(d.loss_bytes, 400u);
  e.wanted = node(2);
  EXPECT_EQ(decide(e).to, node(2)) << "an operator asked for it";
}

TEST(FailoverDecide, WhoDoesNotReadTheLogIsNamedWhereNobodyElseIsLeft) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].deaf = true;
  e.candidates[2].engine.position.lsn = Lsn{499};  // beyond the limit
  EXPECT_EQ(decide(e).to, node(2));
  e.candidates[2].engine.position.lsn = Lsn{999};
  e.candidates[2].deaf = true;
  EXPECT_EQ(decide(e).to, node(2)) << "of the deaf, who has more";
}

// ---- commits that waited for replicas
/// As above; any one of node2 and node3 confirmed each commit, and both were looked at after the lease had ended.
Evidence after_loss_of_a_sync_primary() {
  Evidence e = after_loss_of_node1();
  e.sync = {{node(1), {node(2), node(3)}, 1}};
  e.settled_ms = 20;
  return e;
}

TEST(FailoverDecide, WithAllConfirmersHeardTheFurthestOfThemHasEveryAcknowledgedWrite) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[1].engine.position.lsn = Lsn{999};
  const Decision d = decide(e);
  EXPECT_EQ(d.to, node(3));
  EXPECT_EQ(rule_of(d, 2), "not_in_sync_set");
}

TEST(FailoverDecide, OneOfTwoConfirmersMayLackWhatTheOtherConfirmed) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[2].beat_age_ms = e.unreachable_ms + 1;
  Decision d = decide(e);
  EXPECT_FALSE(d.to);
  EXPECT_EQ(rule_of(d, 2), "sync_unheard");
  EXPECT_NE(d.reason.find("1 of the 2 replicas that confirmed the writes of node1 show what they have, 2 must"), std::string::npos) << d.reason;
  EXPECT_NE(d.unblock.find("--allow-data-loss"), std::string::npos);
  e.sync[0].members = {node(2)};
  EXPECT_EQ(decide(e).to, node(2)) << "node3 had left the set";
  e.sync[0].members = {node(2), node(3)};
  e.kind = DecisionKind::kForced;
  e.allow_data_loss = true;
  EXPECT_EQ(decide(e).to, node(2)) << "a person takes it as it is";
  e.allow_data_loss = false;
  e.wanted = node(2);
  EXPECT_FALSE(decide(e).to);
}

TEST(FailoverDecide, APositionOfBeforeTheLeasesEndIsNone) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[2].engine.age_ms = 21;
  EXPECT_EQ(rule_of(decide(e), 2), "sync_unheard");
  e.candidates[2].engine.age_ms = 20;
  EXPECT_EQ(decide(e).to, node(2));
}

TEST(FailoverDecide, AnEngineThatEndedDoesNotShowWhatItHas) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[2].engine.state = EngineState::kStopped;
  EXPECT_EQ(rule_of(decide(e), 2), "sync_unheard");
}

TEST(FailoverDecide, WhoMayNotBePromotedShowsWhatItConfirmedAllTheSame) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[2].intent = MemberIntent::kDraining;
  EXPECT_EQ(decide(e).to, node(2)) << "node3 has no more than node2";
  e.candidates[2].engine.position.lsn = Lsn{1001};
  const Decision d = decide(e);
  EXPECT_FALSE(d.to);
  EXPECT_EQ(rule_of(d, 2), "not_in_sync_set");
  EXPECT_NE(d.reason.find("node3 has more, which may have been acknowledged"), std::string::npos) << d.reason;
}

TEST(FailoverDecide, TheWritersOwnDataHaveAllThatItAcknowledged) {
  Evidence e = after_loss_of_a_sync_primary();
  e.candidates[0] = standby(1);
  e.candidates[1].beat_age_ms = e.candidates[2].beat_age_ms = e.unreachable_ms + 1;
  EXPECT_EQ(decide(e).to, node(1));
  e.sync.push_back({node(2), {node(1), node(3)}, 1});
  EXPECT_EQ(rule_of(decide(e), 1), "sync_unheard") << "node2 was named after it, and may have written";
  e.candidates[2].beat_age_ms = 100;
  EXPECT_EQ(decide(e).to, node(1));
}

TEST(FailoverDecide, AfterACleanStopThePositionSaysItAll) {
  Evidence e = after_loss_of_a_sync_primary();
  e.final_position = true;
  e.candidates[2].beat_age_ms = e.unreachable_ms + 1;
  EXPECT_EQ(decide(e).to, node(2));
}

/// Whatever was confirmed by whom, and whoever is heard: who is promoted has all that was acknowledged.
RC_GTEST_PROP(FailoverDecide, NobodyIsPromotedWhoLacksAnAcknowledgedWrite, ()) {
  const int others = *rc::gen::inRange(1, 5);
  const auto needed = static_cast<std::uint32_t>(*rc::gen::inRange(1, others + 1));
  Evidence e = after_loss_of_node1();
  e.settled_ms = 20;
  e.limits.bytes = 1'000'000;
  e.candidates.resize(1);
  SyncEvidence sync{node(1), {}, needed};
  std::vector<std::uint64_t> has;
  for (int n = 2; n < 2 + others; ++n) {
    has.push_back(*rc::gen::inRange<std::uint64_t>(500, 1000));
    CandidateEvidence c = standby(n, has.back());
    if (*rc::gen::inRange(0, 3) == 0) c.beat_age_ms = e.unreachable_ms + 1;
    if (*rc::gen::inRange(0, 4) == 0) c.engine.age_ms = 21, c.engine.position.lsn.value -= *rc::gen::inRange<std::uint64_t>(0, 100);  // it has more by now
    if (*rc::gen::inRange(0, 4) == 0) c.intent = MemberIntent::kDraining;
    if (*rc::gen::inRange(0, 6) == 0) c.tags.nofailover = true;
    if (*rc::gen::inRange(0, 6) == 0) c.deaf = true;
    c.tags.priority = *rc::gen::inRange(0, 3);
    e.candidates.push_back(c);
    sync.members.push_back(node(n));
  }
  e.sync = {sync};
  std::vector<std::uint64_t> sorted = has;
  std::ranges::sort(sorted, std::greater<>());
  const std::uint64_t acknowledged = sorted[needed - 1];  // at most: so many of them have it
  const Decision d = decide(e);
  if (!d.to) return;
  const auto chosen = std::ranges::find(e.candidates, *d.to, &CandidateEvidence::node) - e.candidates.begin();
  RC_ASSERT(has[static_cast<std::size_t>(chosen - 1)] >= acknowledged);
}

TEST(FailoverDecide, LimitsThemselvesAreAllowed) {
  Evidence e = after_loss_of_node1();
  CandidateEvidence& c = e.candidates[1];
  c.beat_age_ms = e.unreachable_ms;
  c.engine.position.lsn = Lsn{500};
  c.lag_ms = e.limits.time_ms;
  c.engine.contact_age_ms = e.limits.staleness_ms;
  EXPECT_EQ(rule_of(decide(e), 2), "eligible");
}

TEST(FailoverDecide, FirstRuleInTheOrderSpeaks) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].intent = MemberIntent::kDisabled;
  e.candidates[1].heard = false;
  e.candidates[1].engine.state = EngineState::kEmpty;
  EXPECT_EQ(rule_of(decide(e), 2), "not_active");
}

TEST(FailoverDecide, CleanStopMakesStalenessHarmless) {
  Evidence e = after_loss_of_node1();
  e.final_position = true;
  e.candidates[1].engine.contact_age_ms = e.limits.staleness_ms + 1;
  EXPECT_EQ(rule_of(decide(e), 2), "eligible");
}

TEST(FailoverDecide, WhatTheHolderLackedTooIsNoWorseElsewhere) {
  Evidence e = after_loss_of_node1();
  e.candidates[0].engine.lacks = {"library a"};
  e.candidates[1].engine.lacks = {"library a"};
  EXPECT_EQ(rule_of(decide(e), 2), "eligible");
  e.candidates[1].engine.lacks.push_back("library b");
  const Decision d = decide(e);
  EXPECT_EQ(rule_of(d, 2), "unfit");
  EXPECT_EQ(d.verdicts[1].detail, "it lacks library b");
}

TEST(FailoverDecide, OnesWhoLackSomethingAreTakenOnlyIfAPersonSaysSoAndNeverIfTheyCannotReplay) {
  Evidence e = after_loss_of_node1();
  e.candidates[2].heard = false;
  e.candidates[1].engine.lacks = {"extension postgis (database shop)"};
  EXPECT_FALSE(decide(e).to);
  EXPECT_EQ(decide(e).unblock, "daarionctl failover postgres --to NODE --allow-data-loss --reason TEXT");
  e.kind = DecisionKind::kForced;
  e.allow_data_loss = true;
  EXPECT_FALSE(decide(e).to) << "for whom it is said must be named";
  e.wanted = node(2);
  EXPECT_EQ(decide(e).to, node(2));
  e.candidates[1].engine.blocked = "max_connections is 50 here and 100 on its primary";
  EXPECT_FALSE(decide(e).to);
}

// ---- waits
TEST(FailoverDecide, WaitsWithoutVoterSet) {
  Evidence e = after_loss_of_node1();
  e.voters = 0;
  e.votes.clear();
  const Decision d = decide(e);
  EXPECT_FALSE(d.to);
  EXPECT_NE(d.reason.find("no voter set"), std::string::npos);
  EXPECT_FALSE(d.unblock.empty());
}

TEST(FailoverDecide, WaitsWithoutAMajorityOfVotes) {
  Evidence e = after_loss_of_node1();
  e.votes.pop_back();
  const Decision d = decide(e);
  EXPECT_FALSE(d.to);
  EXPECT_NE(d.reason.find("no majority"), std::string::npos);
  EXPECT_EQ(d.unblock, "daarionctl nodes");
  EXPECT_EQ(d.verdicts.size(), 3u) << "every candidate gets its verdict also while waiting";
}

TEST(FailoverDecide, WaitsWhilePausedUnlessAnOperatorAsked) {
  Evidence e = after_loss_of_node1();
  e.paused = true;
  EXPECT_FALSE(decide(e).to);
  EXPECT_EQ(decide(e).unblock, "daarionctl resume --reason TEXT");
  e.kind = DecisionKind::kSwitchover;
  EXPECT_TRUE(decide(e).to);
  e.kind = DecisionKind::kForced;
  EXPECT_TRUE(decide(e).to);
}

TEST(FailoverDecide, WaitsAfterTooManyAutomaticPromotions) {
  Evidence e = after_loss_of_node1();
  e.promotions = e.max_promotions = 3;
  EXPECT_FALSE(decide(e).to);
  EXPECT_EQ(decide(e).unblock, "daarionctl failover postgres --to node2 --reason TEXT");
  EXPECT_EQ(decide(e).reason, "3 automatic promotions in the window, limit 3 (control.max_promotions)");
  e.promotions = 2;
  EXPECT_TRUE(decide(e).to);
  e.promotions = 3;
  e.kind = DecisionKind::kForced;
  EXPECT_TRUE(decide(e).to) << "the bound is for automatic ones";
}

TEST(FailoverDecide, WaitsWhenNobodyIsEligibleAndNamesTheCommand) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].engine.position.lsn = e.candidates[2].engine.position.lsn = Lsn{1};
  const Decision d = decide(e);
  EXPECT_FALSE(d.to);
  EXPECT_NE(d.reason.find("node2: 999 bytes behind"), std::string::npos) << d.reason;
  EXPECT_EQ(d.unblock, "daarionctl failover postgres --to NODE --allow-data-loss --reason TEXT");
}

TEST(FailoverDecide, WaitsWithoutMembers) {
  Evidence e = after_loss_of_node1();
  e.candidates.clear();
  EXPECT_NE(decide(e).reason.find("no members"), std::string::npos);
}

// ---- choosing
TEST(FailoverDecide, HighestPositionFirst) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].engine.position.lsn = Lsn{998};
  e.candidates[1].tags.priority = 500;
  EXPECT_EQ(decide(e).to, node(3));
}

TEST(FailoverDecide, ThenPriorityThenTheLowerNode) {
  Evidence e = after_loss_of_node1();
  e.candidates[2].tags.priority = 101;
  EXPECT_EQ(decide(e).to, node(3));
  e.candidates[2].tags.priority = 100;
  EXPECT_EQ(decide(e).to, node(2));
}

TEST(FailoverDecide, ANewerTimelineIsFurtherThanALargerPosition) {
  Evidence e = after_loss_of_node1();
  e.last_position = {2, Lsn{900}, "db"};
  e.timelines = {{1, Lsn{1}}, {2, Lsn{800}}};
  e.candidates[1] = standby(2, 800, 1);
  e.candidates[2] = standby(3, 790, 2);
  EXPECT_EQ(decide(e).to, node(3));
}

TEST(SharesHistory, AnOlderTimelineUpToTheFork) {
  Evidence e = after_loss_of_node1();
  e.last_position = {3, Lsn{900}, "db"};
  e.timelines = {{1, Lsn{1}}, {2, Lsn{600}}, {3, Lsn{800}}};
  EXPECT_TRUE(shares_history(e, standby(2, 600, 1)));
  EXPECT_FALSE(shares_history(e, standby(2, 601, 1)));
  EXPECT_TRUE(shares_history(e, standby(2, 800, 2)));
  EXPECT_FALSE(shares_history(e, standby(2, 801, 2)));
  EXPECT_TRUE(shares_history(e, standby(2, 5000, 3)));
  EXPECT_FALSE(shares_history(e, standby(2, 1, 4)));
  e.timelines.clear();
  EXPECT_FALSE(shares_history(e, standby(2, 1, 1))) << "a fork that nobody knows is refused";
}

/// As its data say: opened by that session, under that epoch.
CandidateEvidence opened(CandidateEvidence c, std::uint64_t by, std::uint64_t epoch) {
  c.engine.opened = session(by);
  c.engine.opened_epoch = Epoch{epoch};
  return c;
}

// Two nodes that are promoted from one timeline, one after the other, both open the next number: who opened it tells them apart.
TEST(SharesHistory, AnothersTimelineOfTheSameNumberIsNone) {
  Evidence e = after_loss_of_node1();
  e.last_position = {2, Lsn{900}, "db"};
  e.timelines = {{1, Lsn{1}, session(1)}, {2, Lsn{800}, session(9)}};
  EXPECT_TRUE(shares_history(e, opened(standby(2, 850, 2), 9, 7)));
  EXPECT_FALSE(shares_history(e, opened(standby(2, 850, 2), 8, 6)));
  EXPECT_TRUE(shares_history(e, standby(2, 850, 2))) << "it does not say";
  EXPECT_TRUE(shares_history(e, opened(standby(2, 800, 1), 1, 1)));
  EXPECT_FALSE(shares_history(e, opened(standby(2, 700, 1), 8, 6))) << "an older one as well";
  e.timelines[1].session = {};
  EXPECT_TRUE(shares_history(e, opened(standby(2, 850, 2), 8, 6))) << "a log of before does not say";
}

TEST(FailoverDecide, WhoWroteMoreUnderAnothersTimelineOfTheSameNumberIsNotFurther) {
  Evidence e = after_loss_of_node1();
  e.last_position = {2, Lsn{900}, "db"};
  e.timelines = {{1, Lsn{1}, session(1)}, {2, Lsn{800}, session(9)}};
  e.candidates[1] = opened(standby(2, 5000, 2), 8, 6);
  e.candidates[2] = opened(standby(3, 900, 2), 9, 7);
  const Decision d = decide(e);
  EXPECT_EQ(d.to, node(3)) << d.reason;
  EXPECT_EQ(rule_of(d, 2), "diverged");
  // Nor does it have more of what was acknowledged, where its word is asked for.
  e.sync = {{node(1), {node(2), node(3)}, 1}};
  e.settled_ms = 10'000;
  EXPECT_EQ(decide(e).to, node(3)) << decide(e).reason;
}

TEST(IsFurther, ByTheEpochOfTheOpeningAndElseByTheNumber) {
  const auto further = [](const CandidateEvidence& a, const CandidateEvidence& b) { return is_further(a.engine, b.engine) && !is_further(b.engine, a.engine); };
  EXPECT_TRUE(further(opened(standby(2, 10, 2), 9, 7), opened(standby(3, 5000, 2), 8, 6)));
  EXPECT_TRUE(further(opened(standby(2, 10, 2), 9, 7), opened(standby(3, 20, 3), 8, 6))) << "whose number is higher was lost before";
  EXPECT_TRUE(further(opened(standby(2, 11, 2), 9, 7), opened(standby(3, 10, 2), 9, 7)));
  EXPECT_TRUE(further(standby(2, 10, 3), opened(standby(3, 20, 2), 9, 7))) << "it follows what it has no name for yet";
  EXPECT_FALSE(is_further(standby(2, 10, 2).engine, standby(3, 10, 2).engine));
}

TEST(LagBytes, IsNeverNegative) {
  const Evidence e = after_loss_of_node1();
  EXPECT_EQ(lag_bytes(e, standby(2, 400)), 600u);
  EXPECT_EQ(lag_bytes(e, standby(2, 1000)), 0u);
  EXPECT_EQ(lag_bytes(e, standby(2, 2000)), 0u);
}

TEST(FailoverDecide, AnnouncesTheBoundOfTheLoss) {
  Evidence e = after_loss_of_node1();
  e.candidates[1].engine.position.lsn = Lsn{900};
  e.candidates[2].heard = false;
  e.write_rate = 1000;
  e.last_position_age_ms = 2500;
  EXPECT_EQ(decide(e).loss_bytes, 100u + 2500u);
  e.final_position = true;
  e.candidates[1].engine.position.lsn = Lsn{1000};
  EXPECT_EQ(decide(e).loss_bytes, 0u);
}

// ---- an operator's wish
TEST(SwitchoverDecide, WantedNodeIsPreferred) {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kSwitchover;
  e.wanted = node(3);
  e.candidates[2].engine.position.lsn = Lsn{990};
  const Decision d = decide(e);
  EXPECT_EQ(d.to, node(3));
  EXPECT_EQ(rule_of(d, 2), "not_wanted");
}

TEST(SwitchoverDecide, WantedNodeThatCannotBeHadLeavesTheOthers) {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kSwitchover;
  e.wanted = node(3);
  e.candidates[2].heard = false;
  EXPECT_EQ(decide(e).to, node(2));
}

TEST(SwitchoverDecide, WantedNodeMayBeTaggedNofailover) {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kSwitchover;
  e.wanted = node(3);
  e.candidates[2].tags.nofailover = true;
  EXPECT_EQ(decide(e).to, node(3));
}

TEST(ForcedDecide, AllowDataLossForgivesLagAndForkOfTheWantedOnly) {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kForced;
  e.wanted = node(3);
  e.candidates[1] = standby(2, 1, 1);
  e.candidates[2] = standby(3, 1, 2);
  EXPECT_FALSE(decide(e).to);
  e.allow_data_loss = true;
  EXPECT_EQ(decide(e).to, node(3));
  EXPECT_EQ(decide(e).loss_bytes, 999u);
  EXPECT_EQ(rule_of(decide(e), 2), "lag_bytes");
}

TEST(ForcedDecide, AllowDataLossNeverForgivesForeignData) {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kForced;
  e.wanted = node(3);
  e.allow_data_loss = true;
  e.candidates[1].heard = false;
  e.candidates[2].engine.position.identity = "other";
  EXPECT_FALSE(decide(e).to);
  EXPECT_EQ(rule_of(decide(e), 3), "other_identity");
}

// ---- bootstrap
Evidence empty_log() {
  Evidence e = after_loss_of_node1();
  e.kind = DecisionKind::kBootstrap;
  e.log_epoch = {};
  e.last_holder = {};
  e.last_position = {};
  e.timelines.clear();
  for (VoteEvidence& v : e.votes) v.highest = {};
  for (CandidateEvidence& c : e.candidates) c.beat_age_ms = 10, c.engine = {}, c.engine.state = EngineState::kEmpty;
  return e;
}

TEST(BootstrapDecide, OnlyTheDeclaredPrimary) {
  const Decision d = decide(empty_log());
  EXPECT_EQ(d.to, node(1));
  EXPECT_EQ(d.epoch, Epoch{1});
  EXPECT_EQ(rule_of(d, 2), "not_declared");
  EXPECT_EQ(d.loss_bytes, 0u);
}

TEST(BootstrapDecide, WaitsForTheDeclaredPrimary) {
  Evidence e = empty_log();
  e.candidates[0].heard = false;
  EXPECT_FALSE(decide(e).to);
  e = empty_log();
  e.candidates[0].engine.state = EngineState::kUnknown;
  EXPECT_EQ(rule_of(decide(e), 1), "no_engine");
}

// ---- properties
CandidateEvidence arbitrary_candidate(int n) {
  CandidateEvidence c = standby(n, *rc::gen::inRange<std::uint64_t>(400, 1005), *rc::gen::inRange<std::uint64_t>(1, 3));
  c.tags.priority = *rc::gen::inRange(99, 102);
  c.tags.nofailover = *rc::gen::inRange(0, 8) == 0;
  c.heard = *rc::gen::inRange(0, 8) != 0;
  if (*rc::gen::inRange(0, 8) == 0) c.engine.state = static_cast<EngineState>(*rc::gen::inRange(0, 8));
  if (*rc::gen::inRange(0, 8) == 0) c.intent = static_cast<MemberIntent>(*rc::gen::inRange(0, 5));
  if (*rc::gen::inRange(0, 8) == 0) c.session = {};
  return c;
}
Evidence arbitrary_evidence() {
  Evidence e = after_loss_of_node1();
  e.kind = static_cast<DecisionKind>(*rc::gen::inRange(0, 4));
  e.last_position.timeline = *rc::gen::inRange<std::uint64_t>(1, 3);
  e.timelines = {{1, Lsn{1}}, {2, Lsn{900}}};
  e.candidates.clear();
  for (int n = 1; n <= *rc::gen::inRange(0, 6); ++n) e.candidates.push_back(arbitrary_candidate(n));
  if (*rc::gen::inRange(0, 2) == 0) e.wanted = node(*rc::gen::inRange(1, 6));
  e.allow_data_loss = *rc::gen::inRange(0, 3) == 0;
  e.final_position = *rc::gen::inRange(0, 3) == 0;
  e.paused = *rc::gen::inRange(0, 5) == 0;
  return e;
}

RC_GTEST_PROP(DecideProperty, SameEvidenceSameDecision, ()) {
  const Evidence e = arbitrary_evidence();
  const Evidence copy = e;
  RC_ASSERT(decide(e) == decide(copy));
  RC_ASSERT(e == copy);
}

RC_GTEST_PROP(DecideProperty, OrderOfCandidatesAndVotesDoesNotMatter, ()) {
  Evidence e = arbitrary_evidence();
  const Decision before = decide(e);
  for (std::size_t i = e.candidates.size(); i > 1; --i)
    std::swap(e.candidates[i - 1], e.candidates[*rc::gen::inRange<std::size_t>(0, i)]);
  std::ranges::reverse(e.votes);
  Decision after = decide(e);
  RC_ASSERT(after.to == before.to);
  RC_ASSERT(after.session == before.session);
  RC_ASSERT(after.epoch == before.epoch);
  RC_ASSERT(after.loss_bytes == before.loss_bytes);
  std::ranges::sort(after.verdicts, {}, &Verdict::node);
  RC_ASSERT(after.verdicts == before.verdicts);
}

RC_GTEST_PROP(DecideProperty, ChosenIsEligibleAndAWaitNamesItsWayOut, ()) {
  const Evidence e = arbitrary_evidence();
  const Decision d = decide(e);
  RC_ASSERT(d.verdicts.size() == e.candidates.size());
  RC_ASSERT(!d.reason.empty());
  for (const VoteEvidence& v : e.votes) RC_ASSERT(d.epoch > v.highest);
  RC_ASSERT(d.epoch > e.log_epoch);
  if (!d.to) {
    RC_ASSERT(!d.unblock.empty());
    return;
  }
  const auto verdict = std::ranges::find(d.verdicts, *d.to, &Verdict::node);
  RC_ASSERT(verdict != d.verdicts.end());
  RC_ASSERT(verdict->eligible);
  RC_ASSERT(!d.session.empty());
}

}  // namespace
}  // namespace daarion
