// What is wrong with the shards of a Qdrant cluster, and what is done about it next. Pure: a picture, what was declared, what was tried before.
//
// Qdrant elects by itself and brings a replica that fell behind up to date by itself. What it does not do is keep a declared shape: a
// collection made with one replica stays at one, a peer that is gone for ever is still counted. So the plan waits until Qdrant had its time
// (`patience`; `away` for a member that does not answer and may come back), then has whole replicas copied, one shard at a time:
//
//   a shard below its factor    replicate_shard from a whole replica to a member's peer: first one that has a broken replica of it, else the
//                               one with the fewest replicas
//   a replica on a retired one  drop_replica, once as many whole ones as declared are elsewhere
//   a retired peer              removed from the consensus once it has no shard; never by force
//
// Never: two steps for one shard, a step for a shard in transfer or in resharding, a step that would leave a shard without a whole replica,
// anything at all by a picture that is not settled. A shard without any whole replica is named and left alone: to choose what is lost is a
// person's decision. Every try doubles the wait for the next of its kind.
#pragma once

#include <set>

#include "controlplane/drivers/heads.h"
#include "controlplane/drivers/qdrant/picture.h"

namespace daarion::qdrant {

struct Declared {
  std::uint32_t shards = 0, replication_factor = 0;  // 0: nothing is said of it
  std::vector<NodeId> nodes;                         // the members
  std::set<NodeId> resting;                          // draining, in maintenance, disabled: nothing new goes there
  std::set<NodeId> retired;
  Duration patience = std::chrono::seconds(10);      // Qdrant begins its own recovery within a few seconds
  Duration away = std::chrono::seconds(60);          // a reboot is shorter; to copy a shard for nothing costs disk and network
  std::uint32_t most_transfers = 2;                  // in all the cluster, those of Qdrant's own among them
};

struct Step {
  enum class Kind { kReplicate, kDropReplica, kRemovePeer };
  Kind kind = Kind::kReplicate;
  std::string collection;  // not of kRemovePeer
  ShardId shard = 0;
  PeerId from = 0;         // kReplicate: the source
  PeerId to = 0;           // kReplicate: the target; else the peer in question
  std::string what;        // "replicate docs/1 from node1 to node2"
  std::string reason;      // "1 of 2 replicas is whole"
  bool operator==(const Step&) const = default;
};

/// Tries of one kind of step with one thing, whatever came of them: a transfer can fail after it was begun well.
struct Tries {
  std::uint32_t count = 0;
  Instant last{};
  std::string error;  // of the last; empty: it was accepted
  bool operator==(const Tries&) const = default;
};
using StepKey = std::tuple<std::string, ShardId, Step::Kind, PeerId>;
StepKey key_of(const Step& step);

/// What one planner remembers. Lost with it: a new one waits its patience anew, no more.
struct History {
  std::map<std::pair<std::string, ShardId>, Instant> short_since;
  std::map<std::tuple<std::string, ShardId, PeerId, PeerId>, Instant> transfer_since;
  std::map<NodeId, Instant> silent_since;
  std::map<StepKey, Tries> tries;
  Heads commits;  // of the raft
  bool operator==(const History&) const = default;
};

struct Plan {
  std::vector<Problem> problems;  // the picture's, and what is wrong with the shards
  std::vector<Step> steps;        // to be done now, in this order
  bool operator==(const Plan&) const = default;
};

/// Brings the history up to a picture: what is short since when, and which tries are over because they succeeded.
void remember(History& history, const Declared& declared, const Picture& picture, Instant now);
void tried(History& history, const Step& step, Instant now, std::string error);

/// Pre: remember() with the same picture.
Plan plan(const Declared& declared, const Picture& picture, const History& history, Instant now);

/// How long to wait after so many tries. Units: 5 s, doubling up to 10 min.
Duration wait_after(std::uint32_t tries);

}  // namespace daarion::qdrant
