// Watches a simulated cluster for the invariants of the design (section 10; the numbers in the messages are its numbers).
//
// It has its own word on everything: what it judges by is the world's truth, the log, and the evidence in it, never the core's answer.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/core/io.h"
#include "controlplane/core/state.h"
#include "controlplane/core/voter.h"

namespace daarion::sim {

class World;
struct Host;

/// What happened in a run: a batch in which one of these stays 0 proves nothing about it.
struct Counters {
  std::map<std::string, std::uint64_t, std::less<>> count;
  void add(std::string_view what, std::uint64_t n = 1) {
    if (const auto it = count.find(what); it != count.end())
      it->second += n;
    else
      count.emplace(what, n);
  }
};

class Checker {
 public:
  explicit Checker(World& world) : world_(world) {}

  /// The engine of `host` just became writable.
  void opened(const Host& host);
  /// It goes on being writable, under a higher epoch.
  void raised(const Host& host);
  /// It is writable and writes.
  void writes(const Host& host);
  /// In the next instant it is writable no more.
  void closes(const Host& host);
  /// It is about to ask the log for an event.
  void asks(const Host& host, const AppendRequest& request);
  /// An event was stored.
  void stored(const LogEvent& event);
  /// A commit at that position was acknowledged, where commits wait for replicas.
  void acknowledged(const Host& host, const Position& position);
  /// The log lost its newest events.
  void tail_lost();
  /// A host folded on.
  void folded(const Host& host);
  /// A voter's record is about to be on its disk.
  void recorded(const Host& host, const VoterRecord& record);
  /// A host's voter record is gone: its next one owes nothing, and belongs to no set yet.
  void replaced(const Host& host);
  /// A host was rebooted: its voter owes silence until it has folded its own return.
  void rebooted(const Host& host);
  /// A voter is about to send an ack, or a vote.
  void acks(const Host& host, const Ack& ack);
  void speaks(const Host& host);
  /// The phase with faults is over.
  void healed();
  /// The end of the liveness phase.
  void finish();
  /// The end of a run without one.
  void last_look();

  /// Members whose engines do not follow the writer, for people.
  std::string unfollowed(const Host& writer) const;

  bool broken() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

 private:
  struct Written {  // one engine was writable from one instant to another
    std::string node;
    Epoch epoch;
    Instant from{};
    Instant until{};
  };

  struct Tail {  // of who wrote last
    NodeId node;
    SessionId session;
    Position wrote;
  };
  using Nomination = std::tuple<NodeId, SessionId, Epoch, Sequence>;  // by whom, of which session, under which epoch, on which fold

  void fail(const std::string& what);
  std::string loss_understated(const PromotionDecided& decided) const;
  void one_writer(const Host& host);
  void majority_promised(const Host& host);
  std::uint32_t promises_in(const VoterSet& set, const Host& host) const;
  void epoch_is_its_own(const Host& host);
  void has_all_acknowledged(const Host& host);
  void decided_well(const LogEvent& event, const PromotionDecided& decided);
  void folded_well(const LogEvent& event);
  void intervals_do_not_overlap();

  World& world_;
  std::string failure_;
  Epoch newest_;
  std::map<Epoch, SessionId> wrote_;          // which session wrote under an epoch
  std::map<SessionId, Epoch> opened_;
  std::vector<VoterSet> sets_;                // that ever were, oldest first
  std::map<int, Instant> open_since_;         // by host index
  std::vector<Written> written_;
  std::map<SessionId, NodeId> named_;         // by decisions
  std::map<SessionId, InstanceId> named_instance_;
  std::set<SessionId> anybodys_;  // sessions that were named without an instance
  Tail tail_;
  Position acknowledged_;         // the newest,
  SessionId acknowledged_by_;     // and under whose session
  std::set<SessionId> may_lose_;  // that were named although they may lack some of it, by a person or by chance
  std::map<Nomination, std::string> understated_;  // what is wrong with its loss, if it is stored
  std::set<int> owe_silence_;                 // host indexes
  std::uint64_t releases_ = 0;
};

}  // namespace daarion::sim
