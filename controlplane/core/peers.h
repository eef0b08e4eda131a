// What this node hears of the others: newest beat of each, how long ago, and what follows from it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/messages.h"
#include "controlplane/core/state.h"

namespace daarion {

/// (sequence, digest, chain) of a fold at one moment. Equal sequences must have equal digests, on every node.
struct FoldMark {
  Sequence sequence;
  Digest digest;
  Chain chain;
  bool operator==(const FoldMark&) const = default;
};

/// One run of a node's daemon, as its beats tell it.
struct HeardRun {
  RunId run;
  std::uint64_t counter = 0;  // of its newest beat
};

/// The clock of one boot of a node's host. A node that two hosts run as is heard as both, in turn.
struct HeardBoot {
  BootId boot;
  RunId run;                  // whose beat was its newest
  std::uint64_t sent_ms = 0;  // and when it was sent, by this clock; 0: not said
  // How long its beats are on their way, as the difference of two clocks: it says nothing alone, but the least is of a quick one.
  bool timed = false;         // what follows is known
  Duration least{};   // of this window
  Duration before{};  // of the one before it: clocks drift apart, and that of a virtual machine may stand still, so the least does not hold for ever
  Instant since{};    // when this window began
};

struct Peer {
  Beat beat;         // newest
  Instant heard{};   // when it came
  std::deque<HeardRun> runs;    // newest heard last
  std::deque<HeardBoot> boots;  // newest heard last
  std::map<std::string, Instant> paths;  // when each link last brought a beat, repeats too
  std::deque<std::pair<InstanceId, Instant>> instances;  // the node's installations, newest heard last: more than one if it was rebuilt
};

/// What is known of a resource's primary from its beats: survives the beats that no longer come.
struct PrimaryTrack {
  NodeId node;
  Epoch epoch;           // of the claim in the same beat
  SessionId session;
  Position position;
  Lsn timeline_start;
  Instant heard{};       // when its engine was looked at, as far as it can be told: beats repeat what was seen
  std::array<std::uint64_t, 8> rates{};  // bytes per second, of each of the last windows of about a second
  std::size_t newest_rate = 0;
  bool rated = false;    // a window is over
  // Windows are of the holder's own clock where its beats tell that, so that nothing on the way bends them.
  BootId rate_clock;     // empty: this node's
  Position rate_from;
  Instant rate_since{};
  Instant rate_until{};  // the newest look

  /// Bytes per second, of the busiest window, or of the first one as far as it came: what the primary may have written since it was heard.
  std::uint64_t rate() const;
  /// Whether rate() rests on anything: not on one look, nor on two of about one moment.
  bool measured() const;
};

class Peers {
 public:
  explicit Peers(NodeId self) : self_(std::move(self)) {}

  /// Takes a beat. Returns false if it is a repeat or older than one already heard of that run, or of another one by the same clock: drop it.
  bool hear(const Beat& beat, Instant now);
  /// The link that brought a beat of `node`, a repeat too.
  void heard_by(const NodeId& node, const std::string& via, Instant now) { peers_[node].paths[via] = now; }

  /// Whether what the node's run said beside this beat is older than its newest beat but one: it waited in a buffer, as of a server that
  /// stood still, and speaks of what was. Also if this run is not the one heard last.
  bool late(const NodeId& node, const RunId& run, std::uint64_t counter) const;

  const std::map<NodeId, Peer>& all() const { return peers_; }
  const Peer* find(const NodeId& node) const;
  /// How long the node has been silent; since `start` if never heard.
  Duration silent(const NodeId& node, Instant now, Instant start) const;
  /// How long that installation of the node has been silent.
  Duration silent(const NodeId& node, const InstanceId& instance, Instant now, Instant start) const;

  /// How often a node was heard as another installation than before.
  std::uint64_t installations() const { return installations_; }

  /// The least time within which a majority of the voters was heard; oneself always, and everybody in the time after `start`. 0: there are no voters.
  Duration majority_silent(const VoterSet& voters, Instant now, Instant start) const;

  /// The highest sequence that any beat of this log names.
  Sequence head(const LogState& log) const;
  /// The log ended at `head` when it was asked: beats from before that name more speak of events that it has lost.
  void log_ends(const LogState& log, Sequence head, Instant asked);

  const PrimaryTrack* primary(const ResourceId& resource) const;

  /// Own fold begins anew: what was compared was of another log.
  void refold();
  /// Own fold moved: remembers the mark, and compares it with what others said of the same sequence.
  void folded(const FoldMark& mark);
  /// Nodes whose digest or chain differed from ours at the same sequence, with the sequence.
  const std::map<NodeId, Sequence>& disagreeing() const { return disagreeing_; }

 private:
  static Duration lateness(HeardBoot& heard, const Beat& beat, Instant now);
  void track_primary(const Beat& beat, Instant sent);
  void compare(const NodeId& node, const FoldMark& theirs);

  static constexpr std::size_t kInstances = 4;
  static constexpr std::size_t kRuns = 8;
  static constexpr std::size_t kBoots = 4;
  static constexpr std::size_t kMarks = 1024;  // sequences whose digests are kept to be compared

  NodeId self_;
  std::map<NodeId, Peer> peers_;
  std::uint64_t installations_ = 0;
  std::map<ResourceId, PrimaryTrack> primaries_;
  std::deque<FoldMark> marks_;
  std::map<NodeId, FoldMark> ahead_;  // a peer's mark that our fold has not reached yet
  std::map<NodeId, Sequence> disagreeing_;
};

}  // namespace daarion
