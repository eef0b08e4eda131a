// When a nats-server of this node is restarted, why, and what is said where it is not.
#include "controlplane/daariond/server_keeper.h"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/daariond/commands.h"
#include "tests/unit/make.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {
using namespace test;
using Answer = ServerLook::Answer;

constexpr std::uint64_t kRoom = 1 << 30;

/// Looks every two seconds, as the keeper does.
class Judge : public testing::Test {
 protected:
  std::string look(Answer answer, std::optional<std::uint64_t> room = kRoom) { return judge.look({.answer = answer, .free_bytes = room}, now += seconds(2)); }
  /// After how many looks like this one it is due; 0: not within a minute.
  int due_after(Answer answer, std::optional<std::uint64_t> room = kRoom) {
    for (int n = 1; n <= 30; ++n)
      if (!look(answer, room).empty()) return n;
    return 0;
  }

  ServerJudge judge{seconds(20)};
  Instant now = at(1'000'000);
};

TEST_F(Judge, RestartsWhatSaysNothingForLongEnough) {
  EXPECT_EQ(due_after(Answer::kWell), 0);
  EXPECT_EQ(due_after(Answer::kSilent), 11);
  EXPECT_EQ(judge.trouble(), "accepts connections and says nothing for 20 s");
  judge.ran(true, now);
  EXPECT_EQ(judge.trouble(), "");
  EXPECT_EQ(look(Answer::kWell), "");
}

TEST_F(Judge, OneAnswerBeginsTheTimeAnew) {
  for (int i = 0; i < 10; ++i) EXPECT_EQ(look(Answer::kSilent), "");
  EXPECT_EQ(look(Answer::kWell), "");
  EXPECT_EQ(due_after(Answer::kSilent), 11);
}

TEST_F(Judge, TimeThatNobodySawProvesNothing) {
  EXPECT_EQ(look(Answer::kSilent), "");
  now += std::chrono::minutes(5);
  EXPECT_EQ(due_after(Answer::kSilent), 11) << "the daemon itself stood still";
}

TEST_F(Judge, WhatRefusesIsLeftToItsSupervisor) {
  EXPECT_EQ(due_after(Answer::kRefused), 0);
  EXPECT_EQ(judge.trouble(), "");
}

TEST_F(Judge, JetStreamThatIsOffIsRestarted) {
  EXPECT_EQ(due_after(Answer::kOff), 11);
  EXPECT_EQ(judge.trouble(), "has turned its JetStream off for 20 s");
}

TEST_F(Judge, AFullDiskIsWaitedForAndThenItIsRestartedAlsoIfItSeemsWell) {
  for (const Answer answer : {Answer::kWell, Answer::kSilent, Answer::kOff}) {
    EXPECT_EQ(due_after(answer, 0), 0) << "a restart makes no room";
    EXPECT_EQ(judge.trouble(), "has no room for its store: make room");
  }
  EXPECT_NE(look(Answer::kWell).find("had no room"), std::string::npos);
  judge.ran(true, now);
  EXPECT_EQ(due_after(Answer::kWell), 0) << "once";
  look(Answer::kWell, 0);
  EXPECT_EQ(due_after(Answer::kWell), 1) << "and again after it was full again";
  judge.ran(true, now);
  look(Answer::kWell, 0);
  EXPECT_EQ(due_after(Answer::kWell), 9) << "at most once in 20 s";
}

TEST_F(Judge, OneThatWasRestartedMeanwhileIsNotRestartedAgain) {
  look(Answer::kWell, 0);
  look(Answer::kRefused);
  EXPECT_EQ(due_after(Answer::kWell), 0);
}

TEST_F(Judge, PausesDoubleAndWhatFailedStandsOn) {
  EXPECT_EQ(due_after(Answer::kSilent), 11);
  judge.ran(false, now);
  EXPECT_NE(judge.trouble(), "");
  EXPECT_EQ(due_after(Answer::kSilent), 30) << "a minute";
  judge.ran(false, now);
  EXPECT_EQ(due_after(Answer::kSilent), 0);
  EXPECT_EQ(due_after(Answer::kSilent), 30) << "two minutes";
  EXPECT_NE(judge.trouble().find("says nothing for 2"), std::string::npos) << judge.trouble();
}

TEST_F(Judge, ADiskThatIsNearlyFullIsSaidUntilThereIsSomeRoom) {
  constexpr std::uint64_t kDisk = 100ull << 30;
  const auto used = [&](std::uint64_t percent) {
    EXPECT_EQ(judge.look({.answer = Answer::kWell, .free_bytes = kDisk / 100 * (100 - percent), .disk_bytes = kDisk}, now += seconds(2)), "") << "a restart makes no room";
    EXPECT_EQ(judge.trouble(), "");
    return judge.room();
  };
  EXPECT_EQ(used(89), "");
  EXPECT_EQ(used(92), "has its store on a disk that is more than 88 % full: make room before it stands still");
  EXPECT_NE(used(89), "") << "it does not come and go";
  EXPECT_EQ(used(86), "");
  EXPECT_EQ(look(Answer::kWell, std::nullopt), "");
  EXPECT_EQ(judge.room(), "") << "in a container the disk may not be seen";
  EXPECT_EQ(judge.look({.answer = Answer::kWell, .free_bytes = 0, .disk_bytes = kDisk}, now += seconds(2)), "");
  EXPECT_EQ(judge.room(), "") << "full is said otherwise";
}

// ---- the keeper

/// A port that accepts and says nothing.
class Mute {
 public:
  Mute() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    socklen_t size = sizeof address;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(fd_, 64) != 0) throw std::runtime_error("no port is free");
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
  }
  ~Mute() { close(fd_); }
  std::uint32_t port = 0;

 private:
  const int fd_ = socket(AF_INET, SOCK_STREAM, 0);
};

NatsServerPlan mute_witness(const Mute& mute) {
  NatsServerPlan out;
  out.kind = NatsServerPlan::Kind::kWitness;
  out.node = node(3);
  out.name = "node3-witness";
  out.address = "127.0.0.1";
  out.monitor = mute.port;
  return out;
}

TEST(ServerKeeper, RunsTheCommandWithTheServersName) {
  const TempFolder folder;
  const Mute mute;
  const std::string command =
      write_command(folder / "restart", folder / "", "echo \"$1 $DAARION_NODE $DAARION_SERVER $DAARION_SERVER_KIND\" >> out; echo no such unit >&2; exit 5");
  const ServerKeeper keeper({.exec = command, .after = seconds(1), .timeout = seconds(5)}, {mute_witness(mute)});
  ASSERT_TRUE(comes([&] { return !keeper.warnings().empty() && keeper.warnings()[0].find("no such unit") != std::string::npos; }));
  EXPECT_TRUE(keeper.warnings()[0].starts_with("the nats-server node3-witness accepts connections and says nothing for ")) << keeper.warnings()[0];
  EXPECT_EQ(contents(folder / "out"), "node3-witness node3 node3-witness witness\n");
}

TEST(ServerKeeper, SaysItWithoutACommand) {
  const Mute mute;
  const ServerKeeper keeper({.exec = {}, .after = seconds(1), .timeout = seconds(5)}, {mute_witness(mute)});
  ASSERT_TRUE(comes([&] { return !keeper.warnings().empty(); }));
  EXPECT_NE(keeper.warnings()[0].find("; restart it (control.nats.restart"), std::string::npos) << keeper.warnings()[0];
}

}  // namespace
}  // namespace daarion
