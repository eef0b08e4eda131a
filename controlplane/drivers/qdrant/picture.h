// What the members of a Qdrant cluster say of it, each for itself, and the one picture that is made of it. Values; no I/O.
//
// EVERY MEMBER IS ASKED. A peer that lost its storage, or was cut off, answers well and lies: it lists itself alone, or shards as they were.
// So a picture is *settled* only if a majority of the peers that it lists named the same leader in the same term, each by its own word; what
// the newest of them (highest commit) says of placement is then taken, and all who say otherwise are named. Nothing is done by a picture that
// is not settled.
//
//   node1: peer 17, leader 42, term 5, commit 90, peers 17 42 63   \ 2 of 3 name leader 42 in term 5: settled, node2's word is taken
//   node2: peer 42, leader 42, term 5, commit 91, peers 17 42 63   /
//   node3: peer 99, leader 99, term 1, commit  3, peers 99           "node3 is not in the cluster": its storage was lost, 63 is a former peer
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::qdrant {

using PeerId = std::uint64_t;
using ShardId = std::uint32_t;

/// Source: ReplicaState of the published OpenAPI. kUnknown: a word that is newer than this program; it is never taken for a whole copy.
enum class ReplicaState {
  kActive, kDead, kPartial, kInitializing, kListener, kPartialSnapshot, kRecovery, kResharding, kReshardingScaleDown, kActiveRead, kManualRecovery, kUnknown,
};
const char* text_of(ReplicaState state);
ReplicaState replica_state(const std::string& text);
/// Whether it has all of the shard and may be copied from.
bool is_whole(ReplicaState state);

struct Transfer {
  ShardId shard = 0;
  PeerId from = 0, to = 0;
  bool sync = false;  // a copy; else a move
  auto operator<=>(const Transfer&) const = default;
};

struct CollectionParams {  // 0: not known
  std::uint32_t shard_number = 0, replication_factor = 0, write_consistency_factor = 0;
  bool custom_sharding = false;  // by keys: then shard_number counts per key
  bool operator==(const CollectionParams&) const = default;
};

struct CollectionSeen {
  CollectionParams params;
  std::map<ShardId, std::map<PeerId, ReplicaState>> shards;
  std::vector<Transfer> transfers;
  bool resharding = false;
  bool operator==(const CollectionSeen&) const = default;
};

/// The word of one member.
struct PeerView {
  NodeId node;
  bool reached = false;     // it answered, and in time
  std::string error;        // why not, or what of the answer could not be read
  bool clustered = false;   // distributed mode is on
  PeerId id = 0;
  std::map<PeerId, std::string> peers;  // with the address that they reach each other by
  std::uint64_t term = 0, commit = 0, pending = 0;
  std::optional<PeerId> leader;
  bool voter = true;
  std::string consensus;    // what is wrong with its consensus thread; empty: it works
  std::string version;      // of the server
  std::map<std::string, CollectionSeen> collections;
  bool whole = false;       // every collection was read
  bool operator==(const PeerView&) const = default;
};

struct Problem {
  std::string code;        // snake_case, stable
  std::string collection;  // empty: of the cluster
  std::optional<ShardId> shard;
  std::string text;        // one line: what, and what to do
  bool operator==(const Problem&) const = default;
};

struct PeerSeen {
  NodeId node;            // by its address; empty: none of ours
  bool answers = false;   // asked by us, as this peer
  bool former = false;    // another peer answers at its address: its storage is gone
  bool operator==(const PeerSeen&) const = default;
};

struct Picture {
  bool settled = false;
  PeerId leader = 0;
  std::uint64_t term = 0, commit = 0;
  NodeId by;              // whose word it is
  std::map<PeerId, PeerSeen> peers;
  std::map<std::string, CollectionSeen> collections;
  std::vector<Problem> problems;
  bool operator==(const Picture&) const = default;

  std::optional<PeerId> peer_of(const NodeId& node) const;
  /// "node2", or the id of a peer that is none of ours.
  std::string name_of(PeerId peer) const;
};

/// `addresses`: of every node of the cluster, member of the resource or not: a peer of an unknown address is a stranger.
Picture picture_of(const std::vector<PeerView>& views, const std::map<NodeId, std::string>& addresses);

/// The host of "http://10.0.0.1:6335/"; the text itself if it is none.
std::string host_of(const std::string& uri);

}  // namespace daarion::qdrant
