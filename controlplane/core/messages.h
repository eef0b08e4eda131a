// What nodes say to each other outside the log: beats, acks and votes. They may be late, lost, doubled or reordered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/core/evidence.h"
#include "controlplane/core/state.h"
#include "controlplane/core/types.h"

namespace daarion {

/// The right to write that a node claims: one session under one epoch. Two claims are the same if all of it is.
struct Claim {
  ResourceId resource;
  Epoch epoch;
  SessionId session;
  Duration length{};  // of the lease asked for
  friend bool same_claim(const Claim& a, const Claim& b) {
    return a.epoch == b.epoch && a.session == b.session && a.resource == b.resource;
  }
  bool operator==(const Claim&) const = default;
};

struct SessionNote {
  ResourceId resource;
  SessionId session;
  bool operator==(const SessionNote&) const = default;
};

/// The newest Resumed that a holder has folded and armed again for. A voter ends an endless promise on nothing less.
struct ResumeNote {
  ResourceId resource;
  Sequence resumed;
  bool operator==(const ResumeNote&) const = default;
};

/// To whom a voter is bound. The node named answers in its own beats if that session has ended: a host that lost its memory
/// learns so which of its sessions somebody still waits for.
struct PromiseNote {
  ResourceId resource;
  NodeId node;
  SessionId session;
  InstanceId instance;  // of the node; another one knows nothing of that session. Empty: any
  bool endless = false; // time alone does not end it: the holder was paused, or may have been
  bool operator==(const PromiseNote&) const = default;
};

/// What the sender's agent of a resource waits for, for people: nothing is decided by it.
struct WaitNote {
  ResourceId resource;
  std::string what;
  std::string unblock;
  std::uint64_t for_ms = 0;
  bool operator==(const WaitNote&) const = default;
};

struct Beat {
  NodeId node;
  RunId run;
  std::uint64_t counter = 0;
  InstanceId instance;
  BootId boot;
  LogId log;
  EventId voter_set;
  std::uint32_t feature_level = 0;
  std::vector<Claim> claims;
  std::vector<SessionNote> next;    // the session it would take next, per resource
  std::vector<SessionNote> ended;   // sessions of this node that ended
  std::vector<ResumeNote> resumed;
  std::vector<PromiseNote> promises;
  Sequence applied;
  Digest digest;
  Chain chain;
  std::vector<NodeId> suspects;     // nodes it has not heard for longer than it should
  std::vector<EngineReport> engines;
  std::string topology_hash;
  std::string region;
  EventId ready_for{};              // the voter set that it gives its word for: it may be changed (voter_set.h); empty: no word
  std::vector<PromisedEpoch> promised = {};  // with that word
  LogId root = {};                  // as in LogState
  std::uint64_t overrides = 0;
  std::uint64_t sent_ms = 0;        // by the sender's clock, of this boot: what tells a late beat from a fresh one; 0: not said
  std::vector<WaitNote> waits = {};  // a few, and their text cut
  std::vector<SessionNote> asks = {};     // sessions of this node that have their majority, and open once others show what they have (agent_sync.cc)
  std::vector<SessionNote> answers = {};  // sessions of others that asked so before the engines of this beat were looked at
  bool operator==(const Beat&) const = default;
};

struct AckedClaim {
  ResourceId resource;
  Epoch epoch;
  SessionId session;
  Duration length{};  // promised, from the moment of the ack
  Sequence paused;    // the Paused that makes the promise endless; 0: it has an end
  bool operator==(const AckedClaim&) const = default;
};

struct RefusedClaim {
  ResourceId resource;
  Epoch epoch;
  SessionId session;
  Epoch promised;     // the highest epoch this voter promised to
  bool operator==(const RefusedClaim&) const = default;
};

struct Ack {
  NodeId voter;
  InstanceId instance;
  LogId log;
  EventId voter_set;
  NodeId holder;
  RunId run;              // of the holder's beat
  std::uint64_t counter = 0;
  std::vector<AckedClaim> accepted;
  std::vector<RefusedClaim> refused;
  std::vector<VoterSet> set = {};  // the one that voter_set names, if the beat named another
  bool operator==(const Ack&) const = default;
};

struct HeardNode {
  NodeId node;
  std::uint64_t silent_ms = 0;
  bool operator==(const HeardNode&) const = default;
};

struct Vote {
  NodeId voter;
  InstanceId instance;
  RunId run;
  std::uint64_t counter = 0;  // of this run's newest beat: a vote that stood in some buffer is known by it
  LogId log;
  EventId voter_set;
  ResourceId resource;
  Epoch highest;              // promised or folded
  std::uint64_t over_ms = 0;  // how long its promise has been over
  std::vector<HeardNode> heard;
  bool operator==(const Vote&) const = default;
};

}  // namespace daarion
