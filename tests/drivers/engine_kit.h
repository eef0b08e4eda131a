// What the conformance suite needs of one engine beyond its driver: how an application writes to it and reads from it.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "controlplane/drivers/registry.h"
#include "tests/drivers/bed.h"

namespace daarion::test {

class EngineKit {
 public:
  virtual ~EngineKit() = default;
  virtual std::string engine() const = 0;
  virtual std::string resource() const = 0;
  /// The driver with the cluster's password, or with another one.
  virtual Result<std::unique_ptr<Driver>> make(const DriverConfig& config, bool right_password, EngineHost& host) const = 0;
  /// Makes what is written to; on a primary.
  virtual Result<void> prepare(EngineNode& node) const = 0;
  /// Rows from `from` on, each acknowledged. Errors: the server's refusal.
  virtual Result<void> write(EngineNode& node, int from, int count) const = 0;
  virtual Result<int> count(EngineNode& node) const = 0;
  /// Words that a driver's message has when the password is wrong.
  virtual std::string password_hint() const = 0;
};

/// PostgreSQL's and Redis'.
const std::vector<const EngineKit*>& engine_kits();

/// A bed of one engine's nodes, each engine in its turn.
class EngineBed : public DriverBed<EngineNode>, public testing::WithParamInterface<const EngineKit*> {
 protected:
  const EngineKit& kit() const { return *GetParam(); }
  Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) override { return kit().make(config, right_password_, host); }
  void describe(DriverConfig& config) override {
    config.resource.id = ResourceId(kit().resource());
    config.resource.engine = kit().engine();
    if (geteuid() == 0) config.engine_user = system_user_of(kit().engine());
  }
  /// A primary that takes rows.
  EngineNode& writer(int number, std::uint64_t epoch = 1) {
    EngineNode& n = primary(number, epoch);
    const auto prepared = kit().prepare(n);
    EXPECT_TRUE(prepared) << prepared.error().message;
    return n;
  }
  void write(EngineNode& n, int from, int count) {
    const auto done = kit().write(n, from, count);
    EXPECT_TRUE(done) << done.error().message;
  }
  int count(EngineNode& n) {
    const auto rows = kit().count(n);
    EXPECT_TRUE(rows) << rows.error().message;
    return rows.value_or(-1);
  }
  bool right_password_ = true;
};

}  // namespace daarion::test
