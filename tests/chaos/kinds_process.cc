// SIGKILL and SIGSTOP: of each process, and of everything on a node.
#include <signal.h>

#include <chrono>

#include "controlplane/node/clock.h"
#include "tests/chaos/kind.h"
#include "tests/chaos/world.h"

namespace daarion::chaos {
namespace {

using dev::Part;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::need;

constexpr Duration kBeyondLease = seconds(5);   // the lease is 2 s; then somebody else writes
constexpr milliseconds kReloadEvery{500};
constexpr double kSoonMs = 2500;                // a crash on a living host: 1 s, with a restart of the engine on two busy cores

void host_killed(World& w, const NodeId& node, bool until_another_writes) {
  // A host that loses power sends no reset: its cable is out before its processes end.
  const Instant from = node_now();
  need(w.cluster().network()->plug(node, false));
  need(w.cluster().kill(node));
  w.note(node.value + " is gone");
  if (until_another_writes) w.until_writes_at(w.replica(), from, kTakesOver);
  else w.hold(kBeyondLease);
  need(w.cluster().network()->plug(node, true));
  need(w.cluster().start(node));
}

/// The holder's stream to its replica is held first, so that there is something to lose and something to rewind.
void host_killed_with_a_tail(World& w) {
  for (const dev::ProcessInfo& p : w.cluster().processes(w.holder(), Part::kPostgres))
    if (p.command.find("walsender") != std::string::npos) dev::send_signal(p.id, SIGSTOP);
  const std::size_t rows = w.writer(w.holder()).count();
  w.until("rows that the replica does not hear of", seconds(10), [&] { return w.writer(w.holder()).count() >= rows + 20; });
  host_killed(w, w.holder(), true);
}

void daemon_killed_and_back(World& w) {
  const NodeId node = w.any();
  w.note("the daemon of " + node.value);
  need(w.cluster().kill(node, Part::kDaemon));
  need(w.cluster().start(node, Part::kDaemon));
}

/// Each comes before the daemon has rested from the last.
void daemon_reloaded(World& w) {
  const NodeId node = w.any();
  w.note("the daemon of " + node.value);
  for (int i = 0; i < 4; ++i) {
    if (const auto daemon = test::daemon_of(w.cluster(), node)) dev::send_signal(*daemon, SIGHUP);
    w.hold(kReloadEvery);
  }
}

void daemon_away(World& w) {
  const Instant from = node_now();
  need(w.cluster().kill(w.holder(), Part::kDaemon));
  w.until_writes_at(w.replica(), from, kTakesOver);
  need(w.cluster().start(w.holder(), Part::kDaemon));
}

void one_guard(World& w, int signal) {
  const auto guards = w.cluster().processes(w.holder(), Part::kGuard);
  if (guards.empty()) throw test::Failed{"no guard runs on " + w.holder().value};
  const dev::ProcessInfo victim = w.chance().one_of(guards);
  w.note(victim.name + " of " + w.holder().value);
  const Instant from = node_now();
  dev::send_signal(victim.id, signal);
  w.until("a row of a new epoch", kTakesOver, [&] {
    const auto view = w.cluster().view(w.edge());
    return view && view->resource(kPostgres) && !view->holder_of(kPostgres).empty() && !dev::lives(victim.id) && w.last_write() > from + milliseconds(500);
  });
}

void guards_killed(World& w) {
  need(w.cluster().kill(w.holder(), Part::kGuard));
  w.hold(seconds(3));
}

void postmaster_killed(World& w) {
  need(w.cluster().kill(w.holder(), Part::kPostmaster));
  w.hold(seconds(3));
}

void nats_killed(World& w) {
  const bool witness = w.chance().below(3) == 0;
  const NodeId node = witness ? w.edge() : w.data_node();
  const Part part = witness ? Part::kWitness : Part::kNats;
  w.note(std::string(dev::kPartNames[static_cast<int>(part)]) + " of " + node.value);
  need(w.cluster().kill(node, part));
  w.hold(kBeyondLease);
  need(w.cluster().start(node, part));
}

void nats_all_killed(World& w) {
  for (const NodeId& node : {w.holder(), w.replica()}) need(w.cluster().kill(node, Part::kNats));
  need(w.cluster().kill(w.edge(), Part::kWitness));
  w.hold(kBeyondLease);
  for (const NodeId& node : {w.holder(), w.replica()}) need(w.cluster().start(node, Part::kNats));
  need(w.cluster().start(w.edge(), Part::kWitness));
}

void edge_server_killed(World& w) {
  need(w.cluster().kill(w.edge(), Part::kNats));
  w.hold(kBeyondLease);
  need(w.cluster().start(w.edge(), Part::kNats));
}

void paused(World& w, const NodeId& node, Part part, Duration length) {
  w.note(std::string(dev::kPartNames[static_cast<int>(part)]) + " of " + node.value + " stands still for " + std::to_string(to_ms(length)) + " ms");
  need(w.cluster().pause(node, part));
  w.hold(length);
  need(w.cluster().resume(node, part));
}

void node_wakes_late(World& w) {
  const Instant from = node_now();
  need(w.cluster().pause(w.holder()));
  w.until_writes_at(w.replica(), from, kTakesOver);
  w.hold(seconds(2));
  w.note(w.holder().value + " wakes");
  need(w.cluster().resume(w.holder()));
}

void both_data_hosts_killed(World& w) {
  for (const NodeId& node : {w.holder(), w.replica()}) need(w.cluster().kill(node));
  w.hold(seconds(3));
  for (const NodeId& node : {w.holder(), w.replica()}) need(w.cluster().start(node));
}

void all_killed(World& w) {
  for (const NodeId& node : w.cluster().nodes()) need(w.cluster().kill(node));
  need(w.cluster().start_all());
}

}  // namespace

void add_process_kinds(std::vector<Kind>& to) {
  const auto add = [&](Kind kind) { to.push_back(std::move(kind)); };
  add({.name = "host_killed", .text = "the holder's host loses power", .cost_s = 13, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .quick = true,
       .run = [](World& w) { host_killed(w, w.holder(), true); }});
  add({.name = "host_killed_with_a_tail", .text = "the same, with rows that its replica never got", .cost_s = 19, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1,
       .run = host_killed_with_a_tail});
  add({.name = "replica_host_killed", .text = "the replica's host loses power", .cost_s = 12, .outage_ms = kNoneMs, .run = [](World& w) { host_killed(w, w.replica(), false); }});
  add({.name = "edge_host_killed", .text = "the edge's host, with the witness, loses power", .cost_s = 16, .outage_ms = kNoneMs, .run = [](World& w) { host_killed(w, w.edge(), false); }});
  add({.name = "both_data_hosts_killed", .text = "both hosts with data at once, back after 3 s", .cost_s = 13, .outage_ms = 30'000, .fewest_promotions = 1, .most_promotions = 2, .run = both_data_hosts_killed});
  add({.name = "all_killed", .text = "every process of every node at once", .cost_s = 15, .outage_ms = 30'000, .fewest_promotions = 1, .most_promotions = 2, .run = all_killed});
  add({.name = "daemon_killed", .text = "a daemon dies and is started again at once", .cost_s = 5, .outage_ms = kNoneMs, .quick = true, .run = daemon_killed_and_back});
  add({.name = "daemon_reloaded", .text = "a daemon is told to read its files again, four times in two seconds", .cost_s = 6, .outage_ms = kNoneMs, .run = daemon_reloaded});
  add({.name = "daemon_away", .text = "the holder's daemon dies and stays away", .cost_s = 7, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .run = daemon_away});
  add({.name = "guard_killed", .text = "one of the holder's two guards dies", .cost_s = 6, .outage_ms = kSoonMs, .fewest_promotions = 1, .most_promotions = 1,
       .run = [](World& w) { one_guard(w, SIGKILL); }});
  add({.name = "guard_stopped", .text = "the holder's guards stand still for 5 s", .cost_s = 16, .outage_ms = 9000, .most_promotions = 1, .stray_ms = 300,
       .run = [](World& w) { paused(w, w.holder(), Part::kGuard, kBeyondLease); }});
  add({.name = "guards_killed", .text = "both of the holder's guards at once", .cost_s = 7, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .run = guards_killed});
  add({.name = "postmaster_killed", .text = "the holder's postmaster alone", .cost_s = 8, .outage_ms = kSoonMs, .fewest_promotions = 1, .most_promotions = 1, .quick = true, .run = postmaster_killed});
  add({.name = "nats_killed", .text = "one nats-server of the core, for 5 s", .cost_s = 10, .outage_ms = kNoneMs, .run = nats_killed});
  add({.name = "nats_all_killed", .text = "every nats-server of the core, for 5 s", .cost_s = 18, .outage_ms = kNoneMs, .run = nats_all_killed});
  add({.name = "edge_nats_killed", .text = "the edge's own nats-server, for 5 s", .cost_s = 10, .outage_ms = kNoneMs, .run = edge_server_killed});
  add({.name = "daemon_stopped", .text = "the holder's daemon stands still for 5 s", .cost_s = 10, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1,
       .run = [](World& w) { paused(w, w.holder(), Part::kDaemon, kBeyondLease); }});
  add({.name = "postgres_stopped", .text = "every process of the holder's PostgreSQL stands still for 5 s", .cost_s = 10, .outage_ms = 7000, .most_promotions = 1,
       .run = [](World& w) { paused(w, w.holder(), Part::kPostgres, kBeyondLease); }});
  add({.name = "nats_stopped", .text = "one nats-server of the core stands still for 8 s", .cost_s = 13, .outage_ms = kNoneMs,
       .run = [](World& w) { paused(w, w.data_node(), Part::kNats, seconds(8)); }});
  add({.name = "node_pauses", .text = "the holder's whole node stands still for 0.7 s", .cost_s = 6, .outage_ms = 1500,
       .run = [](World& w) { paused(w, w.holder(), Part::kNode, milliseconds(700)); }});
  add({.name = "node_wakes_late", .text = "the holder's whole node stands still beyond its lease, and wakes", .cost_s = 9, .outage_ms = kHostLostMs, .fewest_promotions = 1, .most_promotions = 1, .stray_ms = 200,
       .quick = true, .run = node_wakes_late});
}

}  // namespace daarion::chaos
