// A cluster under the failover bench: writers at each server of one data system, the watch over the machine, and the conditions of a fair run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/kit.h"
#include "tests/harness/figures.h"

namespace daarion::bench {

inline constexpr const char* kPostgres = "postgres";
inline constexpr std::size_t kWarmRows = 100;  // half a second of writes through an open connection

class Rig {
 public:
  /// `resource`: postgres or redis. Throws test::Failed.
  explicit Rig(std::string resource = kPostgres);

  dev::LocalCluster& cluster() { return *cluster_; }
  const std::string& resource() const { return resource_; }
  /// Its engine's processes.
  dev::Part engine() const { return resource_ == kPostgres ? dev::Part::kPostgres : dev::Part::kRedis; }
  /// Everything streams and is ready, the holder's writer writes. Returns the holder.
  NodeId settle();
  NodeId other(const NodeId& node) const;    // the other one that has the data
  NodeId bystander(const NodeId& node) const; // a node that is asked while `node` is gone
  dev::ProbeWriter& writer(const NodeId& node);
  std::vector<const dev::ProbeWriter*> writers() const;
  /// New writers, so that what they were acknowledged is of one part of the bench.
  void fresh_writers();
  /// The first row that any node acknowledges, sent after `from`. Throws after 30 s.
  Instant first_write_after(Instant from);
  /// After the engine of `holder` was killed at `killed`: the first row of the other node sent from then on, or of this one from now on.
  Instant first_write_after_kill(const NodeId& holder, Instant killed);
  /// Acknowledged rows of the present writers that the holder does not have.
  std::size_t missing_rows(const NodeId& holder);
  Sequence head(const NodeId& at);
  /// Prints the events since `from`: of a run that took too long.
  void tell_since(Sequence from);
  std::vector<LogEvent> log_since(Sequence from, const NodeId& avoid, const NodeId& ask);

  /// Runs `measure` until the machine did not stop for more than 200 ms during it, at most five times.
  double fair(const std::function<double()>& measure);
  int repeated() const { return repeated_; }
  double stall_max_ms() const { return stall_max_ms_; }

 private:
  Instant first_row(const NodeId& one, Instant from_one, const NodeId& two, Instant from_two);
  std::unique_ptr<dev::ProbeWriter> make_writer(const NodeId& node);
  std::string resource_;
  test::ScratchCluster cluster_;
  std::vector<std::unique_ptr<dev::ProbeWriter>> writers_;
  int generation_ = 0;
  int repeated_ = 0;
  double stall_max_ms_ = 0;
};

inline double in_ms(Duration d) { return double(d.count()) / 1e6; }

/// The postmaster alone is killed while a backend commits in a loop. Returns how many of its commits are later than the event that
/// releases the lease; `commits` and `after_kill`: how many there were at all, and after the kill.
struct LateCommits {
  std::size_t commits = 0, after_kill = 0, late = 0;
  double kill_to_release_ms = 0, last_commit_ms = 0;
};
LateCommits postmaster_alone(Rig& rig);

}  // namespace daarion::bench
