// HTTP: health, readiness, status, peers, and what load balancers ask. Answers come from memory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controlplane/api/route_desk.h"
#include "controlplane/api/status.h"
#include "controlplane/core/result.h"

namespace daarion {

class HttpServer {
 public:
  virtual ~HttpServer() = default;
  /// Listens on bind:port; port 0: any free one. `view` is called per request, from any thread. Errors: kFixInput if the port is taken, naming it.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& bind, std::uint32_t port, std::function<std::shared_ptr<const StatusView>()> view,
                                                   std::shared_ptr<RouteDesk> routes = std::make_shared<RouteDesk>());
  virtual std::uint32_t port() const = 0;
};

}  // namespace daarion
