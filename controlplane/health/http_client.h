// HTTP asked within a time, whatever the server does: accepts and says nothing, answers a byte a second, never ends.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion {

struct HttpAnswer {
  int status = 0;
  std::string content_type, body;
  std::string location;  // of a redirect
};

struct HttpCall {
  std::string method = "GET";
  std::string path;
  std::string body;  // JSON; empty: none
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t most = 8 << 20;  // bytes of the body that are read; the rest is not
};

struct HttpReply {
  HttpAnswer answer;    // status 0: none came
  bool late = false;    // the time was over first
  std::string error;    // why there is no answer; empty: there is one
};

/// One server. Calls share a connection while the server keeps it. Threads: one at a time.
class HttpClient {
 public:
  HttpClient(const std::string& address, std::uint32_t port, bool keep = false);
  ~HttpClient();
  /// Blocks for `limit` at most; for twice that where the connection took as long to be made.
  HttpReply call(const HttpCall& call, Duration limit);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace daarion
