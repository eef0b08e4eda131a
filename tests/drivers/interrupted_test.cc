// Each verb that takes steps is cut off at instants all over its length, by the end of its daemon, and asked for again by the next one: it goes on from
// whatever is there. Real servers of each engine.
#include "tests/drivers/engine_kit.h"
#include "tests/drivers/killed_daemon.h"

namespace daarion::test {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kInstants = 8;

class Interrupted : public EngineBed {
 protected:
  /// The verb by a daemon that is killed after so long; the node's driver is the next daemon's afterwards. Returns whether it had been done; nothing: it was cut off.
  std::optional<bool> run_for(EngineNode& n, Verb verb, const std::string& upstream, std::uint64_t epoch, Duration length) {
    n.driver.reset();
    const auto done = run_killed(
        n.host,
        [&](EngineHost& host) {
          auto driver = make_driver(n.config, host);
          if (!driver) return false;
          n.driver = std::move(*driver);
          return n.run(verb, upstream, epoch).ok;
        },
        length);
    restart_daemon(n);
    return done;
  }
  /// How long the verb takes where nothing cuts it off; it has done it.
  Duration length_of(EngineNode& n, Verb verb, const std::string& upstream, std::uint64_t epoch = 1) {
    const auto from = Steady::now();
    EXPECT_EQ(run_for(n, verb, upstream, epoch, 3 * kLimit), true);
    return Steady::now() - from;
  }
  static Duration instant(Duration whole, int which) { return whole * which / (kInstants + 1); }
  /// What was cut off may still be ending at its upstream; asked again until it is done, as agents do.
  DriverResult do_again(EngineNode& n, Verb verb, const std::string& upstream, std::uint64_t epoch = 1) {
    DriverResult last;
    EXPECT_TRUE(eventually([&] { return (last = n.run(verb, upstream, epoch)).ok; })) << last.message;
    return last;
  }
  void stream_again(EngineNode& n, const std::string& upstream, std::uint64_t epoch) {
    do_again(n, Verb::kFollow, upstream, epoch);
    ASSERT_TRUE(eventually([&] { return n.observe().streaming; })) << n.observe().health;
    EXPECT_TRUE(eventually([&] { return n.observe().inherited == session(epoch); }));
  }
  void say(const char* verb, Duration whole, int cut) {
    std::printf("figure %s_%s_cut_off %d of %d, within %.1f ms\n", kit().resource().c_str(), verb, cut, kInstants, std::chrono::duration<double, std::milli>(whole).count());
    EXPECT_GE(cut, 1) << "it ended before it could be cut off";
  }
};

TEST_P(Interrupted, ItsProvisionIsBegunAgain) {
  EngineNode& a = writer(1);
  write(a, 1, 1000);
  for (const std::string upstream : {"", "node1"}) {
    EngineNode& n = make(upstream.empty() ? 3 : 2);
    const auto wipe = [&] {
      n.host.kill_all();
      std::filesystem::remove_all(n.data());
    };
    const Duration whole = length_of(n, Verb::kProvision, upstream);
    wipe();
    int cut = 0;
    for (int i = 1; i <= kInstants; ++i) {
      const auto done = run_for(n, Verb::kProvision, upstream, 1, instant(whole, i));
      const EngineReport seen = n.observe();
      EXPECT_TRUE(seen.state != EngineState::kPrimary && seen.state != EngineState::kForeign) << "cut off at " << i << ": " << text_of(seen.state) << " " << seen.health;
      cut += !done;
      if (done) wipe();
    }
    say(upstream.empty() ? "provision" : "copy", whole, cut);
    do_again(n, Verb::kProvision, upstream);
    if (upstream.empty()) {
      ASSERT_TRUE(n.run(Verb::kStart).ok);
      ASSERT_TRUE(eventually([&] { return n.observe().state == EngineState::kStandby; })) << n.observe().health;
      EXPECT_NE(n.observe().position.identity, a.observe().position.identity);
      continue;
    }
    ASSERT_NO_FATAL_FAILURE(stream_again(n, upstream, 1));
    ASSERT_TRUE(caught_up(a, n));
    EXPECT_EQ(count(n), 1000);
  }
}

TEST_P(Interrupted, ItsPromotionIsItsSessions) {
  EngineNode& a = writer(1);
  EngineNode& b = replica(2);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  EngineNode *from = &a, *to = &b;
  std::uint64_t epoch = 1;
  int rows = 0, cut = 0;
  Duration whole{};
  for (int i = 0; i <= kInstants; ++i) {
    write(*from, rows + 1, 100);
    rows += 100;
    const DriverResult stopped = from->run(Verb::kStop);
    ASSERT_TRUE(stopped.ok) << stopped.message;
    ASSERT_TRUE(eventually([&] { return to->observe().position.lsn >= stopped.position.lsn; }));
    ++epoch;
    if (i == 0) whole = length_of(*to, Verb::kPromote, "", epoch);
    else cut += !run_for(*to, Verb::kPromote, "", epoch, instant(whole, i));
    EngineReport seen;  // a server that is just opening may answer a look too late
    EXPECT_TRUE(eventually([&] { return seen = to->observe(), seen.state == EngineState::kStandby || seen.state == EngineState::kPrimary; })) << text_of(seen.state) << " " << seen.health;
    if (seen.state == EngineState::kPrimary) {
      EXPECT_EQ(seen.opened, session(epoch)) << "cut off at " << i << ": nobody knows who opened it";
    }
    const DriverResult promoted = do_again(*to, Verb::kPromote, "", epoch);
    ASSERT_TRUE(promoted.ok) << "cut off at " << i << ": " << promoted.message;
    EngineReport open;
    EXPECT_TRUE(eventually([&] { return (open = to->observe()).state == EngineState::kPrimary; })) << text_of(open.state) << " " << open.health;
    EXPECT_EQ(open.opened, session(epoch));
    EXPECT_EQ(open.timeline_start, promoted.position.lsn);
    EXPECT_FALSE(to->run(Verb::kPromote, "", epoch - 1).ok);
    EXPECT_EQ(count(*to), rows);
    ASSERT_NO_FATAL_FAILURE(stream_again(*from, to->name(), epoch));
    std::swap(from, to);
  }
  say("promotion", whole, cut);
}

TEST_P(Interrupted, ItsRejoinIsBegunAgain) {
  EngineNode& a = writer(1);
  EngineNode& b = replica(2);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  EngineNode *lost = &a, *heir = &b;
  std::uint64_t epoch = 1;
  int rows = 0;
  const auto part = [&] {
    write(*lost, rows + 1, 200);
    rows += 200;
    ASSERT_TRUE(caught_up(*lost, *heir));
    ASSERT_TRUE(heir->run(Verb::kStop).ok);
    write(*lost, 1'000'000 + static_cast<int>(epoch) * 1000, 50);  // which the heir never has
    lost->host.kill_all();
    ASSERT_TRUE(heir->run(Verb::kStart).ok);
    ASSERT_TRUE(eventually([&] { return heir->observe().state == EngineState::kStandby; })) << heir->observe().health;
    const DriverResult promoted = heir->run(Verb::kPromote, "", ++epoch);
    ASSERT_TRUE(promoted.ok) << promoted.message;
    write(*heir, rows + 1, 100);
    rows += 100;
  };
  const auto is_its_replica = [&] {
    ASSERT_NO_FATAL_FAILURE(stream_again(*lost, heir->name(), epoch));
    ASSERT_TRUE(caught_up(*heir, *lost));
    EXPECT_EQ(count(*lost), rows);
    EXPECT_EQ(count(*heir), rows);
  };
  ASSERT_NO_FATAL_FAILURE(part());
  const Duration whole = length_of(*lost, Verb::kRejoin, heir->name(), epoch);
  ASSERT_NO_FATAL_FAILURE(is_its_replica());
  std::swap(lost, heir);
  ASSERT_NO_FATAL_FAILURE(part());
  int cut = 0;
  for (int i = 1; i <= kInstants; ++i) {
    cut += !run_for(*lost, Verb::kRejoin, heir->name(), epoch, instant(whole, i));
    const EngineReport seen = lost->observe();
    EXPECT_TRUE(seen.state != EngineState::kPrimary && seen.state != EngineState::kForeign) << "cut off at " << i << ": " << text_of(seen.state) << " " << seen.health;
  }
  say("rejoin", whole, cut);
  do_again(*lost, Verb::kRejoin, heir->name(), epoch);
  ASSERT_NO_FATAL_FAILURE(is_its_replica());
}

INSTANTIATE_TEST_SUITE_P(Engines, Interrupted, testing::ValuesIn(engine_kits()), [](const auto& param) { return param.param->resource(); });

}  // namespace
}  // namespace daarion::test
