// Watches a simulated cluster for the invariants of the design (section 10; the numbers in the messages are its numbers).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/core/state.h"

namespace daarion::sim {

class World;
struct Host;

/// What happened in a run: a batch in which one of these stays 0 proves nothing about it.
struct Counters {
  std::map<std::string, std::uint64_t> count;
  void add(const std::string& what, std::uint64_t n = 1) { count[what] += n; }
};

class Checker {
 public:
  explicit Checker(World& world) : world_(world) {}

  /// The engine of `host` just became writable.
  void opened(const Host& host);
  /// It is writable and writes.
  void writes(const Host& host);
  /// An event was stored.
  void stored(const LogEvent& event);
  /// The phase with faults is over.
  void healed();
  /// The end of the liveness phase.
  void finish();

  bool broken() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

 private:
  void fail(const std::string& what);
  void one_writer(const Host& host);
  void majority_promised(const Host& host);

  World& world_;
  std::string failure_;
  Epoch newest_;
  std::uint64_t releases_ = 0;
};

}  // namespace daarion::sim
