// The gRPC admin API: daarion.v1.Admin, reflection and grpc.health.v1.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "controlplane/api/operator.h"
#include "controlplane/api/route_desk.h"
#include "controlplane/api/status.h"
#include "controlplane/core/result.h"
#include "streams/event_log.h"

namespace daarion {

struct AdminPorts {
  std::function<std::shared_ptr<const StatusView>()> view;
  std::shared_ptr<Operator> operations;
  std::function<Result<std::unique_ptr<LogReader>>(Sequence from)> reader;
  std::shared_ptr<RouteDesk> routes = std::make_shared<RouteDesk>();
  std::map<std::string, NodeId> aliases;  // of nodes, from the cluster file; names of requests are folded with them
};

class GrpcServer {
 public:
  virtual ~GrpcServer() = default;
  /// Listens on bind:port; port 0: any free one. Errors: kFixInput if the port is taken, naming it.
  static Result<std::unique_ptr<GrpcServer>> start(const std::string& bind, std::uint32_t port, AdminPorts ports);
  virtual std::uint32_t port() const = 0;
};

}  // namespace daarion
