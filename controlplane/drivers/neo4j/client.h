// Neo4j's HTTP interface, as far as its cluster and its databases are concerned. Every call is bounded and only reads; the password is sent, and
// neither kept in a message nor logged.
// Source: Neo4j's operations manual and HTTP API manual, 4.4 and 5; Community 4.4.38 and 5.26.0 as they answer (docs/neo4j.md).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/drivers/neo4j/picture.h"
#include "controlplane/health/http_client.h"

namespace daarion::neo4j {

struct Target {
  NodeId node;
  std::string host;
  std::uint32_t port = 7474;
  std::string user, password;  // no password: none is sent
};

/// One member's Neo4j. Threads: one at a time.
class Client {
 public:
  explicit Client(Target target);
  /// What it says of itself, of the cluster and of its databases, asked within `limit` altogether. Never fails: what goes wrong is in the word.
  Word look(Duration limit);
  const Target& target() const { return target_; }

 private:
  struct Answer {
    int status = 0;
    std::string body;
  };
  Result<Answer> ask(const HttpCall& call, Duration limit);
  Result<std::string> query(const std::string& database, const std::string& statement, Duration limit);
  const Target target_;
  HttpClient http_;
  bool late_ = false;  // the newest call ran out of its time
};

/// All members. Threads: one at a time.
class Members {
 public:
  explicit Members(const std::vector<Target>& targets);
  /// Asks all of them at once, and waits for none longer than `limit`.
  std::vector<Word> look(Duration limit);

 private:
  std::vector<std::unique_ptr<Client>> clients_;
};

/// The same, from the text of an answer. Errors: kRetry, naming what is missing or of another type.
/// GET /: fills version, edition, bolt.
Result<void> read_discovery(const std::string& text, Word& word);
/// GET /dbms/cluster/status, of a member of a cluster: fills the rafts of its copies.
Result<void> read_status(const std::string& text, Word& word);
/// SHOW DATABASES YIELD *: fills its copies. Pre: discovery and status were read: of the rows of all servers, its own are told by them.
Result<void> read_databases(const std::string& text, Word& word);
/// SHOW SERVERS YIELD *.
Result<void> read_servers(const std::string& text, Word& word);
/// The newest transaction that an answer of /tx/commit tells in its bookmark; nothing: it has none, or one of another form.
std::optional<std::uint64_t> transaction_in(const std::string& text);
/// The first of {"errors":[{"code":..., "message":...}]} in one line; empty: it has none. `text` that is no JSON: its beginning.
std::string error_in(const std::string& text);

}  // namespace daarion::neo4j
