#include "controlplane/core/incident.h"

#include <gtest/gtest.h>

#include "tests/unit/service_log.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT

/// node1 holds postgres and runs the router. Everything is a second apart; `lost()` takes both away.
class IncidentTest : public testing::Test {
 protected:
  IncidentTest() {
    log.decide(1, 1, session(1), DecisionKind::kBootstrap);
    log.complete(1, 1, session(1), {1, Lsn{100}, "db"});
  }
  Sequence decide(std::uint64_t epoch, int from, int to, SessionId s, DecisionKind kind = DecisionKind::kFailover, std::uint64_t silent_ms = 0) {
    PromotionDecided p{.to = node(to), .session = s, .kind = kind, .instance = instance(to)};
    p.evidence.last_holder = node(from);
    p.evidence.unreachable_ms = 2000;
    if (silent_ms > 0) p.evidence.candidates.push_back({.node = node(from), .beat_age_ms = silent_ms, .heard = true});
    return log.add(std::move(p), node(to), kPostgres, Epoch{epoch});
  }
  Sequence move_router(int from, int to, const EventId& cause) {
    ServiceMoved moved{.active = {node(to)}, .evidence = {{.node = node(from), .active = true}, {.node = node(to)}}};
    LogEvent e = log.make(std::move(moved), node(to), ResourceId("router"));
    e.event.header.cause = cause;
    return log.add(e);
  }
  /// Decided, told to be silent, completed, router moved. Returns the decision.
  Sequence lost() {
    const Sequence decided = decide(2, 1, 2, session(2), DecisionKind::kFailover, 2100);
    const Sequence silent = log.add(MemberUnreachable{3000, {node(2), node(3)}}, node(1));
    log.complete(2, 2, session(2), {2, Lsn{200}, "db"});
    move_router(1, 2, log.events[silent.value - 1].event.header.id);
    return decided;
  }
  void pass(std::int64_t seconds) {
    for (std::int64_t i = 0; i < seconds; ++i) log.add(TopologyChanged{spec_with_services(), "hash" + std::to_string(i)}, node(3));
  }
  std::vector<std::uint64_t> steps_of(const Incident& i) const {
    std::vector<std::uint64_t> out;
    for (const IncidentStep& s : i.steps) out.push_back(log.events[s.event].sequence.value);
    return out;
  }
  /// Redis under Sentinel as it is seen; what is wrong on node1.
  LogEvent redis(int primary, const std::string& on_one, std::vector<std::string> problems = {}) const {
    ResourceObserved seen{.primary = primary > 0 ? node(primary) : NodeId(), .elected_by = "Sentinel", .problems = std::move(problems)};
    for (int n = 1; n <= 2; ++n) seen.members.push_back({.node = node(n), .role = n == primary ? "primary" : "replica", .health = n == 1 ? on_one : ""});
    for (int n = 1; n <= 3; ++n) seen.members.push_back({.node = node(n), .role = "sentinel", .health = n == 1 ? on_one : ""});
    return log.make(std::move(seen), node(3), ResourceId("redis"));
  }
  Log log = log_with_services();
};

TEST_F(IncidentTest, ALostHostTakesAllItsRolesAlongInOneStory) {
  const Sequence decided = lost();
  const auto found = incident_of(log.events, decided);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->title, "node1 was lost");
  EXPECT_EQ(found->node, node(1));
  EXPECT_FALSE(found->planned);
  const std::uint64_t d = decided.value;
  EXPECT_EQ(steps_of(*found), (std::vector<std::uint64_t>{d, d + 1, d + 2, d + 3}));
  EXPECT_EQ(found->began_ns, log.events[d - 1].stored_ns - 2'100'000'000) << "when it was last heard";
  EXPECT_EQ(found->open, std::vector<std::string>{"node1 has not been heard again"});
  ASSERT_EQ(found->moves.size(), 2u);
  EXPECT_EQ(found->moves[0].what, "postgres");
  EXPECT_EQ(found->moves[0].from, "node1");
  EXPECT_EQ(found->moves[0].to, "node2");
  EXPECT_EQ(found->moves[0].done, 2u);
  EXPECT_EQ(found->moves[1].what, "router");
  EXPECT_EQ(found->moves[1].from, "node1");
  EXPECT_EQ(found->moves[1].to, "node2");
  EXPECT_FALSE(found->steps[0].led_by) << "a lease that ran out has no event";
  EXPECT_EQ(found->steps[2].led_by, 0u);
  EXPECT_FALSE(found->steps[2].stated);
  EXPECT_EQ(found->steps[3].led_by, 1u);
  EXPECT_TRUE(found->steps[3].stated) << "it names the event";
}

TEST_F(IncidentTest, ItGoesOnUntilTheNodeIsWholeHoweverLongItWasAway) {
  const Sequence decided = lost();
  pass(3600);
  const Sequence back = log.add(MemberReturned{instance(1), boot(2), run(2), "", 1}, node(1));
  log.add(LeaseReleased{.session = session(1), .cause = EndCause::kHostLost, .instance = instance(1)}, node(1), kPostgres, Epoch{1});
  pass(5);
  const Sequence parted = log.add(ReplicaDiverged{node(2), {1, Lsn{210}, "db"}}, node(1), kPostgres);
  EXPECT_EQ(incident_of(log.events, decided)->open, std::vector<std::string>{"postgres on node1 has not rejoined"});
  const Sequence rejoined = log.add(ReplicaRejoined{"rewind", node(2), {}}, node(1), kPostgres);
  for (const Sequence at : {decided, back, parted, rejoined}) {
    const auto found = incident_of(log.events, at);
    ASSERT_TRUE(found) << at.value;
    EXPECT_EQ(found->steps.size(), 8u) << "the same from each of its events: " << at.value;
    EXPECT_TRUE(found->open.empty());
  }
  EXPECT_FALSE(incident_of(log.events, Sequence{rejoined.value - 3})) << "a topology is no part of it";
}

TEST_F(IncidentTest, TheNextLossOfTheNodeIsAnother) {
  const Sequence first = lost();
  log.add(MemberReturned{instance(1), boot(2), run(2), "", 1}, node(1));
  pass(11);
  const Sequence again = log.add(MemberUnreachable{3000, {node(2), node(3)}}, node(1));
  EXPECT_EQ(incident_of(log.events, first)->steps.size(), 5u);
  const auto second = incident_of(log.events, again);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->steps.size(), 1u);
  EXPECT_TRUE(second->moves.empty());
}

TEST_F(IncidentTest, AnEngineThatEndsOnALivingHost) {
  const Sequence ended = log.release(1, 1, session(1), EndCause::kCrashed);
  EXPECT_EQ(incident_of(log.events, ended)->open, std::vector<std::string>{"postgres has no holder"});
  decide(2, 1, 2, session(2));
  EXPECT_EQ(incident_of(log.events, ended)->open, std::vector<std::string>{"the decision for node2 (postgres) is not completed"});
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{2});
  decide(3, 1, 2, session(3));
  const Sequence done = log.complete(3, 2, session(3));
  const auto found = incident_of(log.events, done);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->title, "postgres ended on node1");
  ASSERT_EQ(found->moves.size(), 2u);
  EXPECT_TRUE(found->moves[0].failed);
  EXPECT_FALSE(found->moves[1].failed);
  EXPECT_EQ(found->steps[1].led_by, 0u);
  EXPECT_EQ(found->steps[3].led_by, 2u) << "the one before failed";
  EXPECT_TRUE(found->open.empty());
}

TEST_F(IncidentTest, ASwitchoverIsPlanned) {
  const Sequence asked = log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 60'000}, node(1), kPostgres);
  log.release(1, 1, session(1), EndCause::kReleased);
  decide(2, 1, 2, session(2), DecisionKind::kSwitchover);
  log.complete(2, 2, session(2));
  const auto found = incident_of(log.events, asked);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->title, "postgres was moved from node1 by a switchover");
  EXPECT_TRUE(found->planned);
  EXPECT_EQ(found->began_ns, log.events[asked.value - 1].stored_ns);
  EXPECT_EQ(found->steps.size(), 4u);
}

TEST_F(IncidentTest, WhatAnEngineElectedByItselfIsPartOfTheStory) {
  const Sequence first = log.add(redis(1, ""));
  EXPECT_FALSE(incident_of(log.events, first)) << "how it is, is nobody's loss";
  const Sequence down = log.add(redis(1, "objectively down")), moved = log.add(redis(2, "objectively down"));
  const Sequence decided = lost();
  const Sequence away = log.add(redis(2, "no answer"));
  auto found = incident_of(log.events, decided);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->title, "node1 was lost");
  EXPECT_EQ(found->steps.size(), 7u);
  EXPECT_EQ(found->open, (std::vector<std::string>{"redis on node1 is not well again", "node1 has not been heard again"}));
  ASSERT_EQ(found->moves.size(), 3u);
  EXPECT_EQ(found->moves[0].what + " " + found->moves[0].kind + " " + found->moves[0].from + " " + found->moves[0].to, "redis observed node1 node2");
  EXPECT_FALSE(found->steps[0].led_by);
  EXPECT_EQ(found->steps[1].led_by, 0u) << "down, then moved";
  EXPECT_FALSE(found->steps[2].led_by) << "a lease is nothing to Sentinel";

  pass(3600);
  const Sequence other = log.add(redis(2, "no answer", {"node2 has no maxmemory"}));
  EXPECT_FALSE(incident_of(log.events, other)) << "an hour later, of another node";
  log.add(MemberReturned{instance(1), boot(2), run(2), "", 1}, node(1));
  const Sequence copies = log.add(redis(2, "it copies from node2")), well = log.add(redis(2, ""));
  for (const Sequence at : {down, moved, decided, away, copies, well}) {
    found = incident_of(log.events, at);
    ASSERT_TRUE(found) << at.value;
    EXPECT_EQ(found->steps.size(), 10u) << at.value;
    EXPECT_TRUE(found->open.empty());
  }
  EXPECT_EQ(found->steps[6].led_by, 1u) << "what was seen of Redis before, not what was said of its node meanwhile";
  EXPECT_EQ(found->steps[8].led_by, 7u) << "it returned";
}

TEST_F(IncidentTest, AProcessThatWasIllForAMomentIsAStoryOfItsOwn) {
  log.add(redis(1, ""));
  const Sequence ill = log.add(redis(1, "subjectively down"));
  EXPECT_EQ(incident_of(log.events, ill)->open.size(), 1u);
  const Sequence well = log.add(redis(1, ""));
  const Sequence down = log.add(redis(1, "no answer")), decided = lost();
  const auto blink = incident_of(log.events, ill);
  EXPECT_EQ(steps_of(*blink), (std::vector<std::uint64_t>{ill.value, well.value}));
  EXPECT_TRUE(blink->open.empty());
  const auto found = incident_of(log.events, decided);
  EXPECT_EQ(steps_of(*found).front(), down.value) << "what was over before it is no part of the loss";
  EXPECT_EQ(found->title, "node1 was lost");
}

TEST_F(IncidentTest, AnEngineThatElectsIsItsNodesWhoeverMovedIt) {
  log.add(redis(1, ""));
  EXPECT_EQ(incident_of(log.events, log.add(redis(2, "")))->title, "redis moved away from node1");
  pass(11);
  log.add(redis(1, ""));
  pass(11);
  const Sequence ill = log.add(redis(0, "no answer"));
  auto found = incident_of(log.events, ill);
  EXPECT_EQ(found->title, "redis failed on node1");
  EXPECT_EQ(found->moves.front().to, "");
  const Sequence none = log.add(redis(0, ""));
  EXPECT_EQ(incident_of(log.events, none)->open, std::vector<std::string>{"redis has no primary"});
  log.add(redis(1, ""));
  pass(11);
  const Sequence asked = log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 60'000}, node(3), ResourceId("redis"));
  LogEvent moved = redis(2, "");
  moved.event.header.cause = log.events.back().event.header.id;
  log.add(moved);
  found = incident_of(log.events, asked);
  EXPECT_EQ(found->title, "redis was moved from node1 by a switchover");
  ASSERT_EQ(found->steps.size(), 2u);
  EXPECT_TRUE(found->steps[1].stated);
  EXPECT_EQ(found->moves.front().kind, "observed");
}

TEST_F(IncidentTest, AServiceThatIsIllAndWellAgain) {
  say(log, "router", 1, Health::kHealthy);
  const Sequence ill{log.state.applied.value + 1};
  say(log, "router", 1, Health::kBroken);
  const Sequence moved = move_router(1, 2, log.events[ill.value - 1].event.header.id);
  auto found = incident_of(log.events, moved);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->title, "router failed on node1");
  EXPECT_EQ(steps_of(*found), (std::vector<std::uint64_t>{ill.value, moved.value})) << "that it was well before is no part of it";
  EXPECT_EQ(found->open, std::vector<std::string>{"router on node1 is not well again"});
  say(log, "router", 1, Health::kHealthy);
  found = incident_of(log.events, ill);
  EXPECT_TRUE(found->open.empty());
  EXPECT_EQ(found->steps.size(), 3u);
}

TEST_F(IncidentTest, WhatIsNobodysLossIsPartOfNone) {
  for (const LogEvent& e : log.events) EXPECT_FALSE(incident_of(log.events, e.sequence)) << payload_name(e.event.payload);
  EXPECT_FALSE(incident_of(log.events, Sequence{log.state.applied.value + 1}));
}

}  // namespace
}  // namespace daarion
