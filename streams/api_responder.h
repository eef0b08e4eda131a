// JSON request and reply on cluster.api.<verb>, from the accounts CONTROL and APP, in the core and on edges.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "streams/connection.h"

namespace daarion {

/// `verb` is what follows "cluster.api."; returns the reply, also for what it does not know. Threads: several at a time.
using ApiHandler = std::function<std::string(const std::string& verb, const std::string& request)>;

/// Answers for as long as it lives. All nodes are one queue group: exactly one of them answers a request, a near one first.
/// A few requests are worked on at once; what does not fit in the queue behind them is answered as an error at once.
class ApiResponder {
 public:
  virtual ~ApiResponder() = default;
};
std::unique_ptr<ApiResponder> make_nats_api_responder(const std::vector<std::shared_ptr<Connection>>& connections, ApiHandler handler);

}  // namespace daarion
