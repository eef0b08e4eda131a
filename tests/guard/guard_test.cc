// The guard pair as real processes, around an engine that does not want to end (stubborn_engine.cc).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "controlplane/node/clock.h"
#include "tests/guard/guard_pair.h"
#include "tests/harness/figures.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

const ResourceId kEngine("engine");
// What the lease leaves between the deadline and its end.
constexpr Duration kFenceBudget = milliseconds(500);

using test::text_of_file;
using test::until;

class Guards : public testing::Test {
 protected:
  Guards()
      : pair_({.resource = kEngine, .binary = std::string(DAARION_BIN) + "/daarion-guard", .socket = folder_ / "engine.guard", .data_dir = folder_ / "data",
               .cgroup = "", .log_file = folder_ / "guard.log"}) {
    fs::create_directories(data());
  }
  ~Guards() override { EXPECT_TRUE(pair_.end()) << "processes are left; the guards said:\n" << text_of_file(pair_.config().log_file); }

  std::string data() const { return folder_ / "data"; }
  fs::path writes() const { return fs::path(data()) / "writes"; }

  void connect() {
    const auto connected = pair_.connect();
    ASSERT_TRUE(connected) << connected.error().message;
  }
  GuardClient& client() { return pair_.client(); }
  GuardReport report() { return pair_.report(); }
  Instant reported() { return pair_.reported(); }
  std::optional<EndCause> end_of(const SessionId& session) { return pair_.end_of(session); }
  void arm(const SessionId& session, Instant deadline, std::uint64_t epoch = 1) { pair_.arm(session, deadline, epoch); }
  SessionId take(Duration length) {
    const SessionId session = pair_.take(length);
    EXPECT_FALSE(session.empty()) << "the guard did not take its own next session";
    return session;
  }
  void start_engine() {
    const auto started = client().start(command());
    ASSERT_TRUE(started) << started.error().message;
    ASSERT_TRUE(until([&] { return fs::exists(writes()) && fs::file_size(writes()) > 0; }));
  }
  EngineCommand command() const {
    return {.argv = {std::string(DAARION_BIN) + "/daarion-stubborn-engine", writes()}, .environment = {"LANG=C"}, .user = "", .directory = data(),
            .log_file = folder_ / "engine.log"};
  }
  Instant last_write() { return test::last_write(writes()); }
  pid_t one(const std::string& comm) {
    const auto found = pair_.processes(comm);
    EXPECT_EQ(found.size(), 1u) << comm;
    return found.empty() ? -1 : found[0];
  }
  std::vector<pid_t> engine_processes() { return pair_.engine(); }

  test::TempFolder folder_;
  test::GuardPair pair_;
};

TEST_F(Guards, TheDeadlineEndsEveryProcess) {
  connect();
  std::vector<double> late;
  for (int i = 0; i < 10; ++i) {
    start_engine();
    const SessionId session = take(milliseconds(150));
    const Instant deadline = report().taken->deadline;
    ASSERT_TRUE(until([&] { return end_of(session).has_value(); }));
    EXPECT_EQ(end_of(session), EndCause::kFenced);
    EXPECT_TRUE(engine_processes().empty());
    EXPECT_FALSE(report().engine_running);
    EXPECT_NE(report().next, session);
    EXPECT_GE(reported(), deadline) << "it fenced early";
    late.push_back(double((last_write() - deadline).count()) / 1e6);
    fs::remove(writes());
  }
  const double worst = *std::ranges::max_element(late);
  EXPECT_TRUE(test::say({.name = "guard_last_write_after_deadline_ms", .value = worst, .unit = "ms", .samples = late, .limit = "<500",
                         .ok = worst < double(to_ms(kFenceBudget))}));
}

TEST_F(Guards, ExtensionsKeepTheEngine) {
  connect();
  start_engine();
  const SessionId session = take(milliseconds(300));
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(milliseconds(50));  // the beats' own rhythm
    arm(session, node_now() + milliseconds(300), 2);
  }
  EXPECT_TRUE(until([&] { return report().taken && report().taken->epoch == Epoch{2}; }));
  EXPECT_TRUE(report().engine_running);
  EXPECT_FALSE(end_of(session));
  EXPECT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
}

TEST_F(Guards, ASessionIsTakenOnceAndOnlyTheNextOne) {
  connect();
  const SessionId stranger{1, 2};
  arm(stranger, node_now() + seconds(5));
  const SessionId session = report().next;
  arm(session, node_now() - milliseconds(1));  // over before it began
  arm(session, node_now() + milliseconds(100));
  ASSERT_TRUE(until([&] { return end_of(session).has_value(); }));
  arm(session, node_now() + seconds(5));
  const SessionId second = take(seconds(5));
  EXPECT_NE(second, session);
  arm(session, node_now() + seconds(5));
  arm(stranger, node_now() + seconds(5));
  arm(second, node_now() + seconds(6), 7);
  ASSERT_TRUE(until([&] { return report().taken && report().taken->epoch == Epoch{7}; }));
  EXPECT_EQ(report().taken->session, second);
}

TEST_F(Guards, ACrashIsAnEndAndNothingIsWrittenAfterIt) {
  connect();
  std::vector<double> took;
  for (int i = 0; i < 5; ++i) {
    start_engine();
    const SessionId session = take(seconds(5));
    // The first process alone: its children go on writing until the guard has ended them.
    pid_t first = -1;
    for (const pid_t pid : engine_processes())
      if (getpgid(pid) == pid && (first < 0 || pid < first)) first = pid;
    const Instant killed = node_now();
    kill(first, SIGKILL);
    ASSERT_TRUE(until([&] { return end_of(session).has_value(); }));
    EXPECT_EQ(end_of(session), EndCause::kCrashed);
    EXPECT_LT(last_write(), reported());
    EXPECT_TRUE(engine_processes().empty());
    took.push_back(double((reported() - killed).count()) / 1e6);
    fs::remove(writes());
  }
  test::say({.name = "guard_crash_to_empty_ms", .value = test::median(took), .unit = "ms", .samples = took, .limit = "", .ok = true});
}

TEST_F(Guards, ACleanStopIsNoCrashAndReleases) {
  connect();
  start_engine();
  const SessionId session = take(seconds(5));
  ASSERT_TRUE(client().stop(SIGINT));
  ASSERT_TRUE(client().wait_empty(seconds(5)));
  ASSERT_TRUE(report().taken) << "the lease stays until it is released";
  client().send({kEngine, GuardCommand::Kind::kRetire, session, Epoch{1}, {}});
  ASSERT_TRUE(until([&] { return end_of(session) == EndCause::kReleased; }));
}

TEST_F(Guards, RetiringARunningEngineFencesIt) {
  connect();
  start_engine();
  const SessionId session = take(seconds(5));
  client().send({kEngine, GuardCommand::Kind::kRetire, session, Epoch{1}, {}});
  ASSERT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
  EXPECT_TRUE(engine_processes().empty());
}

TEST_F(Guards, ADaemonThatComesBackInTimeFindsItsSession) {
  connect();
  start_engine();
  const SessionId session = take(seconds(2));
  pair_.disconnect();
  connect();
  ASSERT_TRUE(report().taken);
  EXPECT_EQ(report().taken->session, session);
  EXPECT_TRUE(report().engine_running);
}

TEST_F(Guards, ADaemonThatStaysAwayIsFenced) {
  connect();
  start_engine();
  const SessionId session = take(milliseconds(300));
  const Instant deadline = report().taken->deadline;
  pair_.disconnect();
  ASSERT_TRUE(until([&] { return engine_processes().empty(); }));
  EXPECT_LT(last_write(), deadline + kFenceBudget);
  connect();
  EXPECT_EQ(end_of(session), EndCause::kFenced) << "it is told to the daemon that comes back";
}

TEST_F(Guards, AKilledKeeperTakesTheEngineWithIt) {
  connect();
  start_engine();
  const SessionId session = take(seconds(30));
  const Instant killed = node_now();
  kill(one("daarion-keeper"), SIGKILL);
  // The client finds a new pair by itself, and only when nothing of the old engine is left.
  ASSERT_TRUE(until([&] { return report().connected && !report().taken; }));
  EXPECT_TRUE(engine_processes().empty());
  EXPECT_LT(last_write(), reported());
  EXPECT_LT(last_write() - killed, kFenceBudget);
  EXPECT_NE(report().next, session);
  EXPECT_FALSE(end_of(session)) << "a new guard knows nothing of it";
}

TEST_F(Guards, AKilledWatcherTakesTheEngineWithIt) {
  connect();
  start_engine();
  take(seconds(30));
  const Instant killed = node_now();
  kill(one("daarion-watcher"), SIGKILL);
  ASSERT_TRUE(until([&] { return engine_processes().empty() && pair_.processes("daarion-keeper").size() == 1 && report().connected && !report().taken; }));
  EXPECT_LT(last_write() - killed, kFenceBudget);
}

TEST_F(Guards, AStoppedKeeperIsEndedAtTheDeadline) {
  connect();
  start_engine();
  take(milliseconds(300));
  const Instant deadline = report().taken->deadline;
  kill(one("daarion-keeper"), SIGSTOP);
  ASSERT_TRUE(until([&] { return engine_processes().empty(); }));
  const double late = double((last_write() - deadline).count()) / 1e6;
  EXPECT_TRUE(test::say({.name = "guard_stopped_keeper_last_write_after_deadline_ms", .value = late, .unit = "ms", .samples = {}, .limit = "<500",
                         .ok = late < double(to_ms(kFenceBudget))}));
  ASSERT_TRUE(until([&] { return report().connected && !report().taken; }));
}

/// Under a pause there is no deadline that its watcher could see pass. What it is told meanwhile counts when it goes on.
TEST_F(Guards, AKeeperThatSleptThroughItsDeadlineFencesWhenItGoesOn) {
  connect();
  start_engine();
  const SessionId session = take(seconds(5));
  arm(session, kNever);
  ASSERT_TRUE(until([&] { return report().taken && report().taken->deadline == kNever; }));
  const pid_t keeper = one("daarion-keeper");
  kill(keeper, SIGSTOP);
  const Instant deadline = node_now() + milliseconds(50);
  arm(session, deadline);
  ASSERT_TRUE(until([&] { return node_now() > deadline + milliseconds(50); }));
  EXPECT_FALSE(engine_processes().empty()) << "nobody knows of a deadline yet";
  kill(keeper, SIGCONT);
  EXPECT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
  EXPECT_TRUE(engine_processes().empty());
}

TEST_F(Guards, AStoppedWatcherHindersNobody) {
  connect();
  start_engine();
  const SessionId session = take(milliseconds(300));
  const pid_t watcher = one("daarion-watcher");
  kill(watcher, SIGSTOP);
  EXPECT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
  kill(watcher, SIGCONT);
}

TEST_F(Guards, BothGuardsGoneAtOnceLeaveStraysThatTheNextPairEnds) {
  connect();
  start_engine();
  take(seconds(30));
  const pid_t keeper = one("daarion-keeper"), watcher = one("daarion-watcher");
  kill(watcher, SIGSTOP);  // so that neither sees the other die
  kill(keeper, SIGKILL);
  kill(watcher, SIGKILL);
  ASSERT_TRUE(until([&] { return report().connected && !report().taken; }));
  EXPECT_TRUE(engine_processes().empty()) << "connected promises that no process of an earlier guard is left";
}

TEST_F(Guards, AFenceWithoutASessionAlsoEndsAnEngineStartedByHand) {
  connect();
  start_engine();
  ASSERT_TRUE(client().stop(SIGINT));
  ASSERT_TRUE(client().wait_empty(seconds(5)));
  const pid_t by_hand = fork();
  if (by_hand == 0) {
    (void)!chdir(data().c_str());
    const std::string program = std::string(DAARION_BIN) + "/daarion-stubborn-engine";
    execl(program.c_str(), program.c_str(), writes().c_str(), nullptr);
    _exit(127);
  }
  ASSERT_TRUE(until([&] { return engine_processes().size() == 4; }));
  client().send({kEngine, GuardCommand::Kind::kFence, {}, {}, {}});
  EXPECT_TRUE(until([&] {
    (void)waitpid(by_hand, nullptr, WNOHANG);
    return engine_processes().empty();
  }));
}

TEST_F(Guards, AnEngineThatCannotBeStartedSaysWhy) {
  connect();
  EngineCommand wrong = command();
  wrong.argv[0] = "/no/such/program";
  const auto started = client().start(wrong);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("cannot execute it: No such file"), std::string::npos) << started.error().message;
  EXPECT_FALSE(report().engine_running);
  start_engine();
  EXPECT_FALSE(client().start(command())) << "one engine at a time";
}

TEST_F(Guards, APausedLeaseHasNoDeadline) {
  connect();
  start_engine();
  const SessionId session = take(milliseconds(300));
  arm(session, kNever);
  ASSERT_TRUE(until([&] { return report().taken && report().taken->deadline == kNever; }));
  std::this_thread::sleep_for(milliseconds(500));  // past the deadline that was dropped
  EXPECT_TRUE(report().engine_running);
  arm(session, node_now() + milliseconds(200));
  EXPECT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
}

TEST_F(Guards, NoSecondPairForOneDataDirectory) {
  connect();
  start_engine();
  const SessionId session = take(seconds(30));
  GuardConfig other = pair_.config();
  other.socket = folder_ / "other.guard";
  const auto second = GuardClient::open(other, [](const GuardReport&) {});
  ASSERT_FALSE(second) << "a second pair would promise that no earlier engine is left";
  EXPECT_NE(second.error().message.find("nothing answers"), std::string::npos) << second.error().message;
  EXPECT_NE(text_of_file(pair_.config().log_file).find("is held: another pair runs here"), std::string::npos);
  EXPECT_TRUE(report().taken && report().taken->session == session);
  EXPECT_FALSE(engine_processes().empty());
}

/// A log that takes nothing any more, as on a disk that does not answer.
class BlockedLog : public Guards {
 protected:
  BlockedLog() {
    pair_.config().log_file = folder_ / "full";
    mkfifo(pair_.config().log_file.c_str(), 0600);
    pipe_ = open(pair_.config().log_file.c_str(), O_RDWR | O_NONBLOCK);
  }
  void fill() {
    const std::string filling(4096, 'x');
    while (write(pipe_, filling.data(), filling.size()) > 0) {
    }
  }
  ~BlockedLog() override {
    std::string all(1 << 20, 0);
    (void)!read(pipe_, all.data(), all.size());
    close(pipe_);
  }
  int pipe_ = -1;
};

TEST_F(BlockedLog, DoesNotHoldUpTheKeeper) {
  connect();
  fill();
  start_engine();
  const SessionId session = take(milliseconds(200));
  const Instant deadline = report().taken->deadline;
  ASSERT_TRUE(until([&] { return end_of(session) == EndCause::kFenced; }));
  EXPECT_LT(last_write(), deadline + kFenceBudget);
}

TEST_F(BlockedLog, DoesNotHoldUpTheWatcher) {
  connect();
  fill();
  start_engine();
  take(milliseconds(200));
  const Instant deadline = report().taken->deadline;
  kill(one("daarion-keeper"), SIGSTOP);
  ASSERT_TRUE(until([&] { return engine_processes().empty(); }));
  EXPECT_LT(last_write(), deadline + kFenceBudget);
  std::string all(1 << 20, 0);  // the disk answers again
  (void)!read(pipe_, all.data(), all.size());
  EXPECT_TRUE(until([&] { return report().connected && !report().taken; }));
}

TEST_F(Guards, AGuardWithoutAFreeDescriptorFencesAllTheSame) {
  connect();
  start_engine();
  take(milliseconds(300));
  const Instant deadline = report().taken->deadline;
  for (const char* who : {"daarion-keeper", "daarion-watcher"}) {
    const rlimit none{6, 6};  // what is open stays open; poll() wants the limit above the number of files that it looks at
    ASSERT_EQ(prlimit(one(who), RLIMIT_NOFILE, &none, nullptr), 0);
  }
  ASSERT_TRUE(until([&] { return engine_processes().empty(); }));
  EXPECT_LT(last_write(), deadline + kFenceBudget);
}

}  // namespace
}  // namespace daarion
