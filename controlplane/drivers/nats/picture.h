// What a cluster's nats-servers say of themselves, each for itself, and the one view that is made of their words. Values; no I/O.
//
// WHO IS BELIEVED. Every server of the core is asked, and believed about itself alone: a follower still names a leader that is dead, and only who says
// that it leads itself does. So it is with the leader of each stream, whose word of its replicas is the one that counts. A leaf node's server cannot be
// asked by the account SYS, which ends at the core: it is there while its JetStream answers through its link.
//
//   node1: leads the meta group; routes to node2, witness          \  the primary is node1, and its word of what it leads counts;
//   node2: meta leader node1; route to node1; leads APP/MESSAGE    /  "no route between the servers of node2 and node3"
//   witness (node3): meta leader node1; route to node1
//
// WHAT PASSES BY ITSELF IS NOT SAID. JetStream elects in 4 to 9 s; a server that starts, or was away, takes some seconds to catch up; a link that was cut
// is there again in a second or two. So a server that is silent is taken at its last word for a moment, the last leader stands while an election may take
// place, and a problem must have stood for as long as what mends it by itself may take.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/drivers/heads.h"
#include "controlplane/topology/render.h"

namespace daarion::nats {

/// A server that the cluster file asks for.
using Server = NatsServerPlan;
using Kind = NatsServerPlan::Kind;

/// Another server's copy of a stream, as the stream's leader sees it.
struct Replica {
  std::string server;
  bool current = true, offline = false;
  std::uint64_t lag = 0;  // entries of the stream's raft
  bool operator==(const Replica&) const = default;
};
/// Where a stream takes messages from.
struct Origin {
  std::string stream;
  std::string domain;                // JetStream's; empty: the stream's own
  std::optional<Duration> silent;    // since it was heard of; nothing: it never was
  std::uint64_t lag = 0;             // messages
  bool operator==(const Origin&) const = default;
};
struct Stream {
  std::string account, name;
  std::string leader;                // as this server knows; empty: it knows none, or the server is alone
  std::size_t wanted = 1;            // replicas
  std::uint64_t last = 0;            // sequence, as this server has it
  std::vector<Replica> others;       // but the leader
  std::vector<Origin> origins;       // of a mirror one
  bool operator==(const Stream&) const = default;
};

/// What one server said. A leaf node's: that it answered, nothing more.
struct Word {
  std::string server;
  Instant at{};                                // when it was heard
  std::string id, version;
  bool answers = false;                        // its JetStream does
  bool jetstream = false;                      // and is on
  std::uint64_t stored = 0, may_store = 0;     // bytes on disk
  std::optional<Duration> sync;                // between its syncs to disk, zero: after every write; nothing: it does not say, as all before 2.10
  std::string meta_leader;                     // as it knows
  std::size_t meta_size = 0;                   // servers that the meta group counts; 0: it is alone
  std::vector<Replica> meta_others;            // of it, but its leader, as that sees them; who does not lead names none
  std::optional<std::set<std::string>> routes; // to the servers with these ids; nothing: it did not say
  std::optional<std::vector<Stream>> streams;  // that it has; nothing: they were not asked for
  bool operator==(const Word&) const = default;
};

/// What one observer remembers. Lost with it: whatever has stood for a while has to do so again.
struct History {
  std::optional<Instant> began;
  std::map<std::string, Word> words;     // the newest of each server
  NodeId primary;                        // and when it was last seen to lead
  Instant led{};
  std::map<std::string, Instant> since;  // of everything that is not as it should be
  std::map<std::string, Heads> heads;    // of each stream that is led: its leader's last sequence
};

/// Each of these is longer than what it waits for takes: see above.
inline constexpr Duration kHeld = std::chrono::seconds(3);
inline constexpr Duration kElection = std::chrono::seconds(10);
inline constexpr Duration kRoute = std::chrono::seconds(10);
inline constexpr Duration kJetStream = std::chrono::seconds(10);
inline constexpr Duration kLeaderless = std::chrono::seconds(15);
inline constexpr Duration kCopies = std::chrono::seconds(30);    // a replica that was away catches up
inline constexpr Duration kSilent = std::chrono::seconds(60);    // a mirror is heard of every second or two; newer servers wait up to 30 s to ask again
inline constexpr Duration kUpgrade = std::chrono::minutes(10);   // servers are upgraded one after the other
inline constexpr std::uint64_t kLag = 1000;                      // messages that an origin may be ahead by

/// The words to go by: those that were heard now and, of who is silent, the last one for kHeld. What a word leaves out is as it was. Pre: `now` does not fall.
std::vector<Word> believe(History& history, const std::vector<Word>& heard, Instant now);
/// Pre: the words are believe()'s, of the same moment.
ResourceView view_of(const std::vector<Server>& planned, History& history, const std::vector<Word>& words, Instant now);

}  // namespace daarion::nats
