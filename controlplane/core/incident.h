// What one failure (or one planned move) did to everything that its node had: the events of the log that belong together, in order, each with the one
// that led to it. Pure: made of events alone, so that it tells the same a month later.
//
// AN INCIDENT IS A NODE'S. It begins with the first event that takes something from the node (it is silent, a lease of it ends, a service of it is
// ill, an engine that elects by itself says so, an operator moves something away) and goes on until everything that it took is whole again: the node
// heard, its replicas rejoined, decisions completed, services and engines well. What follows within kTail still belongs to it: a node that returns finds
// only then that its data parted. Only a process that was ill for a moment, and for which nothing moved, is a short story of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/event.h"

namespace daarion {

struct IncidentStep {
  std::size_t event = 0;                // index in the events given
  std::optional<std::size_t> led_by;    // index in the incident's steps
  bool stated = false;                  // the event itself names it; else it is the newest that could have
};

/// One resource, service or capability that went to another node; `observed`: a resource whose engine elected by itself.
struct IncidentMove {
  std::string what;
  std::string kind;                     // resource | service | capability | observed
  std::string from, to;
  std::size_t decided = 0;              // index in the steps
  std::optional<std::size_t> done;      // nothing: at once, or not done yet (`pending`)
  bool pending = false;
  bool failed = false;                  // the decision's session never took the lease
};

struct Incident {
  NodeId node;                          // whose it is
  std::string title;                    // "node1 was lost"
  bool planned = false;                 // an operator asked for it
  std::int64_t began_ns = 0;            // log time: what was last heard of a silent node, or the first event
  std::vector<IncidentStep> steps;      // never empty
  std::vector<IncidentMove> moves;
  std::vector<std::string> open;        // what is not whole yet; empty: it is over
};

/// The incident that the event at `at` is part of; nothing if it is part of none. Pre: `events` are in order and without a gap.
std::optional<Incident> incident_of(const std::vector<LogEvent>& events, Sequence at);

}  // namespace daarion
