// For services in C++: the cluster's route table as it changes, where a subject goes, and a rule's messages at this node, each once.
//
//   auto client = client::Client::connect({.urls = {"nats://10.0.0.3:4222"}, .user = "app", .password = secret, .name = "helion"}, "node3", limit);
//   const client::Route route = (*client)->resolve("message.received.helion");
//   auto reader = (*client)->read("message");
//   while (auto message = reader->next(std::chrono::seconds(1)))
//     if (*message) work_on(**message);
//
// Connect to the node's own nats-server, in account APP. On an edge everything here goes on while the edge is cut off.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "streams/site_reader.h"

namespace daarion::client {

/// What the table says of a subject that is published on a node.
struct Route {
  std::string cls = "uncovered";           // replicated, node_local, edge_local
  std::string rule;
  std::string stream;                      // that captures it; empty: none
  std::string mirror;                      // on an edge: what was published elsewhere; empty: `stream` has everything
  std::vector<std::string> nodes;          // where it can be heard; empty: it may not be published there
  std::string service;                     // that it is for; empty: none
  std::vector<std::string> service_nodes;  // where that is active, the healthy ones first
  std::string capability, provider;        // that it needs, and who provides it now
  bool dead_letter = false;                // kept, and never taken for work
  bool operator==(const Route&) const = default;
  bool covered() const { return !rule.empty(); }
};

/// One route table as it was published (docs/operator-guide.md, "Routes"). A value.
class Table {
 public:
  /// Errors: kFixInput if the text is no route table.
  static Result<Table> parse(const std::string& text);

  /// `from`: the id of the node that publishes. Of all rules that take the subject, the first one counts.
  Route resolve(std::string_view subject, std::string_view from) const;
  /// The streams that have a rule's messages at that node, as read_site() takes them; empty: no such rule, node or streams.
  std::vector<std::string> streams(std::string_view rule, std::string_view at) const;
  std::vector<std::string> active(std::string_view service) const;
  /// For this agent: its own chain's if it has one, else everybody's. Empty: nobody.
  std::string provider(std::string_view capability, std::string_view agent = {}) const;
  std::uint64_t updated() const { return updated_; }  // the event that changed it last

 private:
  struct Rule {
    std::string name, cls, stream, mirror, service, capability;
    std::vector<std::string> subjects;
  };
  struct Node {
    std::string id;
    bool edge = false;
  };
  struct Provider {
    std::string capability, agent, provider;
  };
  const Node* node(std::string_view id) const;
  bool is_local_to(const Rule& rule, const std::string& pattern, std::string_view id) const;
  std::vector<Rule> rules_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, std::vector<std::string>>> services_;
  std::vector<Provider> providers_;
  std::uint64_t updated_ = 0;
};

/// Which of a rule's messages a reader gives: a worker never gets a dead letter, whose subject ends in "dlq".
enum class Letters { kWork, kDead };

/// Threads: any.
class Client {
 public:
  /// Waits for the first table. Errors: kRetry if no server or no table comes within the limit, kFixInput for refused credentials.
  static Result<std::unique_ptr<Client>> connect(const NatsEndpoint& own_server, std::string node, Duration limit);

  std::shared_ptr<const Table> table() const;
  /// Waits for a table that was changed after event `updated`. Whether it came.
  bool await_table_after(std::uint64_t updated, Duration limit) const;
  Route resolve(std::string_view subject) const { return table()->resolve(subject, node_); }
  /// Null: the table has no such rule, or it keeps no messages. A reader of work and one of dead letters have each a position of its own.
  std::unique_ptr<SiteReader> read(std::string_view rule, SitePosition from = {}, Letters letters = Letters::kWork) const;

 private:
  Client(std::shared_ptr<Connection> app, std::string node);
  void take(const std::string& text);
  const std::shared_ptr<Connection> app_;
  const std::string node_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::condition_variable came_;
  std::shared_ptr<const Table> table_;
  std::unique_ptr<TableFollower> follower_;  // last: it calls take()
};

}  // namespace daarion::client
