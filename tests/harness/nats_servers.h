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
/// domain "core"; and, if asked for, one edge server attached as a leaf node, domain "edge".
class NatsServers {
 public:
  struct Options {
    int size = 3;
    bool edge = false;
    std::vector<RouteRule> routes = {};
    std::string binary = {};  // empty: NATS_SERVER, else nats-server of the PATH
  };
  explicit NatsServers(Options options);
  ~NatsServers();
  NatsServers(const NatsServers&) = delete;
  NatsServers& operator=(const NatsServers&) = delete;

  int size() const { return static_cast<int>(servers_.size()); }   // the edge, if any, is the last
  std::string name(int index) const;
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
  void cut_edge();           // the leaf's link to the core, while both sides live
  void heal_edge();
  const std::string& version() const { return version_; }

  static constexpr const char* kUser = "control";
  static constexpr const char* kPassword = "test-control";

 private:
  struct Server {
    std::string name;
    std::string address;
    std::string config;
    pid_t pid = -1;
  };
  void write_config(int index);
  std::string link_address(int core) const;
  Options options_;
  std::string folder_;
  std::optional<dev::Network> network_;
  std::string version_;
  std::string password_ = kPassword;
  double login_limit_ = 0;
  std::vector<Server> servers_;
  std::vector<std::unique_ptr<TcpLink>> links_;  // from the edge, one to each core server
};

}  // namespace daarion::test
