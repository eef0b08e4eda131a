// Six deciders race for each of 200 epochs on a stream with three replicas: one of them wins each, and the others learn it.
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <map>
#include <thread>

#include "streams/log_stream.h"
#include "streams/nats_appender.h"
#include "streams/nats_log_reader.h"
#include "tests/harness/figures.h"
#include "tests/harness/nats_servers.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = AppendResult::Outcome;

constexpr int kDeciders = 6;
constexpr std::uint64_t kEpochs = 200;
constexpr int kInFlightWanted = 150;

struct Try {
  Clock::time_point begun, ended;
  AppendResult result;
};

/// The most publishes that were in flight at one moment of the epoch.
int in_flight(const std::vector<Try>& tries) {
  int most = 0;
  for (const Try& a : tries) {
    int n = 0;
    for (const Try& b : tries) n += b.begun <= a.begun && a.begun < b.ended ? 1 : 0;
    most = std::max(most, n);
  }
  return most;
}

void race_on(const std::string& binary) {
  const test::NatsServers servers({.size = 3, .binary = binary});
  std::vector<std::shared_ptr<Connection>> connections;
  for (int d = 0; d < kDeciders; ++d) {
    auto connection = Connection::open(servers.endpoint({d % 3, (d + 1) % 3, (d + 2) % 3}, "decider" + std::to_string(d)));
    ASSERT_TRUE(connection);
    ASSERT_TRUE((*connection)->wait_connected(seconds(10)));
    connections.push_back(*connection);
  }
  const auto end = Clock::now() + seconds(30);
  while (!provision_core_streams(*connections[0], 3, seconds(2))) {
    ASSERT_LT(Clock::now(), end) << "the cluster did not come up";
    std::this_thread::sleep_for(milliseconds(50));
  }

  std::vector<std::vector<Try>> tries(kEpochs, std::vector<Try>(kDeciders));
  std::barrier line(kDeciders);
  std::vector<std::thread> threads;
  for (int d = 0; d < kDeciders; ++d)
    threads.emplace_back([&, d] {
      const auto appender = make_nats_appender(connections[static_cast<std::size_t>(d)]);
      for (std::uint64_t epoch = 1; epoch <= kEpochs; ++epoch) {
        line.arrive_and_wait();
        Try& mine = tries[epoch - 1][static_cast<std::size_t>(d)];
        mine.begun = Clock::now();
        mine.result = appender->append(log_subject({"lease", "stub"}, {epoch}), "decider " + std::to_string(d),
                                       {epoch, static_cast<std::uint64_t>(d) + 1}, seconds(20));
        mine.ended = Clock::now();
      }
    });
  for (std::thread& thread : threads) thread.join();

  std::map<std::string, int> stored;
  const auto reader = make_nats_log_reader({connections[0], connections[1]}, kClusterLog, {1});
  const auto head = make_nats_log_info(connections[0])->head(seconds(5));
  ASSERT_TRUE(head);
  std::vector<std::string> winners(kEpochs);
  for (std::uint64_t i = 1; i <= head->head.value; ++i) {
    const auto next = reader->next(seconds(5));
    ASSERT_TRUE(next && *next);
    ++stored[(*next)->subject];
    winners[i - 1] = (*next)->payload;
  }

  int raced = 0, single = 0, agreed = 0;
  for (std::uint64_t epoch = 1; epoch <= kEpochs; ++epoch) {
    const std::vector<Try>& all = tries[epoch - 1];
    raced += in_flight(all) >= 2 ? 1 : 0;
    single += stored[log_subject({"lease", "stub"}, {epoch})] == 1 ? 1 : 0;
    int won = 0;
    bool one_answer = true;
    for (int d = 0; d < kDeciders; ++d) {
      const AppendResult& r = all[static_cast<std::size_t>(d)].result;
      won += r.outcome == Outcome::kStored ? 1 : 0;
      one_answer = one_answer && r.outcome != Outcome::kUnknown && r.sequence == all[0].result.sequence;
      if (r.outcome == Outcome::kStored) one_answer = one_answer && winners[r.sequence.value - 1] == "decider " + std::to_string(d);
    }
    agreed += won == 1 && one_answer ? 1 : 0;
  }
  test::say_machine(servers.version());
  EXPECT_TRUE(test::say({.name = "race_epochs_stored_once", .value = double(single), .unit = "epochs", .samples = {}, .limit = "=200", .ok = single == int(kEpochs)}));
  EXPECT_TRUE(test::say({.name = "race_epochs_one_winner", .value = double(agreed), .unit = "epochs", .samples = {}, .limit = "=200", .ok = agreed == int(kEpochs)}));
  EXPECT_TRUE(test::say({.name = "race_epochs_in_flight", .value = double(raced), .unit = "epochs", .samples = {}, .limit = ">=150", .ok = raced >= kInFlightWanted}));
  EXPECT_EQ(stored.size(), kEpochs);
}

TEST(Race, OneEventPerEpochOnThePackagedServer) { race_on("nats-server"); }

TEST(Race, OneEventPerEpochOnTheServerNamed) {
  const char* named = std::getenv("NATS_SERVER");
  if (named == nullptr) GTEST_SKIP() << "NATS_SERVER names no other server";
  race_on(named);
}

}  // namespace
}  // namespace daarion
