#include "tests/bench/sentinel_alone.h"

#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "controlplane/dev/local_cluster.h"
#include "controlplane/dev/processes.h"
#include "controlplane/node/clock.h"
#include "tests/bench/failover_rig.h"

namespace daarion::bench {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using dev::LocalCluster;
using test::Failed;
using test::need;

constexpr std::uint32_t kServerPort = 6379, kSentinelPort = 26379;
constexpr const char* kProgram = "/usr/bin/redis-server";
constexpr Duration kAsk = milliseconds(300);
constexpr Duration kFailedOver = seconds(60);
constexpr Duration kKilled = seconds(5);
constexpr Duration kReplicaUp = seconds(60);

redis::Info info_of(const redis::Target& at) {
  auto c = redis::Connection::open(at, kAsk);
  auto told = c ? (*c)->ask({"INFO", "replication"}, kAsk) : tl::unexpected(c.error());
  return told ? redis::parse_info(told->text) : redis::Info{};
}

}  // namespace

SentinelAlone::SentinelAlone(int down_after_ms) : down_after_ms_(down_after_ms) {
  network_ = std::make_unique<dev::Network>(need(dev::Network::claim(127)));
  base_ = "/var/tmp/daarion-alone-XXXXXX";
  if (mkdtemp(base_.data()) == nullptr) throw Failed{"make a folder in /var/tmp: no right to"};
  for (int host = 1; host <= 3; ++host) fs::create_directories(folder(host));
  for (int host = 1; host <= 2; ++host) start_server(host, 1);
  need(LocalCluster::await_that("the replica", kReplicaUp, "", [&] { return redis::field(info_of(server(2)), "master_link_status") == "up"; }));
  for (int host = 1; host <= 3; ++host) {
    std::ofstream(folder(host) + "/sentinel.conf")
        << "port " << kSentinelPort << "\nbind " << network_->prefix() << host << "\ndir " << folder(host) << "\nprotected-mode no\nsentinel announce-ip " << network_->prefix() << host << "\n"
        << "sentinel monitor m " << network_->prefix() << 1 << " " << kServerPort << " 2\nsentinel down-after-milliseconds m " << down_after_ms_ << "\n";
    start_sentinel(host);
  }
  for (int host = 1; host <= 2; ++host)
    writers_.push_back(std::make_unique<dev::ProbeWriter>(server(host), "sentinel-" + std::to_string(host)));
}

SentinelAlone::~SentinelAlone() {
  writers_.clear();
  for (int host = 1; host <= 3; ++host) (void)dev::kill_all_of(folder(host), kKilled);
  std::error_code ignored;
  fs::remove_all(base_, ignored);
}

std::string SentinelAlone::folder(int host) const { return base_ + "/host" + std::to_string(host); }
redis::Target SentinelAlone::server(int host) const { return {.host = network_->prefix() + std::to_string(host), .port = kServerPort, .user = {}, .password = {}}; }
redis::Target SentinelAlone::sentinel(int host) const { return {.host = network_->prefix() + std::to_string(host), .port = kSentinelPort, .user = {}, .password = {}}; }

/// With the same replication settings as ours, so that only who decides differs.
void SentinelAlone::start_server(int host, int master) {
  const std::string address = network_->prefix() + std::to_string(host);
  std::vector<std::string> argv{kProgram, "--port", std::to_string(kServerPort), "--bind", address, "--dir", folder(host), "--protected-mode", "no", "--replica-announce-ip", address,
                                "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--save", ""};
  if (host != master) argv.insert(argv.end(), {"--replicaof", network_->prefix() + std::to_string(master) + " " + std::to_string(kServerPort)});
  (void)need(dev::spawn({.argv = argv, .environment = {}, .folder = folder(host), .log_file = folder(host) + "/redis.log"}));
}

void SentinelAlone::start_sentinel(int host) {
  (void)need(dev::spawn({.argv = {kProgram, folder(host) + "/sentinel.conf", "--sentinel"}, .environment = {}, .folder = folder(host), .log_file = folder(host) + "/sentinel.log"}));
}

/// All sentinels name the same master, know each other and its replica, and it takes rows. Returns its host.
int SentinelAlone::settle() {
  int master = 0;
  need(LocalCluster::await_that("three sentinels of one mind", kReplicaUp, folder(3) + "/sentinel.log", [&] {
    std::string named;
    for (int host = 1; host <= 3; ++host) {
      auto c = redis::Connection::open(sentinel(host), kAsk);
      auto told = c ? (*c)->ask({"SENTINEL", "MASTER", "m"}, kAsk) : tl::unexpected(c.error());
      if (!told) return false;
      std::map<std::string, std::string> fields;
      for (std::size_t i = 0; i + 1 < told->list.size(); i += 2) fields[told->list[i].text] = told->list[i + 1].text;
      if (fields["flags"] != "master" || fields["num-other-sentinels"] != "2" || fields["num-slaves"] != "1") return false;
      if (host > 1 && fields["ip"] != named) return false;
      named = fields["ip"];
    }
    master = named == server(1).host ? 1 : 2;
    return redis::field(info_of(server(3 - master)), "master_link_status") == "up";
  }));
  const dev::ProbeWriter& writer = *writers_[static_cast<std::size_t>(master - 1)];
  const std::size_t rows = writer.count();
  need(LocalCluster::await_that("rows at the master", kReplicaUp, "", [&] { return writer.count() >= rows + kWarmRows; }));
  return master;
}

double SentinelAlone::measure(int master, Instant killed) {
  const dev::ProbeWriter& other = *writers_[static_cast<std::size_t>(2 - master)];
  need(LocalCluster::await_that("a row at the new master", kFailedOver, folder(3) + "/sentinel.log", [&] { return other.first_after(killed) != kNever; }));
  return in_ms(other.first_after(killed) - killed);
}

double SentinelAlone::lose_host() {
  const int master = settle();
  const double ms = measure(master, need(dev::kill_all_of(folder(master), kKilled)));
  start_server(master, 3 - master);
  start_sentinel(master);
  return ms;
}

double SentinelAlone::kill_server() {
  const int master = settle();
  const Instant killed = node_now();
  for (const dev::ProcessInfo& p : dev::processes_of(folder(master)))
    if (p.command.find("[sentinel]") == std::string::npos) dev::send_signal(p.id, SIGKILL);
  const double ms = measure(master, killed);
  start_server(master, 3 - master);
  return ms;
}

}  // namespace daarion::bench
