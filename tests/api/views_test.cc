// `why` on the decisions of real runs: the same verdict from the same evidence, another from another.
#include "controlplane/api/views.h"

#include <gtest/gtest.h>

#include "controlplane/api/json.h"
#include "controlplane/api/operator.h"
#include "controlplane/core/fold.h"
#include "streams/codec.h"
#include "tests/unit/sim_log.h"

namespace daarion {
namespace {

std::vector<LogEvent> decisions(std::uint64_t seed) {
  std::vector<LogEvent> out;
  for (const StoredMessage& m : test::sim_log(seed)) {
    LogEvent event = *decode_event(m);
    const auto* decided = std::get_if<PromotionDecided>(&event.event.payload);
    if (decided && !decided->evidence.candidates.empty()) out.push_back(std::move(event));
  }
  return out;
}

TEST(Why, MakesEveryDecisionOfSimulatedClustersAgain) {
  std::size_t explained = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed)
    for (const LogEvent& event : decisions(seed)) {
      const auto why = explain(event);
      ASSERT_TRUE(why) << why.error().message;
      EXPECT_TRUE(why->agrees()) << "seed " << seed << " event " << event.sequence.value << ": " << why->differences(0);
      EXPECT_EQ(static_cast<std::size_t>(why->candidates_size()), std::get<PromotionDecided>(event.event.payload).evidence.candidates.size());
      EXPECT_FALSE(why->reason().empty());
      ++explained;
    }
  EXPECT_GT(explained, 100u);
}

/// One observation at a time of the node that was chosen.
TEST(Why, SaysSoWhenOneObservationIsAnother) {
  using Change = void (*)(CandidateEvidence&);
  const std::pair<const char*, Change> changes[] = {
      {"its beat is old", [](CandidateEvidence& c) { c.beat_age_ms += 1'000'000; }},
      {"it was never heard", [](CandidateEvidence& c) { c.heard = false; }},
      {"it offers no session", [](CandidateEvidence& c) { c.session = {}; }},
      {"it is drained", [](CandidateEvidence& c) { c.intent = MemberIntent::kDraining; }},
      {"its engine does not answer", [](CandidateEvidence& c) { c.engine.state = EngineState::kUnresponsive; }},
      {"its data are another database's", [](CandidateEvidence& c) { c.engine.position.identity = "another"; }},
  };
  std::size_t tried = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    for (const LogEvent& event : decisions(seed)) {
      const PromotionDecided& decided = std::get<PromotionDecided>(event.event.payload);
      if (decided.kind != DecisionKind::kFailover) continue;
      for (const auto& [what, change] : changes) {
        LogEvent other = event;
        for (CandidateEvidence& c : std::get<PromotionDecided>(other.event.payload).evidence.candidates)
          if (c.node == decided.to) change(c);
        const auto why = explain(other);
        ASSERT_TRUE(why);
        EXPECT_FALSE(why->agrees()) << "seed " << seed << " event " << event.sequence.value << ": " << what;
        ++tried;
      }
    }
  EXPECT_GT(tried, 100u);
}

// ---- who serves, who provides
LogEvent event_of(Payload payload, const std::string& resource) {
  LogEvent event{.sequence = {70}, .stored_ns = 5, .event = {}};
  event.event.header.node = NodeId("node3");
  event.event.header.resource = ResourceId(resource);
  event.event.header.actor = "node:node3";
  event.event.header.reason = "as it was then";
  event.event.payload = std::move(payload);
  return event;
}

TEST(Why, MakesTheMoveOfAServiceAgain) {
  const NodeId one("node1"), two("node2");
  ServiceMoved moved{{two}, {{.node = one, .declared = ServiceRole::kActive, .active = true, .health = Health::kBroken, .cause = "no answer"},
                             {.node = two, .declared = ServiceRole::kStandby, .health = Health::kHealthy}}};
  const auto same = explain(event_of(moved, "router"));
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_TRUE(same->agrees()) << same->differences(0);
  EXPECT_EQ(same->kind() + " " + same->resource() + " " + same->to() + " " + same->decider(), "service router node2 node3");
  ASSERT_EQ(same->candidates_size(), 2);
  EXPECT_EQ(same->candidates(0).rule() + ": " + same->candidates(0).detail(), "ill: broken: no answer");
  EXPECT_FALSE(same->candidates(0).eligible());
  EXPECT_EQ(same->candidates(1).rule() + ": " + same->candidates(1).detail(), "eligible: healthy");
  // One observation is another.
  ServiceMoved other = moved;
  other.evidence[1].health = Health::kBroken;
  EXPECT_EQ(explain(event_of(other, "router"))->differences(0), "now it would stay as it was, then active on node2");
  other = moved;
  other.evidence.push_back({.node = NodeId("node3"), .declared = ServiceRole::kActive, .health = Health::kHealthy});
  EXPECT_EQ(explain(event_of(other, "router"))->differences(0), "now active on node2 node3, then on node2");
  other.evidence.clear();
  const auto without = explain(event_of(other, "router"));
  EXPECT_FALSE(without->agrees());
  EXPECT_NE(without->differences(0).find("no evidence"), std::string::npos);
}

TEST(Why, MakesTheMoveOfACapabilityAgain) {
  CapabilityMoved moved{"vision", "api:mistral", {{.provider = "gpu@node1", .cause = "broken: exit code 9"}, {.provider = "api:mistral", .usable = true}}};
  const auto same = explain(event_of(moved, ""));
  ASSERT_TRUE(same) << same.error().message;
  EXPECT_TRUE(same->agrees()) << same->differences(0);
  EXPECT_EQ(same->kind() + " " + same->resource() + " " + same->to(), "capability vision api:mistral");
  EXPECT_EQ(same->candidates(0).rule(), "not_usable");
  CapabilityMoved other = moved;
  other.evidence[0].usable = true;
  EXPECT_EQ(explain(event_of(other, ""))->differences(0), "now gpu@node1 (gpu@node1 is the first of the chain), then api:mistral");
  other.evidence.clear();
  EXPECT_FALSE(explain(event_of(other, ""))->agrees()) << "of a log of before";
}

TEST(Why, SaysThatALossIsUnknown) {
  const PromotionDecided known{.to = NodeId("node2"), .loss_bytes = 5, .evidence = {.last_holder = NodeId("node1")}};
  PromotionDecided unknown = known;
  unknown.evidence.end_unknown = true;
  EXPECT_NE(summary_of(known).find("loss at most 5 B"), std::string::npos);
  EXPECT_NE(summary_of(unknown).find("loss unknown, as nobody heard how far the last holder wrote"), std::string::npos);
  for (const bool end_unknown : {false, true}) {
    LogEvent event;
    event.event.payload = known;
    std::get<PromotionDecided>(event.event.payload).evidence.end_unknown = end_unknown;
    EXPECT_EQ(explain(event)->loss_unknown(), end_unknown);
  }
}

TEST(Why, OnlyDecisionsHaveOne) {
  const auto why = explain(*decode_event(test::sim_log(1)[0]));
  ASSERT_FALSE(why);
  EXPECT_NE(why.error().message.find("LogCreated"), std::string::npos) << why.error().message;
}

TEST(Views, EveryEventOfARunHasALine) {
  for (const StoredMessage& m : test::sim_log(2)) {
    const v1::EventView view = view_of(*decode_event(m), m.subject);
    EXPECT_FALSE(view.type().empty());
    EXPECT_FALSE(view.reason().empty());
    EXPECT_EQ(view.subject(), m.subject);
  }
  EXPECT_EQ(time_text(1'790'000'000'123'456'789), "2026-09-21T14:13:20.123Z");
}

TEST(Json, KeepsNumbersAsNumbersAndAbsentOptionalsAsNull) {
  v1::ResourceStatus status;
  status.set_id("postgres");
  status.set_epoch(18'000'000'000'000'000'000u);
  const std::string json = to_json(status);
  EXPECT_NE(json.find("\"epoch\":18000000000000000000"), std::string::npos) << json;
  EXPECT_NE(json.find("\"holder\":null"), std::string::npos) << json;
  EXPECT_NE(json.find("\"replicas\":[]"), std::string::npos) << json;
}

// ---- what an operator asks for

class FakeAppender final : public Appender {
 public:
  AppendResult append(const std::string& subject, const std::string&, const EventId&, Duration) override {
    subjects.push_back(subject);
    return result;
  }
  std::vector<std::string> subjects;
  AppendResult result{.id = 0, .outcome = AppendResult::Outcome::kStored, .sequence = {99}};
};

class OperatorTest : public testing::Test {
 protected:
  OperatorTest() {
    ResourceSpec postgres;
    postgres.id = ResourceId("postgres");
    postgres.leased = true;
    postgres.members = {NodeId("node1"), NodeId("node2")};
    ResourceSpec redis;
    redis.id = ResourceId("redis");
    TopologySpec spec;
    spec.nodes = {{NodeId("node1"), "a", "", NodeRole::kPrimary}, {NodeId("node2"), "b", "", NodeRole::kReplica}};
    spec.resources = {postgres, redis};
    auto state = std::make_shared<State>();
    state->applied = {41};
    LeaseState& lease = state->leases[postgres.id];
    lease.version = {4};
    lease.epoch = lease.completed.epoch = {2};
    lease.completed.node = NodeId("node1");
    lease.completed.session = {1, 1};
    lease.phase = LeaseState::Phase::kActive;
    state->requests = {{"twice", {5, 5}, {17}}};
    view_ = std::make_shared<StatusView>();
    view_->state = state;
    Decider::Nomination& then = view_->if_holder_dies[postgres.id];
    then.evidence.candidates.resize(2);
    then.decision.verdicts = {{NodeId("node1"), false, "not_standby", "its engine is primary"}, {NodeId("node2"), false, "lag_bytes", "5 MiB behind, the limit is 1 MiB"}};
    then.decision.reason = "nobody can be promoted";
    operations_ = std::make_unique<Operator>(Operator::Ports{.self = NodeId("node1"), .spec = spec, .view = [this] { return view_; }, .appender = appender_,
                                                             .wall_ns = [] { return std::int64_t{1}; }, .new_id = [](std::int64_t) { return EventId{6, 6}; }});
  }
  static std::string text(const Result<OperatorAnswer>& answer) { return answer ? "accepted" : answer.error().message; }

  std::shared_ptr<StatusView> view_;
  std::shared_ptr<FakeAppender> appender_ = std::make_shared<FakeAppender>();
  std::unique_ptr<Operator> operations_;
  const ResourceId postgres_{"postgres"};
  const NodeId node1_{"node1"}, node2_{"node2"};
};

TEST_F(OperatorTest, RefusesWithOneClearLineAndChangesNothing) {
  const OperatorIntent why{.reason = "maintenance"};
  const auto unknown = operations_->switchover(ResourceId("postgress"), {}, node2_, why);
  EXPECT_EQ(unknown.error().remedy, Remedy::kFixInput);
  EXPECT_EQ(text(unknown), "unknown resource postgress; there are: postgres");
  EXPECT_NE(text(operations_->pause(ResourceId("redis"), why)).find("not led by this control plane"), std::string::npos);
  EXPECT_NE(text(operations_->switchover(postgres_, {}, NodeId("node9"), why)).find("node9 does not run it"), std::string::npos);
  EXPECT_NE(text(operations_->set_member_intent(NodeId("node9"), MemberIntent::kDraining, why)).find("there are: node1, node2"), std::string::npos);
  const auto held = operations_->switchover(postgres_, {}, node1_, why);
  EXPECT_EQ(held.error().remedy, Remedy::kStepDown);
  const auto moved = operations_->switchover(postgres_, node2_, {}, why);
  EXPECT_EQ(moved.error().remedy, Remedy::kRefold);
  const auto lags = operations_->switchover(postgres_, {}, node2_, why);
  EXPECT_EQ(lags.error().remedy, Remedy::kStepDown);
  EXPECT_NE(text(lags).find("5 MiB behind"), std::string::npos) << text(lags);
  EXPECT_NE(text(operations_->failover(postgres_, node2_, false, why)).find("--allow-data-loss"), std::string::npos);
  EXPECT_NE(text(operations_->pause(postgres_, {})).find("reason"), std::string::npos);
  EXPECT_EQ(operations_->pause(postgres_, {.reason = "x", .expected = {40}}).error().remedy, Remedy::kRefold);
  EXPECT_TRUE(appender_->subjects.empty());
}

TEST_F(OperatorTest, AsksTheEngineThatElectsByItselfAndLeavesTheRestToIt) {
  const ResourceId redis("redis");
  const OperatorIntent why{.reason = "maintenance"};
  auto state = std::make_shared<State>(*view_->state);
  ObservedState& seen = state->observed[redis];
  seen.seen = {.primary = node1_, .elected_by = "Sentinel", .election = 3,
               .members = {{.node = node1_, .role = "primary", .state = EngineState::kPrimary}, {.node = node2_, .role = "replica", .state = EngineState::kStandby, .health = "its link to node1 is down"},
                           {.node = node2_, .role = "sentinel", .state = EngineState::kStandby}}};
  seen.observer = node1_;
  view_->state = state;
  const std::string theirs = text(operations_->failover(redis, node2_, true, why));
  EXPECT_NE(theirs.find("failover redis refused: Sentinel decides who is its primary"), std::string::npos) << theirs;
  EXPECT_NE(text(operations_->pause(redis, why)).find("Sentinel decides"), std::string::npos);
  EXPECT_NE(text(operations_->confirm_fencing(redis, {}, why)).find("Sentinel decides"), std::string::npos);
  EXPECT_NE(text(operations_->switchover(redis, {}, node2_, why)).find("node2 is standby: its link to node1 is down"), std::string::npos);
  EXPECT_NE(text(operations_->switchover(redis, {}, NodeId("node3"), why)).find("node3 does not run it"), std::string::npos) << "a sentinel is no replica";
  EXPECT_EQ(operations_->switchover(redis, node2_, {}, why).error().remedy, Remedy::kRefold);
  EXPECT_TRUE(appender_->subjects.empty());
  seen.seen.members[1].health.clear();
  const auto asked = operations_->switchover(redis, node1_, node2_, why);
  ASSERT_TRUE(asked) << text(asked);
  EXPECT_EQ(appender_->subjects, std::vector<std::string>{"cluster.log.operator.redis.1"});
  EXPECT_EQ(asked->outcome, "node1 asks Sentinel to make node2 the primary");
}

TEST_F(OperatorTest, AppendsOneEventUnderTheNextVersion) {
  const auto forced = operations_->failover(postgres_, node2_, true, {.reason = "node1 burns", .actor = "ann"});
  ASSERT_TRUE(forced) << text(forced);
  EXPECT_EQ(forced->event.sequence.value, 99u);
  EXPECT_EQ(forced->event.event.header.actor, "operator:ann");
  EXPECT_EQ(appender_->subjects, std::vector<std::string>{"cluster.log.operator.postgres.1"});
  ASSERT_TRUE(operations_->pause({}, {.reason = "migration"}));
  EXPECT_EQ(appender_->subjects.back(), "cluster.log.operator.cluster.1");
  ASSERT_TRUE(operations_->set_member_intent(node2_, MemberIntent::kDraining, {.reason = "new disk"}));
  EXPECT_EQ(appender_->subjects.back(), "cluster.log.member.node2.1");
}

TEST_F(OperatorTest, RetiresOnlyWhatTheClusterDoesNotNeed) {
  const OperatorIntent why{.reason = "sold"};
  const auto retire = [&](const NodeId& node) { return operations_->set_member_intent(node, MemberIntent::kRetired, why); };
  auto state = std::make_shared<State>(*view_->state);
  view_->state = state;
  const auto holds = retire(node1_);
  EXPECT_EQ(holds.error().remedy, Remedy::kStepDown);
  EXPECT_EQ(text(holds), "retire node1 refused: it holds postgres; first: daarionctl switchover postgres --reason TEXT");
  state->voters.voters = {{node2_, {7, 7}}};
  EXPECT_NE(text(retire(node2_)).find("it votes; give the nodes a cluster file without it"), std::string::npos) << text(retire(node2_));
  state->voters.voters.clear();
  state->observed[ResourceId("redis")].seen = {.primary = node2_, .elected_by = "Sentinel"};
  EXPECT_NE(text(retire(node2_)).find("it is redis's primary by Sentinel"), std::string::npos) << text(retire(node2_));
  state->observed.clear();
  EXPECT_TRUE(appender_->subjects.empty());
  const auto gone = retire(node2_);
  ASSERT_TRUE(gone) << text(gone);
  EXPECT_EQ(std::get<MemberIntentChanged>(gone->event.event.payload).intent, MemberIntent::kRetired);
  EXPECT_EQ(appender_->subjects, std::vector<std::string>{"cluster.log.member.node2.1"});
  state->members[node2_].intent = MemberIntent::kRetired;
  const auto back = operations_->set_member_intent(node2_, MemberIntent::kActive, why);
  ASSERT_TRUE(back) << text(back);
  EXPECT_EQ(back->outcome, "node2 is a member again");
}

TEST_F(OperatorTest, DryRunAndRepeatedRequestAppendNothing) {
  const auto dry = operations_->pause({}, {.reason = "x", .dry_run = true});
  ASSERT_TRUE(dry);
  EXPECT_TRUE(dry->dry_run);
  const auto repeated = operations_->pause({}, {.reason = "x", .request = "twice"});
  ASSERT_TRUE(repeated);
  EXPECT_EQ(repeated->event.sequence.value, 17u);
  EXPECT_TRUE(appender_->subjects.empty());
}

TEST_F(OperatorTest, SaysWhetherItMayHaveHappened) {
  appender_->result = {};
  const auto unknown = operations_->pause({}, {.reason = "x"});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().effect, Effect::kMaybe);
  appender_->result = {.id = 0, .outcome = AppendResult::Outcome::kConflict, .sequence = {98}};
  EXPECT_EQ(operations_->pause({}, {.reason = "x"}).error().remedy, Remedy::kRefold);
}

}  // namespace
}  // namespace daarion
