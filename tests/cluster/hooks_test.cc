// A paused holder that is lost, in a whole cluster: what is waited for, the fencing command, and who is told.
#include <gtest/gtest.h>

#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::any_has;
using test::kOne;
using test::kTwo;
using test::kThree;
using test::kPostgres;
using test::write_script;

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Hooks, APausedHolderThatIsLostIsFencedByTheCommandAndPeopleAreToldOnce) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  const std::string fence = cluster.folder() + "/fence", tell = cluster.folder() + "/tell", told = cluster.folder() + "/told", fenced = cluster.folder() + "/fenced";
  test::add_to_control(cluster, "fencing: {exec: " + fence + ", timeout: 5s}");
  std::ofstream(cluster.config_path(), std::ios::app) << "\nnotify:\n  - {on: [PromotionDecided, PromotionCompleted, FencingConfirmed, Paused], exec: " + tell + "}\n";
  write_script(fence, "echo \"$1\" >> " + fenced + "; echo the switch does not answer >&2; exit 1");
  write_script(tell, "echo \"$DAARION_EVENT $DAARION_EPOCH\" >> " + told);
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));

  ASSERT_EQ(test::ctl(cluster, kTwo, "pause --reason test"), 0);
  std::this_thread::sleep_for(seconds(2));  // until the voters' acks name the pause, and the holder has dropped its deadline
  ASSERT_OK(cluster.kill(kOne));
  ASSERT_OK(cluster.await(kTwo, "the wait with its command", seconds(20), [](const dev::ClusterView& v) {
    return any_has(v.waits, "word that node1 is off") && any_has(v.waits, "daarionctl confirm-fencing postgres --holder node1 --reason TEXT");
  }));
  std::this_thread::sleep_for(seconds(4));  // longer than a case must stand
  EXPECT_EQ(contents(fenced), "") << "the pause stands: nothing is run";

  ASSERT_EQ(test::ctl(cluster, kTwo, "resume --reason test"), 0);
  ASSERT_OK(cluster.await(kTwo, "a warning of the failing command", seconds(20), [](const dev::ClusterView& v) {
    return any_has(v.warnings, "node1 is not fenced") && any_has(v.warnings, "the switch does not answer") && any_has(v.warnings, "daarionctl confirm-fencing");
  }));
  EXPECT_EQ(contents(fenced), "node1\n");
  write_script(fence, "exit 0");
  const auto after = cluster.await(kTwo, "node2 writing", seconds(40), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2" && !any_has(v.warnings, "fenced"); });
  ASSERT_OK(after);
  auto log = test::read_log(cluster, Sequence{1}, Sequence{after->sequence}, kOne);
  ASSERT_OK(log);
  const LogEvent* word = test::last_of<FencingConfirmed>(log->events);
  ASSERT_NE(word, nullptr);
  EXPECT_EQ(std::get<FencingConfirmed>(word->event.payload).how, "command " + fence);
  EXPECT_EQ(word->event.header.actor, "node:node2");
  ASSERT_OK(cluster.await_that("every line", seconds(10), cluster.log_of(kTwo, Part::kDaemon), [&] { return contents(told).find("PromotionCompleted 2") != std::string::npos; }));
  EXPECT_EQ(contents(told), "PromotionDecided 1\nPromotionCompleted 1\nPaused 0\nFencingConfirmed 1\nPromotionDecided 2\nPromotionCompleted 2\n");
}

TEST(Hooks, EachNodesDaemonTellsWhatItsNodeIsToTheResource) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  const std::string role = cluster.folder() + "/role", told = cluster.folder() + "/told-";
  test::replace_in_file(cluster, "  postgres:\n    port: ", "  postgres:\n    on_role_change: {exec: " + role + "}\n    port: ");
  write_script(role, "echo \"$1 after $DAARION_FORMER_ROLE\" >> " + told + "$DAARION_NODE");
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  const auto last = [&](const NodeId& node) {
    std::istringstream in(contents(told + node.value));
    std::string line, out;
    while (std::getline(in, line)) out = line;
    return out;
  };
  // What passed while a look was not taken is not told, so what it was before may be less than all.
  const auto comes = [&](const NodeId& node, const std::string& line) {
    const auto done = cluster.await_that(node.value + " told: " + line, seconds(20), cluster.log_of(node, Part::kDaemon), [&] { return last(node).starts_with(line); });
    EXPECT_TRUE(done) << contents(told + node.value);
  };
  comes(kOne, "primary after ");
  comes(kTwo, "replica after ");
  ASSERT_OK(cluster.stop(kOne, seconds(45)));
  EXPECT_EQ(last(kOne), "none after primary") << contents(told + "node1");
  comes(kTwo, "primary after replica");
  ASSERT_OK(cluster.start(kOne));
  comes(kOne, "replica after ");
  // Who is reloaded tells what it is, and nothing else.
  const std::string before = contents(told + "node2");
  const auto daemon = test::daemon_of(cluster, kTwo);
  ASSERT_TRUE(daemon);
  dev::send_signal(*daemon, SIGHUP);
  const auto again = cluster.await_that("node2's role told again", seconds(20), cluster.log_of(kTwo, Part::kDaemon), [&] { return contents(told + "node2") != before; });
  ASSERT_OK(again);
  EXPECT_EQ(contents(told + "node2"), before + "primary after \n");
  EXPECT_EQ(contents(told + "node3"), "") << "it runs none";
}

/// A nats-server that stands still lives, for its supervisor; its daemon has it restarted.
TEST(Hooks, ANatsServerThatStandsStillIsRestartedByItsDaemon) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  const std::string command = "{exec: " + cluster.folder() + "/" + dev::kRestartScript;
  test::replace_in_file(cluster, command, command + ", after: 5s");
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  const auto pid = [&] {
    const auto found = cluster.processes(kThree, Part::kWitness);
    return found.empty() ? 0 : found.front().id.pid;
  };
  const int before = pid();
  ASSERT_OK(cluster.pause(kThree, Part::kWitness));
  ASSERT_OK(cluster.await_that("another witness", seconds(40), cluster.log_of(kThree, Part::kDaemon), [&] { return pid() != 0 && pid() != before; }));
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(cluster.await(kThree, "nothing left to say of it", seconds(20), [](const dev::ClusterView& v) { return !any_has(v.warnings, "nats-server"); }));
}

/// Without a command: a person's word, and then the failover that he asks for while the pause goes on.
TEST(Hooks, APersonsWordDoesTheSame) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  EXPECT_EQ(test::ctl(cluster, kTwo, "confirm-fencing postgres --holder node1 --reason early --yes"), 5) << "nothing waits for it";
  ASSERT_EQ(test::ctl(cluster, kTwo, "pause --reason test"), 0);
  std::this_thread::sleep_for(seconds(2));
  ASSERT_OK(cluster.kill(kOne));
  ASSERT_OK(cluster.await(kTwo, "the wait", seconds(20), [](const dev::ClusterView& v) { return any_has(v.waits, "word that node1 is off"); }));
  EXPECT_EQ(test::ctl(cluster, kTwo, "failover postgres --to node2 --reason test"), 5) << "it would wait for ever";
  EXPECT_EQ(test::ctl(cluster, kTwo, "confirm-fencing postgres --holder node1 --reason \"powered off\" --yes"), 0);
  ASSERT_OK(cluster.await(kTwo, "the pause alone to be waited for", seconds(20), [](const dev::ClusterView& v) { return any_has(v.waits, "automatic failover is paused; daarionctl resume"); }));
  EXPECT_EQ(test::ctl(cluster, kTwo, "failover postgres --to node2 --reason test"), 0);
  ASSERT_OK(cluster.await(kTwo, "node2 writing", seconds(20), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2"; }));
}

}  // namespace
}  // namespace daarion
