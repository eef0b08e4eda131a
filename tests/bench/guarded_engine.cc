#include "tests/bench/guarded_engine.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/control.h"
#include "controlplane/node/clock.h"
#include "tests/bench/wal_commits.h"

namespace daarion::bench {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// A folder that a user of its own can enter; gone with the object.
class Folder {
 public:
  Folder() {
    std::string name = "/var/tmp/daarion-margins-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) path_ = name;
    chmod(path_.c_str(), 0755);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

GuardConfig guard_for(const Folder& folder, const std::string& cgroup) {
  return {.resource = ResourceId("engine"), .binary = DAARION_BIN "/daarion-guard", .socket = folder / "engine.guard",
          .data_dir = folder / "data", .cgroup = cgroup, .log_file = folder / "guard.log"};
}

class Stubborn : public GuardedEngine {
 public:
  explicit Stubborn(const std::string& cgroup) : pair_(guard_for(folder_, cgroup)) { fs::create_directories(folder_ / "data"); }

  std::string name() const override { return "stub"; }
  test::GuardPair& pair() override { return pair_; }
  Result<void> start() override {
    fs::remove(writes());
    const auto started = pair_.client().start({.argv = {DAARION_BIN "/daarion-stubborn-engine", writes()}, .environment = {"LANG=C"},
                                               .user = "", .directory = folder_ / "data", .log_file = folder_ / "engine.log"});
    if (!started) return tl::unexpected(started.error());
    std::error_code none;
    if (!test::until([&] { return fs::file_size(writes(), none) > 0 && !none; })) return fail(Remedy::kStop, "the engine does not write");
    return {};
  }
  Instant last_write() override { return test::last_write(writes()); }

 private:
  std::string writes() const { return folder_ / "data/writes"; }

  Folder folder_;
  test::GuardPair pair_;
};

class BusyPostgres : public GuardedEngine {
 public:
  BusyPostgres(const std::string& cgroup, SystemUser user, std::string programs)
      : user_(std::move(user)), programs_(std::move(programs)), pair_(guard_for(folder_, cgroup)) {}
  ~BusyPostgres() override {
    pair_.end();
    hang_up();
  }

  Result<void> make() {
    fs::create_directories(folder_ / "run");
    const auto give = [&](const char* name) { return geteuid() != 0 || chown((folder_ / name).c_str(), user_.uid, user_.gid) == 0; };
    if (!give(".") || !give("run")) return fail(Remedy::kStop, "cannot give a folder to " + user_.name);
    const auto made = run_tool({.argv = {programs_ + "/initdb", "-D", folder_ / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"},
                                .environment = environment(), .user = user_, .directory = "/", .limit = seconds(60), .idle_limit = {}});
    if (!made) return tl::unexpected(made.error());
    if (made->exit_code != 0) return fail(Remedy::kStop, "initdb: " + cause_in(made->errors));
    std::ofstream(folder_ / "data/postgresql.conf", std::ios::app)
        << "listen_addresses = ''\nport = " << kPort << "\nunix_socket_directories = '" << (folder_ / "run") << "'\nrestart_after_crash = off\n";
    return {};
  }

  std::string name() const override { return "postgres"; }
  test::GuardPair& pair() override { return pair_; }

  Result<void> start() override {
    hang_up();
    const auto started = pair_.client().start({.argv = {programs_ + "/postgres", "-D", folder_ / "data"}, .environment = environment(),
                                               .user = geteuid() == 0 ? user_.name : "", .directory = folder_ / "data", .log_file = folder_ / "run/log"});
    if (!started) return tl::unexpected(started.error());
    std::unique_ptr<postgres::Connection> c;
    if (!test::until([&] {
          auto opened = postgres::Connection::open(target(), seconds(1));
          if (opened) c = std::move(*opened);
          return c != nullptr;
        }, seconds(30)))
      return fail(Remedy::kStop, "PostgreSQL does not start; see " + (folder_ / "run/log"));
    for (const char* sql : {"create table if not exists daarion_busy (i bigint)", "truncate daarion_busy", "checkpoint"})
      if (const auto done = c->query(sql, seconds(20)); !done) return tl::unexpected(done.error());
    const auto where = c->query("select pg_current_wal_insert_lsn(), substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)", seconds(5));
    if (!where) return tl::unexpected(where.error());
    start_ = (*where)[0][0];
    timeline_ = std::strtoull((*where)[0][1].c_str(), nullptr, 16);
    acked_ns_ = 0;
    hang_up_ = false;
    clients_.emplace_back([this] {
      if (const auto busy = postgres::Connection::open(target(), seconds(2))) (void)(*busy)->query(kBusy, seconds(60));
    });
    for (int i = 0; i < 2; ++i)
      clients_.emplace_back([this] {
        const auto one = postgres::Connection::open(target(), seconds(2));
        while (one && !hang_up_ && (*one)->query("insert into daarion_busy values (0)", seconds(20))) note_ack();
      });
    const auto busy = [&] {
      const auto rows = c->query("select count(*) from daarion_busy", seconds(1));
      return rows && std::strtoll((*rows)[0][0].c_str(), nullptr, 10) >= 50 && acked_ns_ != 0;
    };
    if (!test::until(busy, seconds(10))) return fail(Remedy::kStop, "no backend commits in a loop");
    return {};
  }

  Instant last_write() override {
    hang_up();
    timespec wall{};
    clock_gettime(CLOCK_REALTIME, &wall);
    const std::int64_t wall_ns = wall.tv_sec * 1'000'000'000LL + wall.tv_nsec, node_ns = node_now().time_since_epoch().count();
    std::int64_t last = acked_ns_;
    for (const std::int64_t at : commits_in_wal(folder_ / "data", start_, timeline_)) last = std::max(last, at - wall_ns + node_ns);
    return Instant(Duration(last));
  }

 private:
  static constexpr int kPort = 5432;  // names the socket in a folder of its own

  static std::vector<std::string> environment() {
    std::vector<std::string> out;  // one by one: gcc 12 warns wrongly of a list
    out.emplace_back("LANG=C");
    out.emplace_back("PATH=/usr/bin:/bin");
    return out;
  }
  postgres::Target target() const { return {.host = folder_ / "run", .port = kPort, .user = "postgres", .password = ""}; }
  void note_ack() {
    const std::int64_t now = node_now().time_since_epoch().count();
    for (std::int64_t seen = acked_ns_; seen < now && !acked_ns_.compare_exchange_weak(seen, now);) {
    }
  }
  /// The engine is gone, and its clients with it.
  void hang_up() {
    hang_up_ = true;
    for (std::thread& t : clients_) t.join();
    clients_.clear();
  }

  Folder folder_;
  SystemUser user_;
  std::string programs_;
  test::GuardPair pair_;
  std::string start_;
  std::uint64_t timeline_ = 0;
  std::atomic<std::int64_t> acked_ns_{0};
  std::atomic<bool> hang_up_{false};
  std::vector<std::thread> clients_;
};

}  // namespace

std::unique_ptr<GuardedEngine> stubborn(const std::string& cgroup) { return std::make_unique<Stubborn>(cgroup); }

Result<std::unique_ptr<GuardedEngine>> busy_postgres(const std::string& cgroup) {
  auto user = find_user(geteuid() == 0 ? "postgres" : "");
  if (!user) return tl::unexpected(user.error());
  auto programs = postgres::find_programs(0);
  if (!programs) return tl::unexpected(programs.error());
  auto engine = std::make_unique<BusyPostgres>(cgroup, std::move(*user), std::move(*programs));
  if (const auto made = engine->make(); !made) return tl::unexpected(made.error());
  return engine;
}

}  // namespace daarion::bench
