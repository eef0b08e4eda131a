// A core of three servers and an edge with the users' rules applied, and what publishes, listens and counts on them.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/routing.h"
#include "streams/route_streams.h"
#include "tests/integration/helpers.h"

namespace daarion::test {

/// The rules of the users' own file, smaller.
std::vector<RouteRule> users_rules();

/// Servers with the plan in place: node1 to node3 in the core, and the node "edge".
class RouteRig {
 public:
  RouteRig();
  NatsServers servers;
  RoutePlan plan;
  std::shared_ptr<Connection> core, edge;  // account APP, as the user that may change streams

  static constexpr int kEdge = 3;  // index of the edge's server
  static constexpr int kNodes = 4;
  NodeId node(int index) const { return NodeId(servers.name(index)); }
  RouteWork apply_core() { return apply_core_routes(*core, plan, std::chrono::seconds(2)); }
  RouteWork apply_edge() { return apply_edge_routes(*edge, plan, node(kEdge), "core", std::chrono::seconds(2)); }
};

/// Publishes as a service does: each message until it is acknowledged, with the same Nats-Msg-Id, the next one after it.
class Publisher {
 public:
  /// `order`: the servers it may use, its own first. `until`: it stops after `least` messages of each subject once this is true.
  Publisher(const NatsServers& servers, std::vector<int> order, std::string origin, std::vector<std::string> subjects, int least, const std::atomic<bool>& until);
  ~Publisher();
  void join();
  int acked() const { return acked_; }
  const std::string& origin() const { return origin_; }
  /// How long after `from` the first message that was begun after it was acknowledged; negative: none was yet.
  double first_after_ms(std::chrono::steady_clock::time_point from) const;

 private:
  void run(int least, const std::atomic<bool>& until);
  bool put(const std::string& subject, const std::string& payload);
  std::shared_ptr<Connection> connection_;
  std::string origin_;
  std::vector<std::string> subjects_;
  std::atomic<int> acked_ = 0;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::pair<std::chrono::steady_clock::time_point, std::chrono::steady_clock::time_point>> done_;  // begun, acknowledged
  std::thread thread_;
};

/// Everything that one server's clients can hear, counted by subject.
class Ear {
 public:
  explicit Ear(const NatsEndpoint& as);
  ~Ear();
  std::map<std::string, int> heard() const;

 private:
  std::shared_ptr<Connection> connection_;
  std::atomic<bool> closed_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, int> heard_;
  std::thread thread_;
};

/// A deduplicating consumer's account of one stream: what came, what came again, and whether each origin's messages came in order.
struct Tally {
  std::map<std::string, int> first;  // origin -> messages, repeats apart
  int repeats = 0;
  int disorders = 0;
  std::string note;                  // of the first disorder
};
/// `filter`: what all of the stream's subjects match.
Tally read_all(Connection& connection, const std::string& stream, const std::string& filter);

}  // namespace daarion::test
