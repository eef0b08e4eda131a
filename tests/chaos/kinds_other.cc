// What is neither process, link nor store: hands, names, clocks, load.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "controlplane/node/clock.h"
#include "tests/chaos/kind.h"
#include "tests/chaos/world.h"
#include "tests/harness/busy_loops.h"

namespace daarion::chaos {
namespace {

using dev::Part;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::need;


void switchover(World& w) {
  const Instant from = node_now();
  need(test::switchover(w.cluster(), w.any(), w.replica(), "chaos: switchover"));
  w.until_writes_at(w.replica(), from, kTakesOver);
}

/// An operator promotes the replica's PostgreSQL by hand. Until the node sees it, it takes writes.
void second_primary(World& w) {
  auto c = need(w.cluster().superuser(w.replica(), seconds(2)));
  need(c->query("select pg_promote(false)", seconds(2)));
  w.note("pg_promote on " + w.replica().value + ", by hand");
  c.reset();
  w.hold(seconds(5));
}

/// Nobody of ours lives on the replica when somebody opens its database by hand, in place: on the timeline that it had. Then the daemon
/// comes back.
void started_by_hand(World& w) {
  const NodeId node = w.replica();
  dev::LocalCluster& cluster = w.cluster();
  const auto postmasters = cluster.processes(node, Part::kPostmaster);
  if (postmasters.empty()) throw test::Failed{"no postmaster runs on " + node.value};
  std::vector<std::string> argv{"runuser", "-u", "postgres", "--"};
  std::ifstream command("/proc/" + std::to_string(postmasters.front().id.pid) + "/cmdline", std::ios::binary);
  for (std::string word; std::getline(command, word, '\0');) argv.push_back(word);
  need(cluster.kill(node, Part::kDaemon));
  need(cluster.kill(node, Part::kGuard));
  w.until("the end of the engine", seconds(5), [&] { return cluster.processes(node, Part::kPostgres).empty(); });
  for (const char* file : {"/standby.signal", "/postmaster.pid"}) std::filesystem::remove(cluster.data_dir_of(node) + file);
  std::filesystem::remove(cluster.node_folder(node) + "/run/postgres/.s.PGSQL." + std::to_string(dev::ports_of(cluster.file()).postgres) + ".lock");
  const Instant from = node_now();
  need(dev::spawn({.argv = argv, .environment = {}, .folder = cluster.node_folder(node), .log_file = cluster.node_folder(node) + "/by-hand.log", .netns = cluster.network()->name_of(node)}));
  w.until_writes_at(node, from, seconds(10));
  w.note(node.value + "'s database was opened by hand and takes writes");
  w.hold(seconds(1));
  need(cluster.start(node, Part::kDaemon));
  w.hold(seconds(3));
}

/// Another daemon of the same id and the same cluster on another host: its address is the first one's on its own loopback only.
void second_daemon(World& w) {
  const NodeId node = w.any();
  dev::LocalCluster& cluster = w.cluster();
  const std::string folder = cluster.folder() + "/twin", netns = cluster.network()->name_of(NodeId("twin")), address = cluster.address_of(node);
  const std::string own = address.substr(0, address.rfind('.') + 1) + "9";
  std::filesystem::create_directories(folder + "/data");
  std::filesystem::create_directories(folder + "/run");
  const auto twin_gone = [&] {
    (void)dev::kill_all_of(folder, seconds(10));
    (void)dev::run_to_end({"ip", "netns", "delete", netns}, "");
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  try {
    need(dev::run_to_end({"ip", "netns", "add", netns}, ""));
    need(dev::run_to_end({"ip", "-n", cluster.network()->hub(), "-batch", "-"}, "link add to-twin type veth peer name eth0 netns " + netns + "\nlink set dev to-twin master hub up\n"));
    need(dev::run_to_end({"ip", "-n", netns, "-batch", "-"}, "link set dev lo up\naddress add " + own + "/24 dev eth0\nlink set dev eth0 up\naddress add " + address + "/32 dev lo\n"));
    // It speaks from the other host's address, and must not claim it in the network: that would be another fault.
    need(dev::run_to_end({"ip", "netns", "exec", netns, "sysctl", "-qw", "net.ipv4.conf.all.arp_announce=2"}, ""));
    // Its own data directory: one host's disk is not the other's.
    std::ifstream in(cluster.config_path());
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const std::string theirs = "{node_id}/pg/data";
    if (const std::size_t at = text.find(theirs); at != std::string::npos) text.replace(at, theirs.size(), "twin/pg/data");
    std::ofstream(folder + "/cluster.yaml") << text;
    std::vector<std::string> environment;
    for (const auto& [name, value] : cluster.secrets()) environment.push_back(name + "=" + value);
    const auto twin = need(dev::spawn({.argv = {dev::program("daariond"), "--config", folder + "/cluster.yaml", "--node", node.value, "--data", folder + "/data", "--run", folder + "/run",
                                                "--guard", dev::program("daarion-guard")},
                                       .environment = environment, .folder = folder, .log_file = folder + "/daemon.log", .netns = netns}));
    w.note("a second daemon calls itself " + node.value);
    w.hold(seconds(10));
    w.note(dev::lives(twin) ? "it lives until it is ended" : "it ended by itself: " + dev::tail_of(folder + "/daemon.log", 2));
  } catch (...) {
    twin_gone();
    throw;
  }
  twin_gone();
}

void overload(World& w) {
  const test::BusyLoops loops(4);
  w.note(std::to_string(loops.count()) + " busy loops");
  w.hold(seconds(12));
}

/// The wall clock of a node's daemon goes an hour ahead and an hour back while it runs. Monotonic time is not touched: no tool here changes
/// its rate for one process of many, which is the simulator's part.
void wall_clock(World& w) {
  const NodeId node = w.any();
  dev::LocalCluster& cluster = w.cluster();
  const std::string file = cluster.node_folder(node) + "/clock";
  const auto set = [&](const char* offset) { std::ofstream(file, std::ios::trunc) << offset << "\n"; };
  set("+0");
  std::string library;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib"))
    if (const std::string at = entry.path().string() + "/faketime/libfaketimeMT.so.1"; std::filesystem::exists(at)) library = at;
  if (library.empty()) throw test::Failed{"no libfaketime: install Debian's libfaketime"};
  cluster.daemon_environment()[node] = {"LD_PRELOAD=" + library, "FAKETIME_TIMESTAMP_FILE=" + file, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"};
  need(cluster.kill(node, Part::kDaemon));
  need(cluster.start(node, Part::kDaemon));
  cluster.daemon_environment().clear();
  w.note("the wall clock of " + node.value + "'s daemon: +1 h, -1 h, as it was");
  for (const char* offset : {"+3600", "-3600", "+0"}) {
    set(offset);
    w.hold(seconds(4));
  }
  need(cluster.kill(node, Part::kDaemon));
  need(cluster.start(node, Part::kDaemon));
}

}  // namespace

void add_other_kinds(std::vector<Kind>& to) {
  const auto add = [&](Kind kind) { to.push_back(std::move(kind)); };
  add({.name = "switchover", .text = "a planned switchover under load", .cost_s = 5, .outage_ms = 1000, .fewest_promotions = 1, .most_promotions = 1, .quick = true, .run = switchover});
  add({.name = "second_primary", .text = "the replica's PostgreSQL is promoted by hand", .cost_s = 10, .outage_ms = kNoneMs, .stray_ms = 1500, .run = second_primary});
  add({.name = "started_by_hand", .text = "the replica's database is opened by hand while its daemon is away", .cost_s = 20, .outage_ms = kNoneMs, .stray_ms = 4000,
       .run = started_by_hand});
  add({.name = "two_daemons", .text = "a second host runs a daemon under a node's id, for 10 s", .cost_s = 21, .outage_ms = kNoneMs, .run = second_daemon});
  add({.name = "cpu_overload", .text = "four busy loops for each core, for 12 s", .cost_s = 18, .outage_ms = 2000, .run = overload});
  add({.name = "clock_wall", .text = "the wall clock of a daemon an hour ahead and an hour back", .cost_s = 18, .outage_ms = kNoneMs, .run = wall_clock});
}

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = [] {
    std::vector<Kind> out;
    add_process_kinds(out);
    add_link_kinds(out);
    add_store_kinds(out);
    add_other_kinds(out);
    return out;
  }();
  return all;
}

}  // namespace daarion::chaos
