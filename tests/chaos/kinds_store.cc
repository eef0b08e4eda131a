// Stores: full disks, damaged files, stores as they were before.
#include <chrono>
#include <filesystem>
#include <fstream>

#include "controlplane/node/clock.h"
#include "tests/chaos/kind.h"
#include "tests/chaos/stream_backup.h"
#include "tests/chaos/world.h"

namespace daarion::chaos {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::need;

constexpr Duration kFull = seconds(8);
constexpr Duration kRestarted = seconds(30);  // a daemon looks every 10 s at what is ill, and has it restarted once in 20 s

void disk_full(World& w, const NodeId& node, const std::string& store) {
  w.note("no byte is left for " + store + " of " + node.value);
  w.fill_disk(node, store);
  w.hold(kFull);
  const std::size_t restarts = w.nats_restarts();
  w.free_disk(node, store);
  // nats-server 2.9.10 would lock itself up with some later write.
  if (store == "nats") w.until("the restart of the nats-server by its daemon", kRestarted, [&] { return w.nats_restarts() > restarts; });
}

/// A new segment of the write-ahead log is what needs room first.
void wal_full(World& w) {
  const NodeId node = w.holder();
  w.note("no byte is left for PostgreSQL of " + node.value);
  w.fill_disk(node, "pg");
  const Instant end = node_now() + kFull;
  w.until("the fault's end", kFull + seconds(10), [&] {
    if (auto c = w.cluster().superuser(node, std::chrono::milliseconds(300))) (void)(*c)->query("select pg_switch_wal()", seconds(1));
    return node_now() >= end;
  });
  w.free_disk(node, "pg");
}

/// Flips bytes in the middle of a file of the folded state, cuts its end off, or removes it.
void state_damaged(World& w) {
  const NodeId node = w.any();
  need(w.cluster().kill(node, Part::kDaemon));
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(w.disk_of(node, "data") + "/state"))
    if (entry.is_regular_file() && entry.path().filename().string().find("LOG") != 0 && entry.path().filename() != "LOCK" && entry.file_size() > 0) files.push_back(entry.path().string());
  if (files.empty()) throw test::Failed{"no file of the folded state of " + node.value};
  std::ranges::sort(files);
  const std::string victim = w.chance().one_of(files);
  const auto size = std::filesystem::file_size(victim);
  const std::uint64_t how = w.chance().below(3);
  if (how == 0) {
    std::filesystem::resize_file(victim, size / 2);
  } else if (how == 1) {
    std::fstream file(victim, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 3));
    for (std::uint64_t i = 0; i < 64 && i < size - size / 3; ++i) file.put('\x5a');
  } else {
    std::filesystem::remove(victim);
  }
  const char* done[] = {"was cut in half", "had bytes overwritten", "was removed"};
  w.note(std::filesystem::path(victim).filename().string() + " of the folded state of " + node.value + " " + done[how]);
  need(w.cluster().start(node, Part::kDaemon));
}

/// The state folder as a whole is gone.
void state_removed(World& w) {
  const NodeId node = w.any();
  need(w.cluster().kill(node, Part::kDaemon));
  std::filesystem::remove_all(w.disk_of(node, "data") + "/state");
  w.note("the folded state of " + node.value + " was removed");
  need(w.cluster().start(node, Part::kDaemon));
}

/// A nats-server of the core comes back without its store, as on a new disk.
void nats_store_lost(World& w) {
  const NodeId node = w.data_node();
  need(w.cluster().kill(node, Part::kNats));
  for (const auto& entry : std::filesystem::directory_iterator(w.disk_of(node, "nats"))) std::filesystem::remove_all(entry.path());
  w.note("the nats-server of " + node.value + " comes back with an empty store");
  need(w.cluster().start(node, Part::kNats));
}

/// The replica's data directory is gone, with its engine running. In one step: a directory that is half there is not ours to touch.
void replica_data_lost(World& w) {
  const NodeId node = w.replica();
  const std::string data = w.cluster().data_dir_of(node);
  std::filesystem::rename(data, data + ".gone");
  need(w.cluster().kill(node, Part::kPostgres));
  std::filesystem::remove_all(data + ".gone");
  w.note("the data directory of " + node.value + " was removed");
}

/// No voter that is left can write a new promise down, so none is given.
void promises_have_no_room(World& w) {
  for (const NodeId& node : {w.replica(), w.edge()}) w.fill_disk(node, "data");
  need(w.cluster().network()->plug(w.holder(), false));
  need(w.cluster().kill(w.holder()));
  w.note(w.holder().value + " is gone, and the voters that are left have no byte for a new promise");
  w.hold(kFull);
  const Instant freed = node_now();
  for (const NodeId& node : {w.replica(), w.edge()}) w.free_disk(node, "data");
  w.until_writes_at(w.replica(), freed, seconds(30));
  need(w.cluster().network()->plug(w.holder(), true));
  need(w.cluster().start(w.holder()));
}

/// What a power cut does to files that were not synced: nats-server syncs every two minutes. The third server, which has everything, is
/// back too late for the election.
void stores_as_before(World& w) {
  std::vector<std::pair<NodeId, Part>> servers{{w.holder(), Part::kNats}, {w.replica(), Part::kNats}, {w.edge(), Part::kWitness}};
  const auto third = servers.begin() + static_cast<std::ptrdiff_t>(w.chance().below(3));
  const std::pair<NodeId, Part> late = *third;
  servers.erase(third);
  const auto store = [&](const std::pair<NodeId, Part>& s) { return w.disk_of(s.first, s.second == Part::kNats ? "nats" : "witness"); };
  const auto copy = [&](const std::pair<NodeId, Part>& s) { return w.cluster().folder() + "/before-" + s.first.value; };
  const Sequence head = w.head();
  for (const auto& s : servers) std::filesystem::copy(store(s), copy(s), std::filesystem::copy_options::recursive);
  const Instant from = node_now();
  need(test::switchover(w.cluster(), w.edge(), w.replica(), "chaos: events that will be lost"));
  w.until_writes_at(w.replica(), from, seconds(30));
  w.hold(seconds(10));
  w.about_to_lose(head);
  need(w.cluster().kill(late.first, late.second));
  for (const auto& s : servers) need(w.cluster().kill(s.first, s.second));
  for (const auto& s : servers) {
    for (const auto& entry : std::filesystem::directory_iterator(store(s))) std::filesystem::remove_all(entry.path());
    std::filesystem::copy(copy(s), store(s), std::filesystem::copy_options::recursive);
    std::filesystem::remove_all(copy(s));
    w.note("the store of " + s.first.value + "'s nats-server is as it was 10 s before");
  }
  for (const auto& s : servers) need(w.cluster().start(s.first, s.second));
  w.hold(seconds(12));
  need(w.cluster().start(late.first, late.second));
  w.until_loss_is_told(seconds(30));
}

/// The log is taken from a backup: its stream is deleted and restored as it was a switchover before. The edge's mirrors are told by nobody.
void origin_recreated(World& w) {
  const auto core = need(test::core_connection(w.cluster(), w.holder(), seconds(5)));
  const Sequence head = w.head();
  const StreamBackup backup = need(back_up(*core, "CLUSTER_LOG", seconds(10)));
  const Instant from = node_now();
  need(test::switchover(w.cluster(), w.edge(), w.replica(), "chaos: events that will be lost"));
  w.until_writes_at(w.replica(), from, seconds(30));
  w.about_to_lose(head);
  need(restore(*core, "CLUSTER_LOG", backup, seconds(20)));
  w.note("CLUSTER_LOG was deleted and restored as it was after event " + std::to_string(head.value));
  w.until_loss_is_told(seconds(30));
}

}  // namespace

void add_store_kinds(std::vector<Kind>& to) {
  const auto add = [&](Kind kind) { to.push_back(std::move(kind)); };
  add({.name = "disk_full_postgres", .text = "the holder's PostgreSQL has no room, for 8 s", .cost_s = 17, .outage_ms = 15'000, .most_promotions = 2, .run = wal_full});
  add({.name = "disk_full_replica", .text = "the replica's PostgreSQL has no room, for 8 s", .cost_s = 16, .outage_ms = kNoneMs, .run = [](World& w) { disk_full(w, w.replica(), "pg"); }});
  add({.name = "disk_full_state", .text = "voter's record and folded state of a node have no room, for 8 s", .cost_s = 14, .outage_ms = 12'000, .most_promotions = 1,
       .run = [](World& w) { disk_full(w, w.any(), "data"); }});
  add({.name = "disk_full_nats", .text = "one nats-server of the core has no room, for 8 s; its daemon restarts it then", .cost_s = 14, .outage_ms = kNoneMs, .run = [](World& w) { disk_full(w, w.data_node(), "nats"); }});
  add({.name = "disk_full_edge", .text = "the edge's nats-server has no room, for 8 s; its daemon restarts it then", .cost_s = 13, .outage_ms = kNoneMs, .run = [](World& w) { disk_full(w, w.edge(), "nats"); }});
  add({.name = "state_damaged", .text = "a file of a node's RocksDB is damaged", .cost_s = 4, .outage_ms = 3500, .most_promotions = 1, .run = state_damaged});
  add({.name = "state_removed", .text = "a node's RocksDB is gone", .cost_s = 4, .outage_ms = 3500, .most_promotions = 1, .run = state_removed});
  add({.name = "nats_store_lost", .text = "one nats-server of the core comes back with an empty store", .cost_s = 4, .outage_ms = kNoneMs, .run = nats_store_lost});
  add({.name = "replica_data_lost", .text = "the replica's data directory is gone", .cost_s = 6, .outage_ms = kNoneMs, .run = replica_data_lost});
  add({.name = "promises_have_no_room", .text = "the holder is lost while the other voters have no room, for 8 s", .cost_s = 28, .outage_ms = 20'000, .fewest_promotions = 1, .most_promotions = 2,
       .run = promises_have_no_room});
  add({.name = "mirror_origin_recreated", .text = "the log's stream is deleted and restored from a backup that lacks a switchover", .cost_s = 30, .outage_ms = 3500, .fewest_promotions = 1,
       .most_promotions = 1, .run = origin_recreated});
  add({.name = "nats_stores_old", .text = "two of three nats-servers come back with their stores as they were 10 s before", .cost_s = 60, .outage_ms = 3500, .fewest_promotions = 1, .most_promotions = 1,
       .run = stores_as_before});
}

}  // namespace daarion::chaos
