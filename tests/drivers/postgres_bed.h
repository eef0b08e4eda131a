// A bed of PostgreSQL's nodes. What is not asked of the driver is asked of the server itself.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/postgres_driver.h"
#include "controlplane/drivers/postgres/settings.h"
#include "tests/drivers/bed.h"

namespace daarion::postgres {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

using test::eventually;
using test::kLimit;
using test::ms_of;
using test::session;

inline const Credentials kCredentials{"replicator", "s3cr:et\\pass"};

struct Node : test::EngineNode {
  Result<Rows> sql(const std::string& text, const std::string& database = "postgres") {
    auto c = Connection::open({.host = config.run_dir, .port = address().port, .user = "postgres", .password = "", .database = database}, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->query(text, kLimit);
  }
  std::string value(const std::string& text) {
    auto rows = sql(text);
    return !rows ? rows.error().message : rows->empty() || (*rows)[0].empty() ? "" : (*rows)[0][0];
  }
};

class Postgres : public test::DriverBed<Node> {
 protected:
  Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) override {
    return make_driver_with(config, kCredentials, host);
  }
  static void set_up(Node& n, const std::vector<std::string>& settings) {
    for (const std::string& setting : settings) {
      const auto set = n.sql("ALTER SYSTEM SET " + setting);
      ASSERT_TRUE(set) << setting << ": " << set.error().message;
    }
    ASSERT_TRUE(n.sql("SELECT pg_reload_conf()"));
  }
  /// What pg_rewind would need of its own log is gone.
  static void lose_wal(const Node& n) {
    for (const auto& e : fs::directory_iterator(n.data() + "/pg_wal"))
      if (e.is_regular_file() && e.path().filename().string().size() == 24) fs::remove(e.path());
  }
  /// The replica has less than its primary, and writes under the next epoch.
  static void part(Node& primary, Node& replica, const std::string& lacked) {
    ASSERT_TRUE(replica.run(Verb::kStop).ok);
    ASSERT_EQ(primary.value(lacked + "; SELECT 'ok'"), "ok");
    primary.host.kill_all();
    ASSERT_TRUE(replica.run(Verb::kStart).ok);
    ASSERT_TRUE(replica.run(Verb::kPromote, "", 2).ok);
  }
  static bool says(const std::vector<std::string>& lines, const std::string& words) {
    return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(words) != std::string::npos; });
  }
  void describe(DriverConfig& config) override {
    config.resource.id = ResourceId("postgres");
    config.resource.engine = "postgresql";
    if (geteuid() == 0) config.engine_user = "postgres";
  }
};

}  // namespace daarion::postgres
