// What the conformance suite needs of one engine beyond its driver: how an application writes to it and reads from it.
#pragma once

#include <memory>
#include <ostream>
#include <string>

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

const EngineKit& postgres_kit();
const EngineKit& redis_kit();

}  // namespace daarion::test
