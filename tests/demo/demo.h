// The demo's story: a cluster of three nodes with every engine that there is loses the node that writes, whole, and gets it back. What is shown and
// checked is in the file of its matter: postgres.cc has the lease, its rows and its `why`; engines.cc what else was on the node, what clients behind
// HAProxy saw, and `incident`; demo.cc the rest. A step throws test::Failed where the story cannot go on.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/kit.h"
#include "tests/cluster/sentinel_words.h"
#include "tests/demo/report.h"

namespace daarion::demo {

using std::chrono::milliseconds;
using std::chrono::seconds;

using test::Failed;
using test::need;

inline const NodeId kOne("node1"), kTwo("node2"), kThree("node3");
inline constexpr const char* kPostgres = "postgres";
inline constexpr const char* kRedis = "redis";
inline constexpr const char* kQdrant = "qdrant";
inline constexpr std::uint32_t kGateway = 9300;
inline constexpr Duration kFailover = seconds(20);  // 2.3 s are usual; an election of the log's leader takes up to 9 s more
inline constexpr Duration kRejoin = seconds(30);
inline constexpr std::size_t kWarmRows = 200;       // a second of writes: the writer's pace is known

/// "1854 ms".
std::string ms(double v);
inline double to_double_ms(Duration d) { return double(d.count()) / 1e6; }

/// Asks the gateway through HAProxy, again and again, each time by a connection of its own. Threads: an own one asks; the rest may be called from any.
class Visitor {
 public:
  explicit Visitor(std::string address) : address_(std::move(address)), thread_([this] { run(); }) {}
  ~Visitor() { stop(); }
  void stop();
  std::size_t answered() const;
  std::size_t failed() const { return failed_; }
  /// The longest time without an answer from `from` on.
  Duration longest_gap(Instant from) const;

 private:
  void run();
  std::string address_;
  std::atomic<bool> ending_ = false;
  std::atomic<std::size_t> failed_ = 0;
  mutable std::mutex mutex_;
  std::vector<Instant> answered_;  // guarded by mutex_
  std::thread thread_;
};

class Demo {
 public:
  Demo(test::ScratchCluster cluster, Report& report) : cluster_(std::move(cluster)), report_(report) {}
  void run();
  void figures() const;
  void keep();

 private:
  // demo.cc
  void start();
  void lose_node1();
  void return_of_node1();
  void one_digest();
  /// The log as it is now. Errors: kRetry.
  Result<void> read_log();
  /// Milliseconds from node1's end to when the log stored the event.
  double after_kill(const LogEvent& event) const { return double(event.stored_ns - test::wall_of(killed_)) / 1e6; }

  // postgres.cc
  void start_postgres();
  double bytes_per_row();
  void hold_the_stream();
  void timeline();
  void node1_is_a_replica();
  void switchover_home();
  void count_rows();
  void why();

  // engines.cc
  void start_engines();
  void put_haproxy_before();
  void ask_through_haproxy();
  void through_haproxy();
  void redis_moved();
  void qdrant_goes_on();
  void engines_are_whole();
  void incident();
  /// One request to Qdrant's peer on a node, with the key. Throws Failed where the answer is another than 200.
  nlohmann::json qdrant(const NodeId& node, const std::string& method, const std::string& path, const nlohmann::json& body);
  int points_at(const NodeId& node);

  test::ScratchCluster cluster_;
  Report& report_;
  std::vector<LogEvent> log_;
  Sequence before_;   // the newest event when node1 was killed
  Instant killed_{}, returned_{};

  std::unique_ptr<dev::ProbeWriter> one_, two_;  // at each PostgreSQL
  LogEvent decision_, completion_;
  double row_bytes_ = 0, gap_ms_ = 0, rejoin_ms_ = 0, switch_ms_ = 0;
  std::size_t lost_ = 0, lost_later_ = 0;
  bool within_ = false;

  std::unique_ptr<dev::ProbeWriter> proxied_;  // at PostgreSQL, through HAProxy
  std::unique_ptr<Visitor> visitor_;
  double proxied_pg_ms_ = 0, proxied_gateway_ms_ = 0;
  std::size_t proxied_pg_failed_ = 0, proxied_gateway_failed_ = 0;

  std::unique_ptr<dev::ProbeWriter> redis_one_, redis_two_;
  std::unique_ptr<test::SentinelWords> words_;  // node3's
  double redis_gap_ms_ = 0, redis_logged_ms_ = 0, qdrant_logged_ms_ = 0, whole_ms_ = 0;
  bool redis_followed_ = false;
};

}  // namespace daarion::demo
