// Services in a whole cluster: stand-ins on its nodes, and the route table as a service of the cluster reads it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "controlplane/dev/processes.h"
#include "tests/cluster/kit.h"

namespace daarion::test {

/// Adds blocks to the cluster file; before start_all().
void add_to_file(const dev::LocalCluster& cluster, const std::string& text);

/// Starts a stand-in for these ports on a node; it answers from then on. Its end is the cluster's, or send_signal. Errors: kFixInput.
Result<dev::ProcessId> start_stand_in(const dev::LocalCluster& cluster, const NodeId& node, const std::vector<std::uint32_t>& ports);
/// What the stand-in on that port answers from now on; empty: that all is well.
void set_health(const dev::LocalCluster& cluster, const NodeId& node, std::uint32_t port, const std::string& body);

/// HAProxy as it is rendered, before the whole cluster, at an address of its own on this machine, which is returned. Its end is the cluster's.
/// Errors: kFixInput.
Result<std::string> start_haproxy(const dev::LocalCluster& cluster);

/// The node's own nats-server, as a service connects to it: account APP.
NatsEndpoint own_server(dev::LocalCluster& cluster, const NodeId& node);

/// The route table where services find it: the KV bucket of a node's site, read as user `app`.
class TableReader {
 public:
  /// Errors: kRetry where no server answers.
  static Result<TableReader> open(dev::LocalCluster& cluster, const NodeId& node);
  /// The newest table; null while there is none.
  nlohmann::json newest() const;
  /// Where the service is active.
  std::vector<std::string> active(const std::string& service) const;
  /// Who provides it; "-" where nobody was ever said to.
  std::string provider(const std::string& capability) const;
  /// Waits until it holds, looking every 2 ms. Returns when it was seen. Errors: kRetry, with the table.
  Result<Instant> await(const std::string& what, Duration limit, const std::function<bool(const TableReader&)>& holds) const;

 private:
  std::shared_ptr<Connection> app_;
};

}  // namespace daarion::test
