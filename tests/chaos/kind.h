// The kinds of fault that chaos deals, each with what it may cost.
//
// A kind does its whole fault: it makes it, holds it, and ends it. Before and after it the cluster is settled, and the checker (chaos.cc)
// compares what was seen in between with what is written here. A kind that cannot be made yet stays in the list with its reason: the run
// says MISSED.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::chaos {

inline constexpr Duration kTakesOver = std::chrono::seconds(30);  // until another node writes, before a fault is healed
inline constexpr double kHostLostMs = 3500;  // RELIABILITY's 3 s for the loss of a host, and half a second for two busy cores
inline constexpr double kNoneMs = 1000;      // no promotion: writes may stutter

class World;

struct Kind {
  std::string name;        // as in figures: chaos_<name>_outage_ms
  std::string text;        // what is done, for people
  int cost_s = 40;         // planned, with settling before and after
  double outage_ms = 0;    // writes may be out for so long at most
  int fewest_promotions = 0, most_promotions = 0;
  double stray_ms = 0;     // a node without an epoch may take writes for so long: a late wake, an engine opened by hand; 0: never
  bool quick = false;      // of the handful that two minutes deal
  std::string not_yet;     // why it cannot be made; empty: it can
  std::function<void(World&)> run{};  // throws test::Failed
};

/// All kinds, in a fixed order.
const std::vector<Kind>& kinds();

// By file.
void add_process_kinds(std::vector<Kind>& to);
void add_link_kinds(std::vector<Kind>& to);
void add_store_kinds(std::vector<Kind>& to);
void add_other_kinds(std::vector<Kind>& to);

}  // namespace daarion::chaos
