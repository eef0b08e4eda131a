// What a resolution and a plan cost: on one core, with as many rules, subjects and nodes as the figures name; and what all of it costs a message on
// its way to an edge (mirror_latency.h).
#include <chrono>
#include <cstdio>

#include "controlplane/core/resolve.h"
#include "controlplane/core/routing.h"
#include "tests/bench/mirror_latency.h"
#include "tests/harness/figures.h"
#include "tests/harness/stalls.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRules = 1'000;
constexpr int kSubjects = 10'000;
constexpr int kNodes = 500;
constexpr int kRounds = 9;          // of which the median counts
constexpr int kWarmPasses = 100;    // over all subjects, per round
constexpr int kRepeats = 5;         // of a round that the machine itself disturbed

double seconds_since(Clock::time_point begun) { return std::chrono::duration<double>(Clock::now() - begun).count(); }

/// Of ten rules one is local to a node, one to a site. Two core servers and the witness; all other nodes are edges.
TopologySpec spec_of(int nodes) {
  TopologySpec spec;
  spec.cluster = "bench";
  for (int n = 1; n <= nodes; ++n) spec.nodes.push_back({NodeId("node" + std::to_string(n)), "10.0.0.1", "region", NodeRole::kReplica});
  spec.voters = {spec.nodes[0].id, spec.nodes[1].id, spec.nodes[2].id};
  spec.witness = spec.nodes[2].id;
  for (int r = 0; r < kRules; ++r) {
    const std::string name = "rule" + std::to_string(r);
    RouteRule rule{.name = name, .subjects = {"service" + std::to_string(r % 40) + "." + name + ".*"}, .max_age_s = 86'400};
    if (r % 100 == 1) rule = {.name = name, .subjects = {name + ".{node_id}.local.*"}, .cls = RouteClass::kNodeLocal};
    if (r % 10 == 2) rule.cls = RouteClass::kEdgeLocal;
    spec.routes.push_back(std::move(rule));
  }
  return spec;
}

std::vector<std::string> subjects() {
  std::vector<std::string> out;
  for (int i = 0; i < kSubjects; ++i) {
    const int r = i % (kRules + 50);  // some are of no rule
    out.push_back("service" + std::to_string(r % 40) + ".rule" + std::to_string(r) + ".created.object" + std::to_string(i));
  }
  return out;
}

struct Rates {
  std::vector<double> cold, warm;
  std::size_t covered = 0;
};

Rates measure(const std::vector<std::string>& all, int& repeated) {
  const NodeId origin("node1");
  Rates rates;
  for (int round = 0, repeats = 0; round < kRounds; ++round) {
    const test::Disturbance machine;
    Resolver resolver(plan_routes(spec_of(3)));
    auto begun = Clock::now();
    for (const std::string& subject : all) rates.covered += resolver.resolve(subject, origin).covered ? 1 : 0;
    const double cold = kSubjects / seconds_since(begun);
    begun = Clock::now();
    for (int pass = 0; pass < kWarmPasses; ++pass)
      for (const std::string& subject : all) rates.covered += resolver.resolve(subject, origin).covered ? 1 : 0;
    const double warm = double{kSubjects} * kWarmPasses / seconds_since(begun);
    if (machine.disturbed() && repeats < kRepeats) {
      ++repeats, ++repeated, --round;
      continue;
    }
    rates.cold.push_back(cold);
    rates.warm.push_back(warm);
  }
  return rates;
}

struct Plans {
  std::vector<double> whole_ms, added_ms, site_ms;
  std::size_t streams = 0;
};

/// `added`: one node more, planned again and held against the plan before. `site`: what one edge and one core server need of it.
Plans plan_times(int& repeated) {
  const TopologySpec spec = spec_of(kNodes), more = spec_of(kNodes + 1);
  Plans out;
  for (int round = 0, repeats = 0; round < kRounds; ++round) {
    const test::Disturbance machine;
    auto begun = Clock::now();
    const RoutePlan plan = plan_routes(spec);
    const double whole = seconds_since(begun) * 1e3;
    begun = Clock::now();
    const RoutePlan again = plan_routes(more);
    const PlanDiff diff = diff_of(plan, again);
    const double added = seconds_since(begun) * 1e3;
    begun = Clock::now();
    out.streams = core_streams(plan).size() + edge_streams(plan, plan.edges.back()).size() + client_denies(plan, plan.core[0]).size();
    const double site = seconds_since(begun) * 1e3;
    if (diff.joined.size() != 1) return {};
    if (machine.disturbed() && repeats < kRepeats) {
      ++repeats, ++repeated, --round;
      continue;
    }
    out.whole_ms.push_back(whole);
    out.added_ms.push_back(added);
    out.site_ms.push_back(site);
  }
  return out;
}

bool run() {
  int repeated = 0;
  const std::vector<std::string> all = subjects();
  const Rates rates = measure(all, repeated);
  const Plans plans = plan_times(repeated);
  if (plans.whole_ms.empty() || rates.covered == 0) {
    std::printf("FAILED: the plan or the resolver is wrong\n");
    return false;
  }
  test::say_machine("none", repeated);
  const double warm = test::median(rates.warm), whole = test::median(plans.whole_ms), added = test::median(plans.added_ms);
  test::say({.name = "resolve_cold_per_s", .value = test::median(rates.cold), .unit = "1/s", .samples = rates.cold});
  bool ok = test::say({.name = "resolve_warm_per_s", .value = warm, .unit = "1/s", .samples = rates.warm, .limit = ">=1000000", .ok = warm >= 1e6});
  ok &= test::say({.name = "plan_1000_rules_500_nodes_ms", .value = whole, .unit = "ms", .samples = plans.whole_ms, .limit = "<=100", .ok = whole <= 100});
  ok &= test::say({.name = "plan_one_node_added_ms", .value = added, .unit = "ms", .samples = plans.added_ms, .limit = "<=10", .ok = added <= 10});
  test::say({.name = "plan_core_and_one_edge_ms", .value = test::median(plans.site_ms), .unit = "ms", .samples = plans.site_ms});
  return ok;
}

}  // namespace
}  // namespace daarion

int main() {
  const bool pure = daarion::run();
  int repeated = 0;
  return daarion::mirror_latency(repeated) && pure ? 0 : 1;
}
