// One connection to a PostgreSQL server, every step of it bounded. It never reconnects by itself: an answer is always the
// answer of the server that was connected to. Asynchronous libpq, since a blocking call (libpqxx's too) waits for ever on a
// server that is stopped, and libpq's own connect timeout is at least 2 s.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion::postgres {

struct Target {
  std::string host;  // a folder: its UNIX socket
  std::uint32_t port = 0;
  std::string user;
  std::string password;
  std::string database = "postgres";
  bool replication = false;  // a walsender of `database`: SQL and replication commands
};

using Row = std::vector<std::string>;  // null: empty
using Rows = std::vector<Row>;

class Connection {
 public:
  /// Errors: kRetry; the message is the server's word, on one line. Source: PQconnectPoll.
  static Result<std::unique_ptr<Connection>> open(const Target& target, Duration limit);
  ~Connection();
  /// Runs one statement. Errors: kRetry with the server's word; effect kMaybe if no answer came in time, and then the
  /// connection is good for nothing more.
  Result<Rows> query(const std::string& sql, Duration limit);
  bool alive() const;
  std::uint32_t version() const;  // 150020
  std::string literal(const std::string& text) const;
  std::string name(const std::string& text) const;
  /// The SCRAM verifier of a password, so that the password itself is in no statement and no log. Empty if it cannot be made.
  std::string verifier(const std::string& user, const std::string& password) const;
  /// SQLSTATE of the last failed statement; empty: none.
  const std::string& sqlstate() const { return sqlstate_; }

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 private:
  struct Handle;
  explicit Connection(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
  std::string sqlstate_;
};

/// Whether the postmaster at `target` itself answers: it forks a child that refuses TLS with one byte. A stopped postmaster accepts
/// connections (the kernel does) and its old backends answer, but it forks nothing.
Result<void> knock(const Target& target, Duration limit);

}  // namespace daarion::postgres
