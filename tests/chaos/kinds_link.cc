// Links: full, partial, one-way, bridge and flapping partitions, loss, delay.
#include <chrono>

#include "controlplane/node/clock.h"
#include "tests/chaos/kind.h"
#include "tests/chaos/slow_link.h"
#include "tests/chaos/world.h"

namespace daarion::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::need;

constexpr Duration kWhile = seconds(6);   // beyond lease, beat and NATS's pings

void holder_isolated(World& w) {
  const Instant from = node_now();
  w.isolate(w.holder());
  w.until_writes_at(w.replica(), from, kTakesOver);
  w.hold(seconds(2));
  need(w.cluster().heal());
}

void one_way(World& w, bool out) {
  const NodeId holder = w.holder();
  for (const NodeId& other : {w.replica(), w.edge()}) need(out ? w.cluster().cut(holder, other, true) : w.cluster().cut(other, holder, true));
  w.hold(kWhile);
  need(w.cluster().heal());
}

void pair_cut(World& w, const NodeId& a, const NodeId& b) {
  w.note(a.value + " and " + b.value + " do not hear each other; the third hears both");
  need(w.cluster().cut(a, b));
  w.hold(kWhile);
  need(w.cluster().heal());
}

void node_isolated(World& w, const NodeId& node) {
  w.isolate(node);
  w.hold(kWhile);
  need(w.cluster().heal());
}

void all_cut(World& w) {
  for (const NodeId& node : w.cluster().nodes()) w.isolate(node);
  w.hold(seconds(8));
  need(w.cluster().heal());
}

void flapping(World& w) {
  const NodeId node = w.chance().coin() ? w.holder() : w.edge();
  w.note("the links of " + node.value + " come and go");
  for (int i = 0; i < 8; ++i) {
    w.isolate(node);
    w.hold(milliseconds(200 + w.chance().below(1000)));
    need(w.cluster().heal());
    w.hold(milliseconds(200 + w.chance().below(800)));
  }
}

/// Links are cut one by one and healed in another order.
void clogged(World& w) {
  std::vector<std::pair<NodeId, NodeId>> ways;
  for (const NodeId& a : w.cluster().nodes())
    for (const NodeId& b : w.cluster().nodes())
      if (a != b) ways.emplace_back(a, b);
  for (const bool cut : {true, false}) {
    for (std::size_t i = ways.size(); i > 1; --i) std::swap(ways[i - 1], ways[w.chance().below(i)]);
    for (const auto& [a, b] : ways) {
      need(w.cluster().cut(a, b, true, cut ? 100 : 0));
      w.hold(milliseconds(300 + w.chance().below(700)));
    }
  }
  need(w.cluster().heal());
}

void loss(World& w, int percent) {
  const NodeId node = w.holder();
  for (const NodeId& other : {w.replica(), w.edge()}) need(w.cluster().cut(node, other, false, percent));
  w.hold(seconds(15));
  need(w.cluster().heal());
}

void slow(World& w, Duration delay, Duration jitter) {
  const NodeId node = w.any();
  w.note("the link of " + node.value + ": " + std::to_string(to_ms(delay)) + " ms and up to " + std::to_string(to_ms(jitter)) + " ms more, each way");
  SlowLink link(*w.cluster().network(), node, delay, jitter, w.chance().below(1U << 30));
  w.hold(seconds(12));
}

}  // namespace

void add_link_kinds(std::vector<Kind>& to) {
  const auto add = [&](Kind kind) { to.push_back(std::move(kind)); };
  add({.name = "holder_isolated", .text = "the holder is cut off from both others", .cost_s = 14, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .quick = true, .run = holder_isolated});
  add({.name = "holder_unheard", .text = "one way: what the holder sends reaches nobody", .cost_s = 16, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .quick = true,
       .run = [](World& w) { one_way(w, true); }});
  add({.name = "holder_deaf", .text = "one way: nothing reaches the holder", .cost_s = 30, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .run = [](World& w) { one_way(w, false); }});
  add({.name = "replica_isolated", .text = "the replica is cut off from both others", .cost_s = 13, .outage_ms = kNoneMs, .run = [](World& w) { node_isolated(w, w.replica()); }});
  add({.name = "edge_isolated", .text = "the edge is cut off from both others", .cost_s = 12, .outage_ms = kNoneMs, .run = [](World& w) { node_isolated(w, w.edge()); }});
  add({.name = "bridge", .text = "holder and replica do not hear each other, the edge hears both", .cost_s = 12, .outage_ms = kNoneMs, .run = [](World& w) { pair_cut(w, w.holder(), w.replica()); }});
  add({.name = "partial", .text = "the edge and one of the others do not hear each other", .cost_s = 12, .outage_ms = kNoneMs, .run = [](World& w) { pair_cut(w, w.edge(), w.data_node()); }});
  add({.name = "all_cut", .text = "nobody hears anybody, for 8 s", .cost_s = 23, .outage_ms = 25'000, .most_promotions = 2, .run = all_cut});
  add({.name = "flapping", .text = "a node's links come and go eight times", .cost_s = 24, .outage_ms = 15'000, .most_promotions = 3, .run = flapping});
  add({.name = "clogged", .text = "all links stop one by one, and come back in another order", .cost_s = 26, .outage_ms = 25'000, .most_promotions = 3, .run = clogged});
  add({.name = "loss_10", .text = "of a hundred packets from and to the holder, 10 are lost", .cost_s = 23, .outage_ms = 5000, .most_promotions = 1, .run = [](World& w) { loss(w, 10); }});
  add({.name = "loss_30", .text = "of a hundred packets from and to the holder, 30 are lost", .cost_s = 21, .outage_ms = 25'000, .most_promotions = 3, .run = [](World& w) { loss(w, 30); }});
  add({.name = "slow_link", .text = "a node's link is slow and jittery: 40 to 80 ms each way", .cost_s = 18, .outage_ms = kNoneMs,
       .run = [](World& w) { slow(w, milliseconds(40), milliseconds(40)); }});
  add({.name = "very_slow_link", .text = "a node's link is slow and jittery: 150 to 300 ms each way", .cost_s = 18, .outage_ms = 5000, .most_promotions = 1,
       .run = [](World& w) { slow(w, milliseconds(150), milliseconds(150)); }});
}

}  // namespace daarion::chaos
