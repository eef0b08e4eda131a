// Two of three nodes are gone for good, disks and all, with their nats-servers: what docs/operator-guide.md says to do then.
#include <algorithm>
#include <chrono>

#include "controlplane/dev/local_cluster.h"
#include "controlplane/node/clock.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using namespace test;
using dev::Part;
using std::chrono::seconds;

/// The node is lost with everything that is on its disks; its place is as before, and empty.
void lose_for_good(dev::LocalCluster& cluster, const NodeId& node) {
  need(cluster.kill(node));
  for (const std::string& at : {cluster.node_folder(node) + "/data", cluster.node_folder(node) + "/nats", cluster.node_folder(node) + "/witness", cluster.data_dir_of(node)}) {
    if (!std::filesystem::exists(at)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(at)) std::filesystem::remove_all(entry.path());
  }
}

TEST(Override, OneOfThreeGoesOnAndTheOthersJoinItAnew) {
  auto made = ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  add_to_control(cluster, "log_sync: 2s");  // no power is cut here, so nobody need wait for the servers' disks
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter two(cluster.application(kTwo), "two");
  EXPECT_EQ(ctl(cluster, kTwo, "override --voters node2 --others-off 'they are not' --reason test --yes"), 5) << "the others are heard";

  const Instant lost = node_now();
  lose_for_good(cluster, kOne);
  lose_for_good(cluster, kThree);
  ASSERT_OK(cluster.await(kTwo, "word that nobody else is heard", seconds(20), [](const dev::ClusterView& v) { return v.voters == 3 && v.reachable == 1; }));
  const auto known = cluster.view(kTwo);
  ASSERT_OK(known);

  // Their nats-servers come back empty, one after the other: the first of them gives the one that is left a majority, and it has every stream. The next one
  // only when the one before has all of each: with the next one's vote it is elected where it has not, and begins the stream anew.
  const auto copies = [&](std::size_t wanted) {
    const auto log = log_followers(cluster, kThree);
    return log && log->last >= known->sequence && whole_followers(cluster, kThree).value_or(0) == wanted;
  };
  ASSERT_OK(cluster.start(kOne, Part::kNats));
  ASSERT_OK(cluster.await_that("every stream at two servers", seconds(90), cluster.log_of(kTwo, Part::kNats), [&] { return copies(1); }));
  ASSERT_OK(cluster.start(kThree, Part::kWitness));
  ASSERT_OK(cluster.await_that("every stream at three servers", seconds(90), cluster.log_of(kTwo, Part::kNats), [&] { return copies(2); }));
  ASSERT_OK(cluster.start(kThree, Part::kNats));
  ASSERT_OK(cluster.start(kOne, Part::kDaemon));
  ASSERT_OK(cluster.start(kThree, Part::kDaemon));
  ASSERT_OK(cluster.await(kTwo, "a wait for words that nobody can give", seconds(60), [](const dev::ClusterView& v) {
    return std::ranges::any_of(v.waits, [](const std::string& w) { return w.find("daarionctl override --voters node2") != std::string::npos; });
  }));
  EXPECT_EQ(two.first_after(lost + seconds(2)), kNever) << "somebody was promoted without a majority";

  EXPECT_EQ(ctl(cluster, kTwo, "override --voters node1,node2 --others-off burnt --reason test --yes"), 5) << "node1 is another installation now";
  EXPECT_EQ(ctl(cluster, kTwo, "override --voters node2 --others-off burnt --reason test"), 2) << "it asks first";
  EXPECT_EQ(ctl(cluster, kTwo, "override --voters node2 --others-off 'the rack burnt down' --reason test --yes"), 0);
  const Instant granted = node_now();
  // Where it took longer than a replica may be stale, what it has is all that there is, and somebody has to say so.
  ASSERT_OK(cluster.await_that("rows at node2", seconds(60), cluster.log_of(kTwo, Part::kDaemon), [&] {
    if (two.first_after(granted) == kNever) ctl(cluster, kTwo, "failover postgres --to node2 --allow-data-loss --reason 'nothing else is left' --timeout 10");
    return two.first_after(granted) != kNever;
  }));
  ASSERT_OK(cluster.await(kTwo, "the new installations of both others in the voter set", seconds(90), [](const dev::ClusterView& v) { return v.voters == 3 && v.reachable == 3; }));
  ASSERT_OK(cluster.await_settled(seconds(60)));

  const auto view = cluster.view(kTwo);
  ASSERT_OK(view);
  const auto log = read_log(cluster, Sequence{1}, Sequence{view->sequence}, kThree);
  ASSERT_OK(log);
  const LogEvent* word = last_of<OverrideGranted>(log->events);
  ASSERT_NE(word, nullptr);
  EXPECT_EQ(std::get<OverrideGranted>(word->event.payload).others_off, "the rack burnt down");
  EXPECT_EQ(view->log_id, to_text(LogId{word->event.header.id.hi, word->event.header.id.lo}));
  EXPECT_GT(view->resource(kPostgres)->epoch, 1000u);
  EXPECT_EQ(ctl(cluster, kThree, "replay"), 0) << "a node that folded all of it from the start has the same digest";
}

}  // namespace
}  // namespace daarion
