// Who is told of what a node is to a resource, when, and how often.
#include "controlplane/daariond/role_caller.h"

#include <gtest/gtest.h>

#include "tests/daariond/commands.h"
#include "tests/unit/make.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {
using namespace test;

StatusView::Role seen(EngineState state, bool leads = false) {
  return {.resource = kPostgres, .primary = state == EngineState::kPrimary && leads, .leads = leads, .state = state};
}

TEST(RoleNow, IsWhatTheEngineIsAndAPrimarysLeaseAllows) {
  struct Row {
    const char* before;
    EngineState state;
    bool leads;
    const char* now;
  };
  const Row rows[] = {
      {"", EngineState::kUnknown, false, ""},                   // a daemon that begins beside its engine has not looked yet
      {"", EngineState::kPrimary, true, "primary"},
      {"", EngineState::kStarting, false, ""},
      {"", EngineState::kStopped, false, "none"},
      {"none", EngineState::kStandby, false, "replica"},
      {"replica", EngineState::kUnresponsive, false, "replica"},
      {"replica", EngineState::kStandby, true, "replica"},      // promoted, and not open yet
      {"replica", EngineState::kPrimary, true, "primary"},
      {"primary", EngineState::kUnresponsive, true, "primary"}, // for as long as its lease is
      {"primary", EngineState::kStopped, true, "primary"},
      {"primary", EngineState::kUnresponsive, false, "none"},
      {"primary", EngineState::kPrimary, false, "none"},        // about to be fenced
      {"primary", EngineState::kStandby, false, "replica"},
      {"replica", EngineState::kForeign, false, "none"},
  };
  for (const Row& row : rows) EXPECT_EQ(role_now(row.before, seen(row.state, row.leads)), row.now) << row.before << " " << text_of(row.state) << " " << row.leads;
}

class Roles : public testing::Test {
 protected:
  RoleCallback callback(const std::string& body, Duration timeout = seconds(10)) {
    return {.resource = kPostgres, .exec = write_command(folder / "role", folder / "", body) + " --vip", .timeout = timeout};
  }
  static StatusView view(EngineState state, bool leads = false) {
    StatusView out;
    out.roles = {seen(state, leads)};
    return out;
  }
  std::string said() { return contents(folder / "out"); }
  TempFolder folder;
};

TEST_F(Roles, EachChangeIsToldOnceAndTheRoleOfNowWhenTheDaemonBegins) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  auto state = std::make_shared<State>(log.state);
  state->leases[kPostgres].completed.node = node(2);
  state->leases[kPostgres].completed.epoch = Epoch{7};
  RoleCaller roles({callback("echo \"$1 $2 $DAARION_FORMER_ROLE $DAARION_NODE $DAARION_RESOURCE $DAARION_EPOCH\" >> out")}, node(1), "daarion");
  const auto look = [&](EngineState engine, bool leads) {
    StatusView now = view(engine, leads);
    now.state = state;
    roles.look(now);
  };
  look(EngineState::kUnknown, false);
  look(EngineState::kStandby, false);
  look(EngineState::kStandby, false);
  ASSERT_TRUE(comes([&] { return said() == "--vip replica  node1 postgres 7\n"; })) << said();
  look(EngineState::kPrimary, true);
  ASSERT_TRUE(comes([&] { return said().ends_with("--vip primary replica node1 postgres 7\n"); })) << said();
  // A planned stop: the daemon ends its engines, and looks no more.
  roles.finish({kPostgres});
  EXPECT_TRUE(said().ends_with("--vip none primary node1 postgres 7\n")) << said();
  EXPECT_EQ(std::ranges::count(said(), '\n'), 3) << said();
}

TEST_F(Roles, TheLastRoleCountsWhateverCameMeanwhile) {
  RoleCaller roles({callback("echo $2 >> out; while [ ! -e go ]; do sleep 0.01; done")}, node(1), "daarion");
  roles.look(view(EngineState::kStandby));
  ASSERT_TRUE(comes([&] { return said() == "replica\n"; }));
  roles.look(view(EngineState::kPrimary, true));
  roles.look(view(EngineState::kStopped));
  std::ofstream(folder / "go") << "";
  ASSERT_TRUE(comes([&] { return said() == "replica\nnone\n"; })) << said();
}

TEST_F(Roles, ACommandThatFailsIsSaidAndRunAgain) {
  RoleCaller roles({callback("echo $2 >> out; [ -e go ] || { echo no such interface >&2; exit 1; }")}, node(1), "daarion");
  roles.look(view(EngineState::kStandby));
  ASSERT_TRUE(comes([&] { return !roles.warnings().empty(); }));
  EXPECT_NE(roles.warnings()[0].find("postgres: that it is replica here is not told: "), std::string::npos) << roles.warnings()[0];
  EXPECT_NE(roles.warnings()[0].find("no such interface"), std::string::npos) << roles.warnings()[0];
  std::ofstream(folder / "go") << "";
  ASSERT_TRUE(comes([&] { return roles.warnings().empty(); })) << "after 5 s";
  EXPECT_EQ(said(), "replica\nreplica\n");
}

/// Nobody knows what a command did that failed: whatever the role is next is told, also the one that was told before it.
TEST_F(Roles, AfterACommandThatFailedAnyRoleIsTold) {
  RoleCaller roles({callback("echo $2 >> out; [ $2 = replica ]")}, node(1), "daarion");
  roles.look(view(EngineState::kStandby));
  ASSERT_TRUE(comes([&] { return said() == "replica\n"; }));
  roles.look(view(EngineState::kPrimary, true));
  ASSERT_TRUE(comes([&] { return !roles.warnings().empty(); }));
  roles.look(view(EngineState::kStandby));
  ASSERT_TRUE(comes([&] { return said() == "replica\nprimary\nreplica\n"; })) << said();
  EXPECT_TRUE(comes([&] { return roles.warnings().empty(); }));
}

TEST_F(Roles, TheEndIsToldAlsoAfterACommandThatFailsMeanwhile) {
  RoleCaller roles({callback("echo $2 >> out; [ $2 = none ] || { while [ ! -e go ]; do sleep 0.01; done; exit 1; }")}, node(1), "daarion");
  roles.look(view(EngineState::kPrimary, true));
  ASSERT_TRUE(comes([&] { return said() == "primary\n"; }));
  std::thread later([&] {
    std::this_thread::sleep_for(milliseconds(100));
    std::ofstream(folder / "go") << "";
  });
  roles.finish({kPostgres});
  later.join();
  EXPECT_EQ(said(), "primary\nnone\n");
}

TEST_F(Roles, ADaemonThatLeavesItsEnginesTellsNothing) {
  RoleCaller roles({callback("echo $2 >> out")}, node(1), "daarion");
  roles.look(view(EngineState::kPrimary, true));
  ASSERT_TRUE(comes([&] { return said() == "primary\n"; }));
  roles.finish({});
  EXPECT_EQ(said(), "primary\n");
}

}  // namespace
}  // namespace daarion
