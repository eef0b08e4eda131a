// What the members of a Neo4j say of it, each for itself, and the one picture that is made of their words. Values; no I/O.
//
// EVERY DATABASE HAS A RAFT OF ITS OWN, so every database has a leader of its own; the leader of the default database is the resource's primary, and
// what else a server leads stands in its role. Every member is asked, and is believed only about its own copies: a server that was cut off answers
// well and still names the leader that it knew. A leader is one whom a majority of the voters that it is named with name, each by its own word.
//
//   node1: neo4j: leader a, voters a b c; docs: leader b    \ a of neo4j is named by 2 of 3, b of docs too: node1 is "leader (neo4j)",
//   node2: neo4j: leader a, voters a b c; docs: leader b    / node2 "core (leads docs)"
//   node3: neo4j: leader c, voters a b c                    "node3 names another leader of neo4j": it was cut off, and elected nobody but itself
//
// COMMUNITY HAS NO CLUSTER. Each of its instances is a database of its own. The first declared core is then the one instance that is managed, and the
// others are named: nobody copies to them.
//
// LAG is counted in transactions: the leader's newest transaction id less the copy's. Its time is measured here: for how long the leader has been seen
// to have a transaction that the copy has not.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/drivers/heads.h"

namespace daarion::neo4j {

/// What GET /dbms/cluster/status says of one database on one server.
struct Raft {
  std::string member;               // the server, as the raft knows it
  std::string leader;               // the same; empty: it knows none
  std::set<std::string> voters;     // as far as it knows
  bool core = true;                 // it may vote; a read replica does not
  bool healthy = true;              // it can write what it is told
  bool operator==(const Raft&) const = default;
};

/// One database on one server, by that server's own word.
struct Copy {
  std::string id;                            // of its data: the same on every server that has a copy of it
  std::string role;                          // primary, secondary, unknown; before 5: leader, follower, read_replica, standalone
  std::string kind;                          // standard, system, composite; before 5 empty
  std::string requested, current, message;   // status: online, offline, ...
  bool writer = false;
  bool is_default = false;
  std::optional<std::uint64_t> transaction;  // its newest that is committed; Community does not say it here
  std::optional<Raft> raft;                  // where it is in a cluster
  bool operator==(const Copy&) const = default;
};

/// A row of SHOW SERVERS.
struct Server {
  std::string id, name, address, state, health;
  bool operator==(const Server&) const = default;
};

struct Word {
  NodeId node;
  bool reached = false;             // a Neo4j answered, and let us in
  bool late = false;                // it is there, and what was asked of its databases was not answered in time
  std::string error;                // why not, or what of the answer could not be read
  std::string version, edition;     // as it says itself: "5.26.0", "community"
  std::string bolt;                 // host:port that it tells clients
  bool clustered = false;
  std::map<std::string, Copy> copies;
  std::vector<Server> servers;      // of the whole cluster; 5 and later
  bool whole = false;               // everything was read
  bool operator==(const Word&) const = default;
};

struct Declared {
  bool cluster = true;                  // mode causal-cluster; else single
  std::vector<NodeId> cores, read_replicas;
  std::map<NodeId, std::string> addresses;
  Duration max_lag{};                   // longer than that is a problem; zero: none is
  std::vector<NodeId> nodes() const;
};

struct Problem {
  std::string code;  // snake_case, stable
  std::string text;  // one line: what, and what to do
  bool operator==(const Problem&) const = default;
};

/// What one observer remembers. Lost with it: lag is counted anew.
struct History {
  std::map<NodeId, std::pair<Instant, Word>> whole;                             // the newest whole word of each
  std::map<std::string, Heads> heads;   // of each database: since when its leader had so many transactions
  std::map<NodeId, std::string> editions;                                       // as each said last: an instance that is stopped is of the edition that it was
  bool operator==(const History&) const = default;
};

struct Picture {
  bool community = false;                  // no member can be in a cluster
  std::string default_database;            // empty: nobody says
  std::map<std::string, NodeId> leaders;   // by database; one that has none, or none of ours, is not in it
  NodeId primary;
  std::vector<MemberView> members;
  std::vector<Problem> problems;
  std::string elected_by;
  bool operator==(const Picture&) const = default;
};

/// A Java program pauses for its garbage, and plans a query when it first hears it: a server that is late is taken at its last word for so long.
inline constexpr Duration kHeld = std::chrono::seconds(5);

/// What another program said, as it may stand in an event: its first line, of so many bytes at most, and nothing but ASCII. An event's text must be
/// whole UTF-8, or no node can read it again.
std::string plain_text(const std::string& text, std::size_t most);

/// The words to be believed now, and the history brought up to them. Pre: `now` does not fall.
std::vector<Word> believe(History& history, std::vector<Word> words, Instant now);
/// Pre: the words are believe()'s.
Picture picture_of(const Declared& declared, const std::vector<Word>& words, const History& history, Instant now);
/// Brings the lag's history up to a picture's leaders; the next picture measures by it.
void remember_heads(History& history, const Picture& picture, const std::vector<Word>& words, Instant now);

}  // namespace daarion::neo4j
