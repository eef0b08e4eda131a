#include "tests/sim/faults.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;

Host& any_host(World& w) { return *w.hosts()[static_cast<std::size_t>(w.random().between(0, static_cast<std::int64_t>(w.hosts().size()) - 1))]; }

/// Faults aim at the holder half of the time: there they matter.
Host& victim(World& w) {
  if (w.random().chance(0.5))
    for (auto& host : w.hosts())
      if (host->engine.writable()) return *host;
  return any_host(w);
}

void partition(World& w) {
  const int n = static_cast<int>(w.hosts().size());
  const int kind = static_cast<int>(w.random().between(0, 3));
  const int one = victim(w).index;
  const int other = (one + static_cast<int>(w.random().between(1, n - 1))) % n;
  std::vector<std::pair<int, int>> links;
  const auto both = [&](int a, int b) {
    links.emplace_back(a, b);
    links.emplace_back(b, a);
  };
  if (kind == 0) {  // alone
    for (int i = 0; i < n; ++i)
      if (i != one) both(one, i);
  } else if (kind == 1) {  // a bridge: two that cannot hear each other, others hear both
    both(one, other);
  } else if (kind == 2) {  // one way
    links.emplace_back(one, other);
  } else {  // it is heard by nobody, and hears all
    for (int i = 0; i < n; ++i)
      if (i != one) links.emplace_back(one, i);
  }
  w.note("partition kind " + std::to_string(kind) + " at node" + std::to_string(one + 1));
  for (const auto& [a, b] : links) w.cut(a, b, true);
  w.after(w.random().between(milliseconds(300), seconds(8)), [&w, links] {
    for (const auto& [a, b] : links) w.cut(a, b, false);
    w.note("partition over");
  });
}

void lose_host(World& w) {
  Host& host = victim(w);
  const bool reboot = w.random().chance(0.6);
  const bool restore = reboot && w.random().chance(0.2);
  w.kill_host(host, reboot, restore);
  if (w.random().chance(0.4)) w.lose_log_leader(w.random().between(seconds(4), seconds(9)));
  w.after(w.random().between(milliseconds(200), seconds(8)), [&w, &host] {
    if (!host.up) host.booted = w.now();
    w.start_host(host);
  });
}

void operators_wish(World& w) {
  const ResourceId postgres("postgres");
  const State& s = w.reference();
  const LeaseState* lease = s.lease(postgres);
  if (lease == nullptr || lease->completed.epoch.value == 0) return;
  const int kind = static_cast<int>(w.random().between(0, 2));
  if (kind == 0) {
    SwitchoverRequested wish{.from = lease->completed.node, .to = any_host(w).id, .forced = w.random().chance(0.2),
                             .allow_data_loss = w.random().chance(0.2), .valid_ms = 8000, .request = {}};
    if (wish.to == wish.from || wish.to == NodeId("node3")) wish.to = {};
    w.append_by_hand(wish, postgres, {}, "operator:sim", wish.from);
  } else if (s.paused(postgres)) {
    w.append_by_hand(Resumed{}, {}, {}, "operator:sim", NodeId("node1"));
  } else {
    w.append_by_hand(Paused{}, {}, {}, "operator:sim", NodeId("node1"));
    w.after(w.random().between(seconds(1), seconds(8)), [&w] {
      if (w.reference().paused(ResourceId("postgres")))
        w.append_by_hand(Resumed{}, {}, {}, "operator:sim", NodeId("node1"));
    });
  }
}

/// Decisions may be wrong in any way, and still no two write.
void nominate(World& w) {
  const ResourceId postgres("postgres");
  const LeaseState* lease = w.reference().lease(postgres);
  if (lease == nullptr || lease->epoch.value == 0) return;
  Host& host = any_host(w);
  PromotionDecided decided{.to = host.id, .session = w.random().chance(0.8) ? host.guard.next : w.random().id<SessionTag>()};
  w.append_by_hand(decided, postgres, Epoch{lease->epoch.value + static_cast<std::uint64_t>(w.random().between(1, 3))}, "operator:chance",
                   NodeId("node1"));
}

void one_fault(World& w) {
  if (w.knobs().log_faults_only) return w.lose_log_leader(w.random().between(seconds(1), seconds(9)));
  const auto kind = w.random().between(0, 99);
  if (kind < 14) {
    Host& host = victim(w);
    w.kill_daemon(host);
    w.after(w.random().between(milliseconds(50), seconds(4)), [&w, &host] { w.start_daemon(host); });
  } else if (kind < 34) {
    lose_host(w);
  } else if (kind < 46) {
    w.pause_daemon(victim(w), w.random().between(milliseconds(50), seconds(6)));
  } else if (kind < 54) {
    w.kill_guard(victim(w));
  } else if (kind < 64) {
    w.crash_engine(victim(w));
  } else if (kind < 80) {
    partition(w);
  } else if (kind < 86) {
    w.lose_log_leader(w.random().between(seconds(4), seconds(9)));
  } else if (kind < 90) {
    w.set_nats(false);
    w.note("nats down");
    w.after(w.random().between(milliseconds(100), seconds(4)), [&w] {
      w.set_nats(true);
      w.note("nats up");
    });
  } else {
    operators_wish(w);
  }
}

/// A node whose disk was replaced, or that somebody set up twice: the old host may be cut off meanwhile, and comes back.
void build_again(World& w) {
  Host& old = victim(w);
  const int n = static_cast<int>(w.hosts().size());
  const int one = old.index;
  if (w.random().chance(0.5)) {
    for (int i = 0; i < n; ++i)
      if (i != one) w.cut(one, i, true), w.cut(i, one, true);
    w.after(w.random().between(milliseconds(300), seconds(8)), [&w, n, one] {
      for (int i = 0; i < n; ++i) w.cut(one, i, false), w.cut(i, one, false);
    });
  }
  w.second_host(old);
}

}  // namespace

void schedule_faults(World& w, Instant from, Instant until) {
  const Duration span = until - from;
  for (int i = 0; i < w.knobs().faults; ++i)
    w.after(from - w.now() + w.random().between(Duration(0), span), [&w] { one_fault(w); });
  if (w.knobs().second_host) w.after(from - w.now() + w.random().between(Duration(0), span), [&w] { build_again(w); });
  if (w.knobs().nominations > 0)
    for (Instant t = from; t < until; t += seconds(1))
      if (w.random().chance(w.knobs().nominations)) w.after(t - w.now(), [&w] { nominate(w); });
}

}  // namespace daarion::sim
