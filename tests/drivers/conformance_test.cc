// What every driver does alike, on real servers of each engine: idempotent, a stale epoch refused, bounded in time, never writable
// before its promotion, never following blindly. What only one engine has is in its own test.
#include <signal.h>

#include <fstream>

#include "tests/drivers/black_hole.h"
#include "tests/drivers/engine_kit.h"

namespace daarion::test {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

class Conformance : public EngineBed {};

TEST_P(Conformance, IsNeverWritableBeforePromotion) {
  EngineNode& n = make(1);
  EXPECT_EQ(n.observe().state, EngineState::kEmpty);
  const DriverResult made = n.run(Verb::kProvision);
  ASSERT_TRUE(made.ok) << made.message;
  EXPECT_NE(made.position.identity, "");
  const EngineReport stopped = n.observe();
  EXPECT_EQ(stopped.state, EngineState::kStopped);
  EXPECT_EQ(stopped.position, made.position);
  for (int i = 0; i < 2; ++i) {
    const DriverResult up = n.run(Verb::kStart);
    ASSERT_TRUE(up.ok) << up.message;
  }
  const EngineReport standby = n.observe();
  EXPECT_EQ(standby.state, EngineState::kStandby) << standby.health;
  EXPECT_EQ(standby.health, "");
  EXPECT_EQ(standby.position.identity, made.position.identity);
  EXPECT_TRUE(standby.opened.empty());
  EXPECT_TRUE(standby.upstream.empty());
  EXPECT_FALSE(standby.streaming);
  EXPECT_FALSE(kit().write(n, 1, 1));
  ASSERT_TRUE(n.run(Verb::kProvision).ok);  // again: a success, and nothing lost
  EXPECT_EQ(n.observe().state, EngineState::kStandby);
}

TEST_P(Conformance, OpensUnderItsSessionAndRefusesAnOlderEpoch) {
  EngineNode& n = make(1);
  ASSERT_TRUE(n.run(Verb::kProvision).ok);
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  const auto from = Steady::now();
  const DriverResult done = n.run(Verb::kPromote, "", 4);
  std::printf("figure %s_promote_ms %.1f\n", kit().resource().c_str(), ms_of(from));
  ASSERT_TRUE(done.ok) << done.message;
  const EngineReport r = n.observe();
  EXPECT_EQ(r.state, EngineState::kPrimary) << r.health;
  EXPECT_EQ(r.health, "");
  EXPECT_EQ(r.opened, session(4));
  EXPECT_EQ(r.opened_epoch, Epoch{4});
  EXPECT_EQ(r.timeline_start, done.position.lsn);
  EXPECT_EQ(r.position.timeline, done.position.timeline);
  EXPECT_EQ(r.position.identity, done.position.identity);
  ASSERT_TRUE(kit().prepare(n));
  write(n, 1, 10);
  const DriverResult again = n.run(Verb::kPromote, "", 4);
  EXPECT_TRUE(again.ok) << again.message;
  EXPECT_EQ(again.position, done.position);
  const DriverResult older = n.run(Verb::kPromote, "", 3);
  EXPECT_FALSE(older.ok);
  EXPECT_NE(older.message.find("older"), std::string::npos) << older.message;
  const DriverResult other = n.run(Verb::kPromote, "", 5);
  EXPECT_FALSE(other.ok) << "another session's, while it is open";
  // Stopped and started again it is a standby that still says what it had opened, and still knows the epoch.
  ASSERT_TRUE(n.run(Verb::kStop).ok);
  EXPECT_EQ(n.observe().state, EngineState::kStopped);
  EXPECT_EQ(n.observe().opened, session(4));
  EXPECT_EQ(n.observe().position.timeline, done.position.timeline);
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return n.observe().state == EngineState::kStandby; }));
  EXPECT_EQ(n.observe().opened, session(4));
  EXPECT_FALSE(kit().write(n, 11, 1));
  EXPECT_FALSE(n.run(Verb::kPromote, "", 3).ok);
  EXPECT_EQ(count(n), 10);
}

TEST_P(Conformance, AReplicaStreamsAndSaysWhoOpenedItsData) {
  EngineNode& a = writer(1);
  write(a, 1, 1000);
  EngineNode& b = replica(2);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  ASSERT_TRUE(caught_up(a, b));
  const EngineReport r = b.observe();
  EXPECT_EQ(r.state, EngineState::kStandby) << r.health;
  EXPECT_EQ(r.health, "");
  EXPECT_EQ(r.upstream, NodeId("node1"));
  EXPECT_TRUE(r.opened.empty());
  EXPECT_EQ(r.inherited, session(1));
  EXPECT_EQ(r.inherited_from, NodeId("node1"));
  EXPECT_EQ(r.position.timeline, a.observe().position.timeline);
  EXPECT_EQ(r.position.identity, a.observe().position.identity);
  EXPECT_LT(r.contact_age_ms, 5000u);
  EXPECT_EQ(count(b), 1000);
  EXPECT_FALSE(kit().write(b, 5000, 1));
  EXPECT_TRUE(b.run(Verb::kFollow, "node1").ok);  // again
  EXPECT_TRUE(b.run(Verb::kProvision, "node1").ok);
  const DriverResult self = b.run(Verb::kFollow, "node2");
  EXPECT_FALSE(self.ok);
  EXPECT_NE(self.message.find("itself"), std::string::npos) << self.message;
  write(a, 1001, 500);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_EQ(count(b), 1500);
  double worst = 0;
  for (int i = 0; i < 20; ++i) {
    const auto from = Steady::now();
    b.observe();
    worst = std::max(worst, ms_of(from));
  }
  std::printf("figure %s_observe_standby_max_ms %.2f\n", kit().resource().c_str(), worst);
  EXPECT_LT(worst, 500);
}

TEST_P(Conformance, AKilledPrimaryComesBackAsAReplica) {
  EngineNode& a = writer(1);
  write(a, 1, 1000);
  EngineNode& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  a.host.kill_all();
  ASSERT_EQ(a.observe().state, EngineState::kStopped);
  const DriverResult promoted = b.run(Verb::kPromote, "", 2);
  ASSERT_TRUE(promoted.ok) << promoted.message;
  write(b, 1001, 100);
  DriverResult back = a.run(Verb::kFollow, "node2", 2);
  if (!back.ok) {
    EXPECT_TRUE(back.diverged) << back.message;
    const DriverResult rejoined = a.run(Verb::kRejoin, "node2", 2);
    ASSERT_TRUE(rejoined.ok) << rejoined.message;
    EXPECT_NE(rejoined.method, "");
    EXPECT_TRUE(a.run(Verb::kRejoin, "node2", 2).ok);  // again
    back = a.run(Verb::kFollow, "node2", 2);
  }
  ASSERT_TRUE(back.ok) << back.message;
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; })) << a.observe().health;
  ASSERT_TRUE(caught_up(b, a));
  EXPECT_EQ(count(a), 1100);
  EXPECT_TRUE(a.observe().opened.empty());
  EXPECT_EQ(a.observe().inherited, session(2));
  EXPECT_EQ(a.observe().inherited_from, NodeId("node2"));
}

TEST_P(Conformance, SwitchesOverWithoutLoss) {
  EngineNode& a = writer(1);
  EngineNode& b = replica(2);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  EngineNode* from = &a;
  EngineNode* to = &b;
  std::uint64_t epoch = 1;
  int rows = 0;
  for (int round = 0; round < 4; ++round) {
    write(*from, rows + 1, 5000);
    rows += 5000;
    const auto began = Steady::now();
    const DriverResult stopped = from->run(Verb::kStop);
    ASSERT_TRUE(stopped.ok) << stopped.message;
    const double stop_ms = ms_of(began);
    EXPECT_EQ(from->observe().state, EngineState::kStopped);
    ASSERT_TRUE(eventually([&] { return to->observe().position.lsn >= stopped.position.lsn; }));
    EXPECT_EQ(to->observe().position.timeline, stopped.position.timeline);
    EXPECT_EQ(to->observe().position.identity, stopped.position.identity);
    const auto promoting = Steady::now();
    const DriverResult promoted = to->run(Verb::kPromote, "", ++epoch);
    ASSERT_TRUE(promoted.ok) << promoted.message;
    std::printf("figure %s_stop_ms %.1f promote_ms %.1f\n", kit().resource().c_str(), stop_ms, ms_of(promoting));
    EXPECT_GE(promoted.position.lsn, stopped.position.lsn);
    EXPECT_TRUE(from->run(Verb::kStop).ok);  // again
    EXPECT_EQ(count(*to), rows);
    const DriverResult follows = from->run(Verb::kFollow, to->name(), epoch);
    ASSERT_TRUE(follows.ok) << follows.message;
    ASSERT_TRUE(eventually([&] { return from->observe().streaming; })) << from->observe().health;
    ASSERT_TRUE(caught_up(*to, *from));
    EXPECT_EQ(count(*from), rows);
    EXPECT_TRUE(from->observe().opened.empty());
    std::swap(from, to);
  }
}

TEST_P(Conformance, ForeignFolderIsLeftUntouched) {
  EngineNode& n = make(1);
  fs::create_directories(n.data());
  std::ofstream(n.data() + "/theirs") << "precious";
  const auto before = fs::last_write_time(n.data());
  EXPECT_EQ(n.observe().state, EngineState::kForeign);
  EXPECT_NE(n.observe().health.find("daarion.json"), std::string::npos);
  for (const Verb verb : {Verb::kProvision, Verb::kStart, Verb::kFollow, Verb::kRejoin, Verb::kPromote}) {
    const DriverResult r = n.run(verb, verb == Verb::kStart || verb == Verb::kPromote ? "" : "node2");
    EXPECT_FALSE(r.ok);
    EXPECT_NE(r.message.find("untouched"), std::string::npos) << r.message;
  }
  EXPECT_EQ(fs::last_write_time(n.data()), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(n.data()), fs::directory_iterator{}), 1);
}

TEST_P(Conformance, NamesAWrongPassword) {
  EngineNode& a = writer(1);
  right_password_ = false;
  EngineNode& b = make(2);
  const DriverResult r = b.run(Verb::kProvision, "node1");
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.message.find(kit().password_hint()), std::string::npos) << r.message;
  EXPECT_EQ(b.observe().state, EngineState::kEmpty);
  a.host.kill_all();
  const auto from = Steady::now();
  EXPECT_FALSE(b.run(Verb::kProvision, "node1").ok);
  EXPECT_LT(ms_of(from), 3000);
}

TEST_P(Conformance, ABlackHoledUpstreamCostsNoMoreThanItsTimeout) {
  EngineNode& a = writer(1);
  EngineNode& b = replica(2);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  a.host.kill_all();
  const BlackHole hole(a.address().host, a.address().port);
  for (const Verb verb : {Verb::kFollow, Verb::kRejoin}) {
    const auto from = Steady::now();
    const DriverResult r = b.run(verb, "node1");
    EXPECT_FALSE(r.ok);
    EXPECT_NE(r.message.find("no answer"), std::string::npos) << r.message;
    EXPECT_LT(ms_of(from), 3000);
  }
  const auto from = Steady::now();
  EXPECT_EQ(b.observe().state, EngineState::kStandby) << "its own engine is looked at all the same";
  EXPECT_LT(ms_of(from), 600);
}

TEST_P(Conformance, ObservesAFrozenEngineInTime) {
  EngineNode& a = writer(1);
  ASSERT_EQ(a.observe().state, EngineState::kPrimary);
  a.host.stop(SIGSTOP);
  for (int i = 0; i < 3; ++i) {
    const auto from = Steady::now();
    const EngineReport r = a.observe();
    const double took = ms_of(from);
    if (i == 0) std::printf("figure %s_observe_frozen_ms %.1f\n", kit().resource().c_str(), took);
    EXPECT_EQ(r.state, EngineState::kUnresponsive);
    EXPECT_NE(r.health, "");
    EXPECT_LT(took, 600);
  }
  const auto stopping = Steady::now();
  const DriverResult stopped = a.run(Verb::kStop);
  EXPECT_FALSE(stopped.ok);
  EXPECT_EQ(stopped.position, Position{});
  EXPECT_LT(ms_of(stopping), 5000);
  a.host.kill_all();
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().state == EngineState::kStandby; }));
  ASSERT_TRUE(a.run(Verb::kPromote, "", 2).ok);
  EXPECT_TRUE(eventually([&] { return a.observe().state == EngineState::kPrimary; }));
  double worst = 0;
  double sum = 0;
  for (int i = 0; i < 50; ++i) {
    const auto from = Steady::now();
    EXPECT_EQ(a.observe().state, EngineState::kPrimary);
    worst = std::max(worst, ms_of(from));
    sum += ms_of(from);
  }
  std::printf("figure %s_observe_primary_ms mean %.2f max %.2f\n", kit().resource().c_str(), sum / 50, worst);
}

INSTANTIATE_TEST_SUITE_P(Engines, Conformance, testing::ValuesIn(engine_kits()), [](const auto& param) { return param.param->resource(); });

}  // namespace
}  // namespace daarion::test
