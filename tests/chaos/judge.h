// What is proved from the writers' records and the log. Pure.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/dev/probe_writer.h"

namespace daarion::chaos {

struct NodeWrites {
  NodeId node;
  std::vector<dev::ProbeWrite> writes;  // by the time of the acknowledgement
};

/// Writes that a node acknowledged when the epoch was another's. Times of all writers are of one clock.
struct Strays {
  std::size_t count = 0;
  NodeId node;                 // of the first
  Instant first{}, last{};     // acknowledged
  std::vector<std::uint64_t> numbers;  // of the writes
};

/// To whom the log gave an epoch, and when it was stored, by the writers' clock.
struct Promoted {
  NodeId to;
  Instant at{};
};

/// `holder` at the beginning; `promoted` in the log's order. The acknowledged writes of all nodes, put in one order, change from node to
/// node; each change must be one of the log's, in its order and not before it. A node that goes on after another has begun strays.
Strays strays_of(const std::vector<NodeWrites>& writes, const NodeId& holder, const std::vector<Promoted>& promoted);

/// What the log says about promotions in a window.
struct Promotions {
  std::vector<Promoted> to;     // decided, in order
  std::size_t decided = 0;      // without those that keep the holder
  std::uint64_t loss_bytes = 0; // announced, together
  bool loss_unknown = false;    // one of them said that nobody knows
};
/// `zero_ns`: what the log's clock says at the Instant 0. A decision that came and was lost since counts where LogRegressed names it and the log shows
/// who completed its epoch; what it announced is gone with it.
Promotions promotions_of(const std::vector<LogEvent>& events, std::int64_t zero_ns);

/// The decisions among `fresh` that give an epoch which the log had given and lost: after a loss epochs are above all of its. One that was stored
/// before the newest of the lost is none: two servers each kept another of two appends at one place, and the log changed from one to the other.
/// Nor is the lost decision itself, made again: the same epoch for the same session. Nor one of an epoch that was decided and never completed:
/// whoever did not fold that decision cannot know of it, and nobody wrote under it.
std::vector<std::string> epochs_given_again(const std::vector<LogEvent>& fresh, const std::vector<LogEvent>& lost);

/// "3 failovers, 2 rejoins, ..." for people and the history.
std::string summary_of(const std::vector<LogEvent>& events);

/// " 41 PromotionDecided <id> 42 ...": all that tells one from another.
std::string each_of(const std::vector<LogEvent>& events);

}  // namespace daarion::chaos
