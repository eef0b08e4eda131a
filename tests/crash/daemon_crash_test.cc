// SIGKILL of the real daemon under load, at moments that chance picks: after each, what it says of itself is the fold of the log as
// somebody else reads it, digest for digest. Its guard lives on, and so does its database.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "consumers/state_store.h"
#include "controlplane/core/fold.h"
#include "controlplane/node/clock.h"
#include "controlplane/node/ids.h"
#include "streams/codec.h"
#include "streams/log_stream.h"
#include "streams/nats_appender.h"
#include "streams/nats_log_reader.h"
#include "tests/cluster/kit.h"
#include "tests/harness/figures.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const NodeId kNode("node1");
constexpr Duration kLimit = seconds(60);

/// Reads the log beside the daemon and remembers the digest after each event.
class Referee {
 public:
  explicit Referee(std::shared_ptr<Connection> connection) : reader_(make_nats_log_reader({connection}, kClusterLog, Sequence{1})), thread_([this] { read(); }) {}
  ~Referee() {
    closed_ = true;
    thread_.join();
  }
  std::uint64_t count() {
    const std::lock_guard lock(mutex_);
    return digests_.size();
  }
  std::string digest_at(std::uint64_t sequence) {
    const std::lock_guard lock(mutex_);
    return sequence == 0 || sequence > digests_.size() ? "" : digests_[sequence - 1];
  }

 private:
  void read() {
    State state;
    std::vector<StateKey> touched;
    while (!closed_) {
      const auto message = reader_->next(milliseconds(50));
      if (!message || !*message) continue;
      const auto event = decode_event(**message);
      if (!event) return;
      touched.clear();
      fold_into(state, *event, touched);
      const std::lock_guard lock(mutex_);
      digests_.push_back(to_text(state_digest(state)));
    }
  }
  std::unique_ptr<LogReader> reader_;
  std::atomic<bool> closed_ = false;
  std::mutex mutex_;
  std::vector<std::string> digests_;
  std::thread thread_;
};

/// Appends some 400 events a second: operators' words about a resource that there is not.
class Load {
 public:
  Load(std::shared_ptr<Connection> connection, std::string name) : thread_([this, connection, name] { append(connection, name); }) {}
  ~Load() {
    closed_ = true;
    thread_.join();
  }
  std::uint64_t stored() const { return stored_; }

 private:
  void append(const std::shared_ptr<Connection>& connection, const std::string& name) {
    const auto appender = make_nats_appender(connection);
    for (std::uint64_t version = 1; !closed_; ++version) {
      Event event;
      const std::int64_t wall = wall_time_ns();
      event.payload = version % 2 ? Payload(Paused{}) : Payload(Resumed{});
      event.header = {.id = event_id(wall), .node = kNode, .actor = "operator:load", .reason = "load", .resource = ResourceId(name), .wall_time_ns = wall,
                      .aggregate = aggregate_of(event.payload, {}, ResourceId(name)), .version = {version}};
      const auto result = appender->append(log_subject(event.header.aggregate, event.header.version), encode_event(event), event.header.id, seconds(5));
      if (result.outcome != AppendResult::Outcome::kStored) return;
      ++stored_;
      std::this_thread::sleep_for(milliseconds(2));  // the load's rhythm: what matters is that every kill falls among events
    }
  }
  std::atomic<bool> closed_ = false;
  std::atomic<std::uint64_t> stored_ = 0;
  std::thread thread_;
};

TEST(DaemonCrash, WhatItSaysAfterEachKillIsTheFoldOfTheLog) {
  const char* asked = std::getenv("CRASH_N");
  const int kills = asked ? std::atoi(asked) : 40;
  auto made = test::ScratchCluster::make(1);
  ASSERT_TRUE(made) << made.error().message;
  test::ScratchCluster& cluster = *made;
  const auto started = cluster->start_all();
  ASSERT_TRUE(started) << started.error().message;
  const auto settled = cluster->await_settled(kLimit);
  EXPECT_TRUE(settled) << settled.error().message;

  const auto connection = [&](const std::string& name) {
    return Connection::open({.urls = {cluster->servers()[0].url()}, .user = kControlUser, .password = cluster->secrets()["DAARION_CONTROL_PASSWORD"], .name = name}).value();
  };
  int equal = 0, during_start = 0;
  std::uint64_t chance = 7, last = 0, folded_between = 0;
  {
    Referee referee(connection("referee"));
    Load one(connection("load1"), "load1"), two(connection("load2"), "load2");
    for (int i = 0; i < kills && settled; ++i) {
      chance = chance * 6364136223846793005 + 1442695040888963407;
      const milliseconds moment((chance >> 33) % 400);  // the fault's own moment: while it starts, catches up, or folds live
      std::thread killer([&] {
        std::this_thread::sleep_for(moment);
        (void)cluster->kill(kNode, dev::Part::kDaemon);
      });
      if (i > 0) {
        if (!cluster->start(kNode, dev::Part::kDaemon)) ++during_start;
      }
      killer.join();
      const auto again = cluster->start(kNode, dev::Part::kDaemon);
      ASSERT_TRUE(again) << again.error().message;
      const std::uint64_t head = referee.count();
      const auto view = cluster->await(kNode, "the daemon to fold what was appended before it started", kLimit, [&](const dev::ClusterView& v) { return v.sequence >= head; });
      ASSERT_TRUE(view) << view.error().message;
      ASSERT_TRUE(dev::LocalCluster::await_that("the referee", kLimit, "", [&] { return referee.count() >= view->sequence; }));
      EXPECT_EQ(view->digest, referee.digest_at(view->sequence)) << "after kill " << i << " at sequence " << view->sequence;
      for (const std::string& warning : view->warnings) EXPECT_EQ(warning.find("rebuilt"), std::string::npos) << "a kill is no corruption: " << warning;
      equal += view->digest == referee.digest_at(view->sequence) ? 1 : 0;
      folded_between += view->sequence > last ? 1 : 0;
      last = view->sequence;
    }
    std::printf("%llu events appended meanwhile; %d kills came before the daemon served\n", static_cast<unsigned long long>(one.stored() + two.stored()), during_start);
    EXPECT_GT(one.stored() + two.stored(), static_cast<std::uint64_t>(kills) * 10) << "there was no load: nothing was tested";
  }
  test::say_machine("nats");
  EXPECT_TRUE(test::say({.name = "crash_daemon_digests_equal", .value = double(equal), .unit = "kills", .samples = {}, .limit = "=" + std::to_string(kills),
                         .ok = equal == kills && folded_between == static_cast<std::uint64_t>(kills)}));
}

}  // namespace
}  // namespace daarion
