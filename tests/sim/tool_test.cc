// The simulator as a tool: what it says is the same each time, and what it cuts away was not needed.
#include "tests/sim/tool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/sim/plants.h"

namespace daarion::sim {
namespace {

/// Plants a bug for one test.
struct Planted {
  explicit Planted(const std::string& name) { EXPECT_TRUE(plant(name)); }
  ~Planted() { plant(""); }
};

TEST(SimSeed, TwiceIsTheSame) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) EXPECT_EQ(run_script(deal_script(seed), false).hash, run_script(deal_script(seed), false).hash) << seed;
}

TEST(SimSeed, DealsThreeFaultsAndHalfAMinuteAtLeast) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    const Script script = deal_script(seed);
    ASSERT_GE(script.faults.size(), 3u) << seed;
    ASSERT_GE(script.knobs.safety, std::chrono::seconds(30)) << seed;
    ASSERT_TRUE(script.knobs.nodes == 3 || script.knobs.nodes == 5) << seed;
    ASSERT_TRUE(std::ranges::is_sorted(script.faults, {}, &Fault::at)) << seed;
  }
}

TEST(SimSeed, AFaultLeftOutChangesNoOther) {
  const Script script = deal_script(7);
  Knobs quiet = script.knobs;
  for (const std::string& name : knob_names()) EXPECT_TRUE(turn_off(quiet, name));
  EXPECT_EQ(deal_faults(7, quiet), script.faults);
  EXPECT_FALSE(turn_off(quiet, "no such knob"));
}

TEST(Plants, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const PlantText& p : plants()) EXPECT_TRUE(names.insert(p.name).second) << p.name;
  EXPECT_GE(names.size(), 15u);
  EXPECT_FALSE(plant("no such bug"));
}

TEST(Plants, AreFoundAndGoneAgain) {
  std::string found;
  std::uint64_t seed = 0;
  while (found.empty() && seed < 50) {
    const Planted bug("promote_before_fence");
    found = run_script(deal_script(++seed), false).failure;
  }
  EXPECT_EQ(kind_of(found), "invariant 2");
  EXPECT_EQ(run_script(deal_script(seed), false).failure, "");
}

TEST(Shrink, FindsFewerFaultsThatBreakTheSame) {
  const Planted bug("guard_needs_daemon");
  Script script;
  for (std::uint64_t seed = 1; seed <= 500 && script.seed == 0; ++seed)
    if (const Script tried = deal_script(seed); tried.faults.size() >= 6 && !run_script(tried, false).failure.empty()) script = tried;
  ASSERT_NE(script.seed, 0u);
  const Script shortest = shrink(script);
  EXPECT_LT(shortest.faults.size(), 3u);
  EXPECT_LE(shortest.knobs.safety, script.knobs.safety);
  EXPECT_EQ(kind_of(run_script(shortest, false).failure), kind_of(run_script(script, false).failure));
  EXPECT_EQ(command_of(shrink(script)), command_of(shortest)) << "the same each time";
  EXPECT_NE(command_of(shortest).find("--only "), std::string::npos);
}

TEST(Shrink, KindIsWithoutTimeAndNames) {
  EXPECT_EQ(kind_of("at 12 ms: invariant 2: node1 writes: really"), "invariant 2");
  EXPECT_EQ(kind_of("at 12 ms: liveness: no writer"), "liveness");
  EXPECT_EQ(kind_of(""), "");
}

}  // namespace
}  // namespace daarion::sim
