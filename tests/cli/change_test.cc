// What changes the cluster: what it prints, what it waits for, and the exit code of every way it can end.
#include <thread>

#include "tests/cli/fixture.h"

namespace daarion::test {
namespace {

class ChangeTest : public CliTest {
 protected:
  /// The cluster does what it was asked to: node1 releases, node2 is decided and completes, or fails.
  void obey(bool succeeds, int to = 2) {
    cluster.after = [this, succeeds, to](const LogEvent& event) {
      if (!std::holds_alternative<SwitchoverRequested>(event.event.payload)) return;
      cluster.add(LeaseReleased{.session = session(1), .cause = EndCause::kReleased}, node(1), kPostgres, Epoch{1}, "asked to hand over");
      cluster.add(PromotionDecided{.to = node(to), .session = session(12), .kind = DecisionKind::kSwitchover}, node(3), kPostgres, Epoch{2}, "asked");
      if (succeeds) cluster.add(PromotionCompleted{.session = session(12), .claimed_ms = 5, .promoted_ms = 60}, node(to), kPostgres, Epoch{2}, "open for writing");
      else cluster.add(PromotionFailed{session(12)}, node(to), kPostgres, Epoch{2}, "the engine did not start");
    };
  }
};

TEST_F(ChangeTest, SwitchoverWaitsUntilItIsDone) {
  obey(true);
  const Ran ran = ctl({"switchover", "POSTGRES", "--to", "Node2", "--reason", "kernel update"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  const std::string out = std::regex_replace(ran.out, std::regex(", [0-9.]+ m?s after"), ", <time> after");
  EXPECT_EQ(out, R"(     9  -                        SwitchoverRequested   postgres e1     switchover from node1 to node2  (kernel update)  by operator:ann
node1 stops cleanly and releases, then node2 is promoted; nothing is lost
    10  2026-09-21 14:13:30.000  LeaseReleased         postgres e1     released, session 00000000  (asked to hand over)  by node:node1
    11  2026-09-21 14:13:31.000  PromotionDecided      postgres e2     switchover to node2, session 00000000, loss at most 0 B  (asked)  by node:node3
    12  2026-09-21 14:13:32.000  PromotionCompleted    postgres e2     from 0/0 on timeline 0; claimed in 5 ms, promoted in 60 ms  (open for writing)  by node:node2
node2 holds postgres since epoch 2, <time> after the request
)");
}

TEST_F(ChangeTest, SwitchoverAsJsonIsOneObject) {
  obey(true);
  const auto done = json({"switchover", "postgres", "--reason", "x", "--actor", "deploy-bot"});
  EXPECT_EQ(done["sequence"], 9);
  EXPECT_EQ(done["event"]["actor"], "operator:deploy-bot");
  EXPECT_EQ(done["dry_run"], false);
  EXPECT_EQ(done["waited"], true);
  EXPECT_EQ(done["result"]["type"], "PromotionCompleted");
  EXPECT_EQ(done["result"]["node"], "node2");
}

TEST_F(ChangeTest, FailedPromotionIsAFailure) {
  obey(false);
  const Ran ran = ctl({"switchover", "postgres", "--reason", "x"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.err, "daarionctl: the promotion of node2 failed: the engine did not start; see `daarionctl why postgres`\n");
}

TEST_F(ChangeTest, AnotherHolderThanAskedIsAFailure) {
  obey(true, 1);
  const Ran ran = ctl({"switchover", "postgres", "--to", "node2", "--reason", "x"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("node1 holds postgres now, not node2"), std::string::npos) << ran.err;
}

TEST_F(ChangeTest, NoOutcomeInTimeIsTimedOut) {
  const Ran ran = ctl({"switchover", "postgres", "--reason", "x", "--timeout", "0.5"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_NE(ran.err.find("no outcome of event 9"), std::string::npos) << ran.err;
  EXPECT_NE(ran.err.find("daarionctl events --from 9"), std::string::npos) << ran.err;
  EXPECT_EQ(std::ranges::count(ran.err, '\n'), 1);
}

TEST_F(ChangeTest, RejoinWaitsForTheCopyThatNamesIt) {
  cluster.after = [this](const LogEvent& event) {
    if (!std::holds_alternative<RejoinRequested>(event.event.payload)) return;
    cluster.add(ReplicaRejoined{"rewind", node(1), {}}, node(2), kPostgres, Epoch{1}, "of an earlier request");
    cluster.add(ReplicaRejoined{"rebuild", node(1), {}}, node(2), kPostgres, Epoch{1}, "its history is node1's again", event.event.header.id);
  };
  const Ran ran = ctl({"rejoin", "postgres", "node2", "--reason", "disk errors"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("rebuild from node1"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("node2 has its data of postgres anew, "), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, RestartWaitsForTheAnswerThatNamesIt) {
  cluster.after = [this](const LogEvent& event) {
    if (!std::holds_alternative<RestartRequested>(event.event.payload)) return;
    cluster.add(ReplicaRestarted{}, node(2), kPostgres, Epoch{1}, "of an earlier request");
    cluster.add(ReplicaRestarted{}, node(2), kPostgres, Epoch{1}, "its engine was stopped and started", event.event.header.id);
  };
  const Ran ran = ctl({"restart", "postgres", "node2", "--reason", "max_connections"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("its engine is to be stopped and started"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("node2 runs its engine of postgres again, "), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, RejoinIsVoidOnceAnotherIsDecided) {
  cluster.after = [this](const LogEvent& event) {
    if (std::holds_alternative<RejoinRequested>(event.event.payload))
      cluster.add(PromotionDecided{.to = node(2), .session = session(12), .kind = DecisionKind::kFailover}, node(3), kPostgres, Epoch{2}, "node1 is lost");
  };
  const Ran ran = ctl({"rejoin", "postgres", "node2", "--reason", "disk errors"});
  EXPECT_EQ(ran.code, 1) << ran.out;
  EXPECT_NE(ran.err.find("the request is void"), std::string::npos) << ran.err;
}

TEST_F(ChangeTest, ACopyThatTakesLongerGoesOn) {
  const Ran ran = ctl({"rejoin", "postgres", "node2", "--reason", "disk errors", "--timeout", "0.5"});
  EXPECT_EQ(ran.code, 7);
  EXPECT_NE(ran.err.find("no outcome of event 9"), std::string::npos) << ran.err;
}

TEST_F(ChangeTest, NoWaitEndsWithTheRequest) {
  const Ran ran = ctl({"failover", "postgres", "--reason", "x", "--no-wait"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(cluster.log().size(), 9u);
  EXPECT_NE(ran.out.find("failover from node1 to the best candidate"), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, DryRunAppendsNothing) {
  const Ran ran = ctl({"switchover", "postgres", "--to", "node2", "--reason", "x", "--dry-run"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(ran.out.starts_with("dry run, nothing is appended; it would be:\n     -  -  ")) << ran.out;
  EXPECT_EQ(cluster.log().size(), 8u);
  EXPECT_EQ(json({"pause", "--reason", "x", "--dry-run"})["sequence"], 0);
}

TEST_F(ChangeTest, SameRequestIdIsTakenOnce) {
  obey(true);
  EXPECT_EQ(ctl({"switchover", "postgres", "--reason", "x", "--request-id", "deploy-7"}).code, 0);
  const std::size_t events = cluster.log().size();
  const auto again = json({"switchover", "postgres", "--reason", "x", "--request-id", "deploy-7"});
  EXPECT_EQ(again["sequence"], 9) << again;
  EXPECT_EQ(again["event"]["type"], "SwitchoverRequested");
  EXPECT_EQ(again["event"]["time"], "2026-09-21T14:13:29.000Z");
  EXPECT_EQ(again["result"]["node"], "node2") << "its outcome is in the log already";
  EXPECT_EQ(json({"switchover", "postgres", "--to", "node2", "--reason", "x", "--request-id", "deploy-7", "--no-wait"})["sequence"], 9);
  EXPECT_EQ(cluster.log().size(), events);
}

TEST_F(ChangeTest, PauseResumeDrainUndrain) {
  EXPECT_EQ(ctl({"pause", "--reason", "migration"}).code, 0);
  EXPECT_EQ(json({"status"})["status"], "maintenance");
  EXPECT_EQ(ctl({"resume", "--reason", "done"}).code, 0);
  EXPECT_EQ(json({"status"})["status"], "ok");
  EXPECT_EQ(ctl({"pause", "postgres", "--reason", "migration"}).code, 0);
  EXPECT_EQ(json({"resource", "postgres"})["paused"], true);
  EXPECT_EQ(ctl({"drain", "NODE2", "--reason", "new disk"}).code, 0);
  EXPECT_EQ(json({"nodes"})["nodes"][1]["intent"], "draining");
  EXPECT_EQ(ctl({"undrain", "noda1", "--reason", "by its alias"}).code, 0);
  EXPECT_EQ(ctl({"undrain", "node2", "--reason", "done"}).code, 0);
  EXPECT_EQ(json({"nodes"})["nodes"][1]["intent"], "active");
  EXPECT_EQ(cluster.log().size(), 14u);
}

TEST_F(ChangeTest, RefusalsAreOneLineAndAppendNothing) {
  expect_refusal(ctl({"switchover", "postgres", "--to", "node1", "--reason", "x"}), 5, {"node1 is its holder already"});
  expect_refusal(ctl({"switchover", "postgres", "--to", "node3", "--reason", "x"}), 2, {"node3 does not run it"});
  expect_refusal(ctl({"switchover", "postgres", "--from", "node2", "--reason", "x"}), 6, {"its holder is node1, not node2"});
  expect_refusal(ctl({"pause", "--reason", "x", "--expect-seq", "7"}), 6, {"expected sequence 7, it is 8"});
  expect_refusal(ctl({"pause", "--reason", ""}), 2, {"a reason is mandatory"});
  expect_refusal(ctl({"drain", "nod2", "--reason", "x"}), 2, {"unknown node nod2; did you mean node", "there are: node1, node2, node3"});
  expect_refusal(ctl({"drain", "n\xd0\xbe" "de2", "--reason", "x"}), 2, {"unknown node"});
  expect_refusal(ctl({"retire", "node3", "--reason", "x"}), 5, {"retire node3 refused: it votes", "control.voters"});
  expect_refusal(ctl({"pause", "mysql-primary", "--reason", "x"}), 2, {"unknown resource mysql-primary; there are: postgres"});
  cluster.node2_lag = 999;
  cluster.beats(true, true);
  EXPECT_EQ(cluster.log().size(), 8u);
  cluster.appends = AppendResult::Outcome::kUnknown;
  expect_refusal(ctl({"pause", "--reason", "x"}), 7, {"may have happened", "--request-id"});
  cluster.appends = AppendResult::Outcome::kConflict;
  expect_refusal(ctl({"pause", "--reason", "x"}), 6, {"in the same moment"});
}

TEST_F(ChangeTest, FencingIsConfirmedWhereItIsWaitedForAndNowhereElse) {
  const std::vector<std::string> word = {"confirm-fencing", "postgres", "--holder", "NODE1", "--reason", "powered off"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), word.begin(), word.end());
    return more;
  };
  expect_refusal(ctl(with({"--yes"})), 5, {"nothing waits for it", "why-not postgres"});
  EXPECT_EQ(ctl({"pause", "--reason", "migration"}).code, 0);
  cluster.pass(seconds(3));
  cluster.node2_bound = true;
  cluster.beats(false, true);
  const Ran status = ctl({"status"});
  EXPECT_TRUE(status.out.ends_with("HINT: daarionctl confirm-fencing postgres --holder node1 --reason TEXT\n")) << status.out;
  const auto why = json({"why-not", "postgres"});
  EXPECT_EQ(why["unblock"], "daarionctl confirm-fencing postgres --holder node1 --reason TEXT") << why;
  expect_refusal(ctl({"failover", "postgres", "--to", "node2", "--reason", "x"}), 5, {"word that node1 is off", "daarionctl confirm-fencing postgres --holder node1"});
  expect_refusal(ctl(word), 2, {"--yes", "--dry-run"});
  expect_refusal(ctl({"confirm-fencing", "postgres", "--holder", "node2", "--reason", "x", "--yes"}), 6, {"word of node1", "not of node2"});
  expect_refusal(ctl({"confirm-fencing", "postgres", "--reason", "x"}), 2, {"--holder"});
  EXPECT_EQ(cluster.log().size(), 9u);
  const Ran dry = ctl(with({"--dry-run"}));
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_EQ(dry.out, R"(dry run, nothing is appended; it would be:
     -  -                        FencingConfirmed      postgres e1     session 00000000: an operator's word  (powered off)  by operator:ann
one lease from then the promises to node1 are over; node2 can be promoted, expected loss at most 100 B; it is paused, so `daarionctl resume` or `daarionctl failover` comes after. If node1 still runs, two nodes write from then on, and what one of them took is lost
)");
  const Ran other = daarionctl_typed("yes", word, {"DAARION_SERVER=" + address});
  EXPECT_EQ(other.code, 1);
  EXPECT_TRUE(other.err.starts_with("You give your word that node1 is off, or can reach neither its disk nor its clients, and stays so.\none lease from then")) << other.err;
  EXPECT_NE(other.err.find("Type node1 to go on: daarionctl: not confirmed: nothing was done\n"), std::string::npos) << other.err;
  EXPECT_EQ(cluster.log().size(), 9u);
  EXPECT_EQ(daarionctl_typed("node1", word, {"DAARION_SERVER=" + address}).code, 0);
  EXPECT_EQ(cluster.log().size(), 10u);
  EXPECT_EQ(json({"why-not", "postgres"})["unblock"], "daarionctl resume --reason TEXT") << "the next thing that it waits for";
  expect_refusal(ctl(with({"--yes"})), 5, {"nothing waits for it"});
}

TEST_F(ChangeTest, AForcedFailoverAnnouncesWhomAndWhatItMayLose) {
  const Ran ran = ctl({"failover", "postgres", "--reason", "x", "--dry-run"});
  EXPECT_NE(ran.out.find("once the lease of node1 has ended, node2 is promoted; expected loss: at most 100 B"), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, WhoLacksSomethingIsPromotedOnlyIfThatIsAccepted) {
  cluster.node2_lacks = {"extension postgis (database shop)"};
  cluster.beats(true, true);
  expect_refusal(ctl({"switchover", "postgres", "--to", "node2", "--reason", "x"}), 5, {"unfit: it lacks extension postgis (database shop)"});
  expect_refusal(ctl({"failover", "postgres", "--to", "node2", "--reason", "x"}), 5, {"unfit: it lacks extension postgis", "--allow-data-loss accepts that"});
  const Ran ran = ctl({"failover", "postgres", "--to", "node2", "--allow-data-loss", "--reason", "x", "--dry-run"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("node2 is promoted; expected loss: at most 100 B; it lacks extension postgis (database shop)"), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, APauseForbidsNoSwitchover) {
  EXPECT_EQ(ctl({"pause", "--reason", "migration"}).code, 0);
  const Ran ran = ctl({"switchover", "postgres", "--reason", "x", "--dry-run"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("then the best candidate is promoted"), std::string::npos) << ran.out;
  EXPECT_EQ(ctl({"drain", "node2", "--reason", "disk"}).code, 0);
  expect_refusal(ctl({"switchover", "postgres", "--reason", "x", "--dry-run"}), 5, {"refused"});
}

TEST_F(ChangeTest, NobodyToSwitchToIsRefused) {
  cluster.pass(seconds(3));
  cluster.beats(true, false);
  expect_refusal(ctl({"switchover", "postgres", "--reason", "x"}), 5, {"refused", "node1: is its holder; node2: silent for 3000 ms"});
  expect_refusal(ctl({"switchover", "postgres", "--to", "node2", "--reason", "x"}), 5, {"unreachable", "why-not postgres"});
}

TEST_F(ChangeTest, TheServerMayGoAwayWhileItIsWaitedFor) {
  // Another node serves the same log; the first one is asked and then ends, as the node that is switched from might.
  const auto other = *GrpcServer::start("127.0.0.1", 0, cluster.ports());
  cluster.after = [this](const LogEvent&) {};
  std::thread ends([this] {
    while (cluster.log().size() < 9) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    server.reset();
    cluster.add(PromotionDecided{.to = node(2), .session = session(12), .kind = DecisionKind::kSwitchover}, node(3), kPostgres, Epoch{2}, "asked");
    cluster.add(PromotionCompleted{.session = session(12)}, node(2), kPostgres, Epoch{2}, "open for writing");
  });
  const Ran ran = daarionctl({"--server", address, "--server", "127.0.0.1:" + std::to_string(other->port()), "switchover", "postgres", "--reason", "x"});
  ends.join();
  EXPECT_EQ(ran.code, 0) << ran.err << ran.out;
  EXPECT_NE(ran.out.find("node2 holds postgres since epoch 2"), std::string::npos) << ran.out;
}

TEST_F(ChangeTest, OverrideIsForAMajorityThatIsGoneAndAsksFirst) {
  const std::vector<std::string> word = {"override", "--voters", "NODE3", "--others-off", "the rack burnt down", "--reason", "fire"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), word.begin(), word.end());
    return more;
  };
  expect_refusal(ctl({"override", "--voters", "node3", "--reason", "x"}), 2, {"--others-off"});
  expect_refusal(ctl({"override", "--voters", "node9", "--others-off", "x", "--reason", "x", "--yes"}), 2, {"unknown node node9"});
  expect_refusal(ctl(with({"--yes"})), 5, {"override refused: node1 is heard: it is not off"});
  expect_refusal(ctl({"override", "--voters", "node1,node2,node3", "--others-off", "x", "--reason", "x", "--yes"}), 5, {"are a majority"});
  cluster.pass(seconds(5));
  expect_refusal(ctl({"override", "--voters", "node3,node2", "--others-off", "x", "--reason", "x", "--yes"}), 5, {"node2 is not heard as the voter that it was"});
  expect_refusal(ctl(word), 2, {"--yes", "--dry-run"});
  const Ran dry = ctl(with({"--dry-run"}));
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_NE(dry.out.find("the voters are node3 alone, and decide one lease later; postgres: "), std::string::npos) << dry.out;
  EXPECT_NE(dry.out.find("If node1, node2 still run and hear each other, two nodes write until they hear of this"), std::string::npos) << dry.out;
  EXPECT_EQ(cluster.log().size(), 8u);
  const Ran other = daarionctl_typed("yes", word, {"DAARION_SERVER=" + address});
  EXPECT_EQ(other.code, 1);
  EXPECT_TRUE(other.err.starts_with("You give your word that node1,node2 are off for good")) << other.err;
  EXPECT_EQ(daarionctl_typed("node1,node2", word, {"DAARION_SERVER=" + address}).code, 0);
  ASSERT_EQ(cluster.log().size(), 9u);
  expect_refusal(ctl(with({"--yes"})), 5, {"those that are left are a majority"});
}

}  // namespace
}  // namespace daarion::test
