#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/postgres_driver.h"
#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/redis/redis_driver.h"
#include "controlplane/drivers/registry.h"
#include "tests/drivers/engine_kit.h"

namespace daarion::test {
namespace {

class PostgresKit final : public EngineKit {
 public:
  std::string engine() const override { return "postgresql"; }
  std::string resource() const override { return "postgres"; }
  Result<std::unique_ptr<Driver>> make(const DriverConfig& config, bool right_password, EngineHost& host) const override {
    return postgres::make_driver_with(config, {"replicator", right_password ? "s3cr:et\\pass" : "wrong"}, host);
  }
  Result<void> prepare(EngineNode& node) const override { return done(sql(node, "CREATE TABLE IF NOT EXISTS t (i int)")); }
  Result<void> write(EngineNode& node, int from, int count) const override {
    return done(sql(node, "INSERT INTO t SELECT generate_series(" + std::to_string(from) + ", " + std::to_string(from + count - 1) + ")"));
  }
  Result<int> count(EngineNode& node) const override {
    auto rows = sql(node, "SELECT count(DISTINCT i) FROM t");
    if (!rows) return tl::unexpected(rows.error());
    return std::atoi((*rows)[0][0].c_str());
  }
  std::string password_hint() const override { return "PG_REPLICATION_PASSWORD"; }

 private:
  static Result<postgres::Rows> sql(EngineNode& node, const std::string& text) {
    auto c = postgres::Connection::open({.host = node.config.run_dir, .port = node.address().port, .user = "postgres", .password = ""}, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->query(text, kLimit);
  }
  static Result<void> done(const Result<postgres::Rows>& rows) {
    if (!rows) return tl::unexpected(rows.error());
    return {};
  }
};

class RedisKit final : public EngineKit {
 public:
  std::string engine() const override { return "redis"; }
  std::string resource() const override { return "redis"; }
  Result<std::unique_ptr<Driver>> make(const DriverConfig& config, bool right_password, EngineHost& host) const override {
    return redis::make_driver_with(config, right_password ? kPassword : "wrong", host);
  }
  Result<void> prepare(EngineNode&) const override { return {}; }
  Result<void> write(EngineNode& node, int from, int count) const override {
    redis::Command add{"SADD", "rows"};
    for (int i = from; i < from + count; ++i) add.push_back(std::to_string(i));
    auto said = ask(node, add);
    if (!said) return tl::unexpected(said.error());
    return {};
  }
  Result<int> count(EngineNode& node) const override {
    auto said = ask(node, {"SCARD", "rows"});
    if (!said) return tl::unexpected(said.error());
    return static_cast<int>(said->number);
  }
  std::string password_hint() const override { return "REDIS_PASSWORD"; }

 private:
  static constexpr const char* kPassword = "s3cr\"et \\pass";
  /// As an application: over TCP, the default user.
  static Result<redis::Reply> ask(EngineNode& node, const redis::Command& command) {
    auto c = redis::Connection::open({.host = node.address().host, .port = node.address().port, .user = {}, .password = kPassword}, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->ask(command, kLimit);
  }
};

}  // namespace

const std::vector<const EngineKit*>& engine_kits() {
  static const PostgresKit postgres;
  static const RedisKit redis;
  static const std::vector<const EngineKit*> all{&postgres, &redis};
  return all;
}

}  // namespace daarion::test
