// Real nats-servers for tests: on loopback addresses of their own, ended by pid.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/dev/loopback.h"
#include "controlplane/topology/cluster_file.h"
#include "streams/event_log.h"
#include "tests/harness/tcp_link.h"

namespace daarion::test {

/// A core cluster of `size` servers (1: standalone), configured as topology/render.h does it: accounts SYS, CONTROL and APP, JetStream
/// domain "core"; and, if asked for, edges attached as leaf nodes, each with a domain of its own: "edge", "edge2", ...
class NatsServers {
 public:
  struct Options {
    int size = 3;
    int edges = 0;
    bool witness = false;  // the last of the core's servers stands beside the first edge, and serves no application
    bool cuttable = true;  // the edges' links go through proxies that cut_edge() closes; else straight to the core
    std::vector<RouteRule> routes = {};
    std::string binary = {};  // empty: NATS_SERVER, else nats-server of the PATH
  };
  explicit NatsServers(Options options);
  ~NatsServers();
  NatsServers(const NatsServers&) = delete;
  NatsServers& operator=(const NatsServers&) = delete;

  int size() const { return static_cast<int>(servers_.size()); }  // the core's come first, then the edges
  bool is_edge(int index) const { return index >= options_.size; }
  bool is_witness(int index) const { return options_.witness && index == options_.size - 1; }
  std::string name(int index) const;  // of the server; of its node too, but for the witness
  std::string url(int index) const;
  enum class Account { kControl, kSys, kApp, kRoutes };  // kRoutes: APP, as the user that may change streams
  ClusterFile file() const;
  const std::string& folder() const { return folder_; }  // of the configurations, routes files and pid files
  NatsEndpoint endpoint(std::vector<int> order, const std::string& name, Account account = Account::kControl) const;
  void kill(int index);      // SIGKILL
  void freeze(int index);    // SIGSTOP
  void thaw(int index);
  void start(int index);     // after kill()
  void set_password(const std::string& password);  // of CONTROL, in the files: for the next start()
  void set_login_limit(double seconds);  // what a client has for its greeting, in the files: for the next start(); 0: the server's own
  bool runs(int index) const;
  void cut_edge();           // every edge's link to the core, while both sides live. Pre: cuttable
  void heal_edge();
  const std::string& version() const { return version_; }
  /// What a server warned of so far, its newest lines last. Source: its log.
  std::vector<std::string> warnings(int index) const;

  static constexpr const char* kUser = "control";
  static constexpr const char* kPassword = "test-control";

 private:
  struct Server {
    std::string name;
    std::string address;
    std::uint32_t client = 0;
    std::string config;
    pid_t pid = -1;
  };
  void write_config(int index);
  std::string link_address(int core) const;
  int linked() const { return options_.size - (options_.witness ? 1 : 0); }  // core servers that take leaf nodes
  Options options_;
  std::string folder_;
  std::optional<dev::Network> network_;
  std::string version_;
  std::string password_ = kPassword;
  double login_limit_ = 0;
  std::vector<Server> servers_;
  std::vector<std::unique_ptr<TcpLink>> links_;  // from the edges, one to each core server that they may use; none: not cuttable
};

}  // namespace daarion::test
