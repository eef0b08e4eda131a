// One connection to a Redis server, every step of it bounded. It never reconnects by itself: an answer is always the answer of the
// server that was connected to, and a connection that missed one is good for nothing more (the late answer would be taken for the next
// one's). hiredis makes and reads the bytes; waiting is done here, since its own timeouts are per read, not per command.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::redis {

// observe() is to be done in about 500 ms, worst case: connect and ask, each bounded.
inline constexpr std::chrono::milliseconds kConnectLimit{150};
inline constexpr std::chrono::milliseconds kAskLimit{200};

struct Target {
  std::string host;  // beginning with '/': a UNIX socket
  std::uint32_t port = 0;
  std::string user;  // empty: the server's default user
  std::string password;
};

struct Reply {
  enum class Kind { kNull, kText, kNumber, kList, kError };
  Kind kind = Kind::kNull;
  std::string text;  // kText, kError
  std::int64_t number = 0;
  std::vector<Reply> list;
  bool operator==(const Reply&) const = default;
};

using Command = std::vector<std::string>;

class Connection {
 public:
  /// Connects and logs in. Errors: kRetry; the message is the system's or the server's word.
  static Result<std::unique_ptr<Connection>> open(const Target& target, Duration limit);
  ~Connection();
  /// Runs commands one after the other; no other client's come between those that reach the server together. Errors: kRetry; effect
  /// kMaybe if an answer did not come in time. A refusal of one command is its reply, not an error.
  Result<std::vector<Reply>> run(const std::vector<Command>& commands, Duration limit);
  /// One command. Errors: also the server's refusal.
  Result<Reply> ask(const Command& command, Duration limit);
  /// What the server sends to a subscriber unasked; nothing if nothing comes in time. Errors: kRetry: the connection is lost.
  Result<std::optional<Reply>> listen(Duration limit);
  bool alive() const;

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 private:
  struct Handle;
  Result<std::optional<Reply>> next(std::chrono::steady_clock::time_point until);
  tl::unexpected<Error> lost(const std::string& why, Effect effect);
  explicit Connection(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

/// Connections that are kept between looks, one to each process.
class KeptConnections {
 public:
  /// The kept one, or a new one. Errors: kRetry.
  Result<Connection*> reach(const Target& target, Duration limit);
  /// Runs commands. One that the other side ended meanwhile is no sign of anything (Sentinel ends all connections of a server that it demotes): it is
  /// made anew once. Errors: also if the server refuses the first command.
  Result<std::vector<Reply>> ask(const Target& target, const std::vector<Command>& commands, Duration connect_limit, Duration ask_limit);

 private:
  std::map<std::string, std::unique_ptr<Connection>> kept_;  // by "host:port"
};

/// "role:master\r\n..." as INFO answers: a field's value, "" if it is not there.
using Info = std::map<std::string, std::string>;
Info parse_info(const std::string& text);
std::string field(const Info& info, const std::string& name);
/// A number; `otherwise` if it is missing or none (-1 counts as none).
std::uint64_t number(const Info& info, const std::string& name, std::uint64_t otherwise = 0);

}  // namespace daarion::redis
