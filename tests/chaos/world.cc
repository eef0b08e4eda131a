#include "tests/chaos/world.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include "controlplane/api/log_views.h"
#include "controlplane/node/clock.h"
#include "streams/log_stream.h"
#include "tests/chaos/judge.h"

namespace daarion::chaos {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Failed;
using test::need;

constexpr Duration kUp = seconds(90);
// A replica of the log that came back wrong is taken out and put in anew, and looked at again a minute later: on nats-server 2.9 its catch-up can stop half
// way. How long it took is of the fault's figures.
constexpr Duration kLogWhole = seconds(150);
constexpr Duration kReadable = seconds(40);  // a consumer cannot be made while JetStream elects: 4 to 9 s, and twice at worst
constexpr Duration kLook = milliseconds(250);
constexpr Duration kQuiet = seconds(2);         // nobody wrote for so long: the nodes are asked what they wait for
constexpr std::size_t kRows = 100;
constexpr std::uint64_t kBefore = 30;           // events remembered from before a fault: a store that was copied while it ran may lack some

struct Disk {
  const char* store;
  const char* size;
};
// A store's usual content fits several times; a full one is filled in a second.
constexpr Disk kDisks[] = {{"pg", "size=2g"}, {"data", "size=128m"}, {"nats", "size=128m"}, {"witness", "size=128m"}};
constexpr const char* kFiller = "/filler";

test::ScratchCluster make_cluster() {
  return need(test::ScratchCluster::make(3, {}, "64 per 1s", true, "pg/data"));
}

/// Whether LogRegressed events in `log` name all of `lost`.
bool is_told(const std::vector<LogEvent>& lost, const std::vector<LogEvent>& log) {
  std::string told;
  for (const LogEvent& e : log)
    if (const auto* regressed = std::get_if<LogRegressed>(&e.event.payload)) told += regressed->known_lost;
  return std::ranges::all_of(lost, [&](const LogEvent& e) { return told.find(to_text(e.event.header.id)) != std::string::npos; });
}

}  // namespace

World::World(History& history) : history_(history), cluster_(make_cluster()) {
  make_disks();
  need(cluster_->start_all());
  const auto view = need(cluster_->await_settled(kUp));
  const NodeId first(view.holder_of(kPostgres));
  need(test::make_probe_table(*cluster_, first));
  for (const char* node : {"node1", "node2"}) writers_.push_back(std::make_unique<dev::ProbeWriter>(cluster_->application(NodeId(node)), std::string("at-") + node));
  watch_ = std::thread([this] { watch(); });
  begin(Chance(0));
  row_bytes_ = measure_row();
}

World::~World() {
  ending_ = true;
  if (watch_.joinable()) watch_.join();
  for (auto& w : writers_) w->stop();
  // No process may be left in a disk that goes.
  for (const NodeId& node : cluster_->nodes()) {
    if (!dev::kill_all_of(cluster_->node_folder(node), seconds(10))) continue;
    for (const Disk& disk : kDisks) ::umount2(disk_of(node, disk.store).c_str(), MNT_DETACH);
  }
}

/// Mounts in a namespace of our own: nobody else sees them, and they go with the last process.
void World::make_disks() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    throw Failed{std::string("make a mount namespace: ") + std::strerror(errno)};
  for (const NodeId& node : cluster_->nodes())
    for (const Disk& disk : kDisks) {
      const std::string at = disk_of(node, disk.store);
      std::error_code error;
      std::filesystem::create_directories(at, error);
      if (::mount("daarion-chaos", at.c_str(), "tmpfs", 0, (std::string(disk.size) + ",mode=755").c_str()) != 0)
        throw Failed{"mount a disk at " + at + ": " + std::strerror(errno)};
    }
}

Instant World::begin(Chance chance) {
  chance_ = chance;
  const auto view = need(cluster_->await_settled(kUp));
  holder_ = NodeId(view.holder_of(kPostgres));
  replica_ = NodeId(holder_.value == "node1" ? "node2" : "node1");
  need(cluster_->await_leaders_off({holder_}, kLogWhole));
  until("a leader of the log that has both its followers", kLogWhole, [&] { return log_is_whole(); });
  const Instant whole = node_now();
  const std::size_t rows = writer(holder_).count();
  until("rows acknowledged by " + holder_.value, seconds(30), [&] { return writer(holder_).count() >= rows + kRows; });
  return whole;
}

void World::remember() {
  // A reader that finds no leader may be shown what a replica has and the log has not.
  until("the log, as its leader has it", kReadable, [&] {
    const std::uint64_t end = head().value;
    const auto log = test::read_log(*cluster_, Sequence{end > kBefore ? end - kBefore : 1}, Sequence{end}, NodeId());
    if (!log || !is_of_leader(log->events)) return false;
    remembered_ = log->events;
    return true;
  });
  before_.clear();
  for (const LogEvent& e : remembered_) before_.insert(to_text(e.event.header.id));
  must_lose_ = false;
}

void World::about_to_lose(Sequence head) {
  // Nothing may come to be lost that is not remembered: so the log is read when it has stood still.
  std::uint64_t end = 0;
  until("a log that stands still", seconds(20), [&] {
    const std::uint64_t now = this->head().value;
    const bool still = now == end && now > head.value;
    end = now;
    if (!still) std::this_thread::sleep_for(seconds(1));
    return still;
  });
  remembered_ = log_up_to(Sequence{end});
  must_lose_ = true;
  note("the log, of " + std::to_string(end) + " events, is about to lose those after about " + std::to_string(head.value));
}

std::vector<LogEvent> World::log_up_to(Sequence head) {
  const Sequence from = remembered_.front().sequence;
  if (head < from) return {};
  std::vector<LogEvent> out;
  until("a reader of the log", kReadable, [&] {
    auto log = test::read_log(*cluster_, from, head, NodeId());
    if (!log || !is_of_leader(log->events)) return false;
    out = std::move(log->events);
    return true;
  });
  return out;
}

bool World::is_of_leader(const std::vector<LogEvent>& events) {
  const auto connection = test::core_connection(*cluster_, NodeId(), seconds(1));
  if (!connection) return false;
  const auto info = make_nats_log_info(*connection);
  return std::ranges::all_of(events, [&](const LogEvent& e) {
    const auto seen = info->look(head_of(e), seconds(1));
    return seen && seen->same;
  });
}

bool World::remembers(const LogEvent& event) const {
  return std::ranges::any_of(remembered_, [&](const LogEvent& was) { return was.event.header.id == event.event.header.id; });
}

std::vector<LogEvent> World::lost_from(const std::vector<LogEvent>& log) const {
  std::vector<LogEvent> lost;
  std::ranges::copy_if(remembered_, std::back_inserter(lost), [&](const LogEvent& was) {
    return std::ranges::none_of(log, [&](const LogEvent& is) { return is.event.header.id == was.event.header.id; });
  });
  return lost;
}

void World::until_loss_is_told(Duration limit) {
  std::string seen = "the log could not be read";
  const auto told = [&] {
    const auto view = cluster_->view(edge_);
    if (!view || view->sequence < remembered_.front().sequence.value) return false;
    const auto log = test::read_log(*cluster_, remembered_.front().sequence, Sequence{view->sequence}, NodeId());
    if (!log) return false;
    const std::vector<LogEvent> lost = lost_from(log->events);
    const bool named = is_told(lost, log->events);
    std::string unwarned;
    for (const NodeId& node : cluster_->nodes()) {
      const auto at = cluster_->view(node);
      if (!at || std::ranges::none_of(at->warnings, [](const std::string& warning) { return warning.find("the log lost events") != std::string::npos; })) unwarned += " " + node.value;
    }
    seen = "up to " + std::to_string(view->sequence) + " the log lacks:" + each_of(lost) + (named ? "" : ", which is not named") + "; no warning at:" + unwarned;
    return !lost.empty() && named && unwarned.empty();
  };
  try {
    until("every lost event named in the log, and a warning at every node", limit, told);
  } catch (const Failed& failed) {
    throw Failed{seen + "; " + failed.why};
  }
}

/// Source: the stream's leader itself; what servers say of it in passing may be of a leader that is gone. A follower that has other events than the
/// leader is not whole: another fault before it is mended would be a second loss at once.
bool World::log_is_whole() {
  const auto followers = test::log_followers(*cluster_, holder_);
  return followers && followers->all == 2 && followers->whole == 2 && test::log_followers_agree(*cluster_, holder_).value_or(false);
}

void World::hold(Duration length) {
  const Instant end = node_now() + length;
  until("the fault's end", length + seconds(5), [&] { return node_now() >= end; });
}

Instant World::until_writes_at(const NodeId& node, Instant from, Duration limit) {
  until("a row acknowledged by " + node.value, limit, [&] { return writer(node).first_after(from) != kNever; });
  return writer(node).first_after(from);
}

void World::until(const std::string& what, Duration limit, const std::function<bool()>& condition) {
  need(cluster_->await_that(what, limit, cluster_->log_of(edge_, dev::Part::kDaemon), condition));
}

void World::isolate(const NodeId& node) {
  for (const NodeId& other : cluster_->nodes())
    if (other != node) need(cluster_->cut(node, other));
}

void World::mend() {
  need(cluster_->heal());
  for (const NodeId& node : cluster_->nodes()) {
    for (const Disk& disk : kDisks) free_disk(node, disk.store);
    for (const dev::ProcessInfo& p : cluster_->processes(node))
      if (p.state == 'T') dev::send_signal(p.id, SIGCONT);
    need(cluster_->network()->plug(node, true));
    need(cluster_->start(node));
  }
}

void World::fill_disk(const NodeId& node, const std::string& store) {
  const std::string at = disk_of(node, store) + kFiller;
  const int fd = ::open(at.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) throw Failed{"fill " + at + ": " + std::strerror(errno)};
  off_t size = 0;
  for (off_t step = 64 << 20; step >= 4096; step /= 2)
    while (::fallocate(fd, 0, size, step) == 0) size += step;
  ::close(fd);
}

std::size_t World::nats_restarts() {
  std::size_t out = 0;
  for (const NodeId& node : cluster_->nodes()) {
    std::ifstream log(cluster_->log_of(node, dev::Part::kDaemon));
    for (std::string line; std::getline(log, line);) out += line.find(": running " + cluster_->folder() + "/" + dev::kRestartScript) != std::string::npos ? 1 : 0;
  }
  return out;
}

void World::dump_nats() {
  const auto each = [&](int signal) {
    bool any = false;
    for (const NodeId& node : cluster().nodes())
      for (const dev::Part part : {dev::Part::kNats, dev::Part::kWitness}) any |= cluster().signal_part(node, part, signal).has_value();
    return any;
  };
  each(SIGQUIT);
  const Instant end = node_now() + std::chrono::seconds(5);
  while (each(0) && node_now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

void World::free_disk(const NodeId& node, const std::string& store) { ::unlink((disk_of(node, store) + kFiller).c_str()); }

std::vector<const dev::ProbeWriter*> World::writers() const {
  std::vector<const dev::ProbeWriter*> out;
  for (const auto& w : writers_) out.push_back(w.get());
  return out;
}

Instant World::last_write() const {
  Instant last{};
  for (const auto& w : writers_) last = std::max(last, w->last());
  return last;
}

std::vector<NamedWait> World::waits_since(Instant from) const {
  const std::lock_guard lock(mutex_);
  std::vector<NamedWait> out;
  std::ranges::copy_if(waits_, std::back_inserter(out), [&](const NamedWait& w) { return w.at >= from; });
  return out;
}

void World::watch() {
  while (!ending_) {
    std::this_thread::sleep_for(kLook);
    if (node_now() - last_write() < kQuiet) {
      const std::lock_guard lock(mutex_);
      without_leader_ = false;
      continue;
    }
    watch_leader();
    for (const NodeId& node : cluster_->nodes()) {
      const auto view = cluster_->view(node);
      if (!view) continue;
      const std::lock_guard lock(mutex_);
      for (const std::string& wait : view->waits) {
        if (std::ranges::any_of(waits_, [&](const NamedWait& w) { return w.node == node && w.text == wait && node_now() - w.at < seconds(2); })) continue;
        waits_.push_back({node_now(), node, wait});
        history_.add("wait", {{"node", node.value}, {"text", wait}});
      }
    }
  }
}

void World::watch_leader() {
  const Instant before = node_now();
  const bool none = cluster_->log_is_leaderless();
  const std::lock_guard lock(mutex_);
  if (none && !std::exchange(without_leader_, none)) leaderless_.push_back({before, before});
  without_leader_ = none;
  if (none) leaderless_.back().to = node_now();
}

/// Whether a daemon asked the log's leader to hand over, by the wall clock.
bool World::handed_over_in(std::int64_t from_ns, std::int64_t to_ns) {
  for (const NodeId& node : cluster_->nodes()) {
    std::ifstream log(cluster_->log_of(node, dev::Part::kDaemon));
    for (std::string line; std::getline(log, line);) {
      if (line.find("asking the log leader to step down") == std::string::npos && line.find("it was asked to hand over") == std::string::npos) continue;
      const auto at = parse_time(line.substr(0, line.find(' ')));
      if (!at || (*at >= from_ns && *at <= to_ns)) return true;
    }
  }
  return false;
}

Duration World::leaderless_in(const dev::WriteGap& gap) {
  if (handed_over_in(test::wall_of(gap.from - kElection), test::wall_of(gap.to))) return {};
  const std::lock_guard lock(mutex_);
  Duration out{};
  for (const dev::WriteGap& one : leaderless_) out += std::max(Duration{}, std::min(one.to, gap.to) - std::max(one.from, gap.from));
  return out;
}

double World::measure_row() {
  const auto c = need(cluster_->superuser(holder_, seconds(2)));
  const auto at = [&] { return std::strtod(need(c->query("select pg_current_wal_lsn() - '0/0'::pg_lsn", seconds(2)))[0][0].c_str(), nullptr); };
  const double bytes = at();
  const std::size_t rows = writer(holder_).count();
  until("100 rows more", seconds(10), [&] { return writer(holder_).count() > rows + kRows; });
  return (at() - bytes) / double(writer(holder_).count() - rows);
}

}  // namespace daarion::chaos
