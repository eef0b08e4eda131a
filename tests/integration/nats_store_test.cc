// What a full disk leaves in a server's store, and that the server comes back from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "controlplane/drivers/nats/store.h"
#include "streams/js_request.h"
#include "streams/log_stream.h"
#include "streams/meta_leader.h"
#include "tests/integration/helpers.h"

namespace daarion::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using std::chrono::seconds;

std::vector<fs::path> meta_snapshots(const std::string& store) {
  std::vector<fs::path> out;
  for (const fs::directory_entry& e : fs::recursive_directory_iterator(store))
    if (e.is_regular_file() && e.path().string().find("_meta_/snapshots/") != std::string::npos) out.push_back(e.path());
  return out;
}

/// Whether the stream's leader counts both others as current.
bool is_whole(Connection& connection) {
  const auto info = js_request(connection, std::string("$JS.API.STREAM.INFO.") + kClusterLog, nullptr, seconds(1));
  if (!info || !info->contains("cluster")) return false;
  const Json followers = (*info)["cluster"].value("replicas", Json::array());
  return followers.size() == 2 && std::ranges::all_of(followers, [](const Json& f) { return f.value("current", false) && !f.value("offline", false); });
}

/// Ends a consumer, with which 2.9 writes a snapshot of the meta group.
void end_a_consumer(Connection& connection) {
  const Json wanted = {{"stream_name", kClusterLog}, {"config", {{"deliver_subject", "unheard"}, {"ack_policy", "none"}, {"deliver_policy", "all"}, {"replay_policy", "instant"}}}};
  const auto made = js_request(connection, std::string("$JS.API.CONSUMER.CREATE.") + kClusterLog, wanted, seconds(2));
  if (made) (void)js_request(connection, std::string("$JS.API.CONSUMER.DELETE.") + kClusterLog + "." + made->value("name", ""), nullptr, seconds(2));
}

TEST(NatsStore, AServerWhoseMetaSnapshotIsEmptyComesBack) {
  NatsServers servers({.size = 3});
  const auto a = connect(servers, {0, 1, 2}), sys = connect(servers, {0, 1, 2}, NatsServers::Account::kSys);
  provision(*a, 3);
  const auto appender = make_nats_appender(a);
  for (std::uint64_t i = 1; i <= 20; ++i) ASSERT_EQ(appender->append(subject(i), "e" + std::to_string(i), {1, i}, seconds(30)).outcome, Outcome::kStored);
  int follower = 0;
  ASSERT_TRUE(becomes([&] {
    const std::string log = stream_leader(*a, kClusterLog, seconds(1)), meta = meta_leader(*sys, seconds(1));
    for (int s = 0; s < 3; ++s)
      if (servers.name(s) != log && servers.name(s) != meta) follower = s;
    return !log.empty() && !meta.empty() && is_whole(*a);
  }));
  const std::string store = servers.folder() + "/" + servers.name(follower);
  if (!becomes([&] { end_a_consumer(*a); return !meta_snapshots(store).empty(); })) GTEST_SKIP() << "nats-server " << servers.version() << " wrote no snapshot in 30 s";
  servers.kill(follower);
  for (const fs::path& snapshot : meta_snapshots(store)) std::ofstream(snapshot, std::ios::trunc).flush();
  const auto done = mend_nats_store(store);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_NE(done->find("_meta_ aside"), std::string::npos) << *done;
  servers.start(follower);
  EXPECT_TRUE(becomes([&] { return is_whole(*a); }, seconds(60))) << "without it never, whatever is started again";
  ASSERT_EQ(appender->append(subject(21), "e21", {1, 21}, seconds(30)).outcome, Outcome::kStored);
  EXPECT_TRUE(becomes([&] { return is_whole(*a); }));
}

}  // namespace
}  // namespace daarion::test
