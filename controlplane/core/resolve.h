// Which rule a subject falls under when it is published on a node, and what follows: class, stream, nodes, service, and why.
//
// The rules are compiled to a tree of tokens. What follows of a rule on a node is made once; a cache of subjects leads straight to it, so that a
// warm resolution costs a hash and a comparison.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "controlplane/core/routing.h"

namespace daarion {

struct Resolution {
  bool covered = false;      // by a rule; if not, only `reason` says anything
  RouteClass cls = RouteClass::kReplicated;
  std::string rule;
  std::string stream;        // that captures it; empty: none
  std::string mirror;        // of an edge: where it reads what was published elsewhere; empty: it reads `stream`
  std::vector<NodeId> nodes; // where it can be heard; empty: nowhere, it may not be published there
  std::string service;       // that it is for; empty: none
  std::string capability;    // that it needs; empty: none
  bool dead_letter = false;  // kept, and never taken for work
  std::string reason;
  bool operator==(const Resolution&) const = default;
};

/// "replicated", "node_local", "edge_local"; "uncovered" where no rule covers it.
std::string class_text(const Resolution& resolution);
std::string class_text(RouteClass cls);

/// Threads: one; it remembers. What it returns lives as long as it does.
class Resolver {
 public:
  explicit Resolver(RoutePlan plan);
  Resolver(const Resolver&) = delete;

  /// A subject that cannot be published, or an origin that is no member, is not covered, and the reason says so.
  const Resolution& resolve(std::string_view subject, const NodeId& origin);
  const RoutePlan& plan() const { return plan_; }

 private:
  // Subjects remembered: a power of two, above what a busy node publishes under; some 5 MiB. Beyond them the rules are asked again.
  static constexpr std::size_t kSlots = 1 << 15;
  static constexpr std::size_t kProbes = 8;

  struct Entry {
    std::size_t rule = 0;
    std::string pattern;
    NodeId node;  // of a pattern that is local to it
  };
  struct Branch {
    std::map<std::string, std::size_t, std::less<>> literals;
    std::optional<std::size_t> star;
    std::optional<std::size_t> tail, end;  // entry of a pattern with ">" here, and of one that ends here
    std::optional<std::size_t> nearest;    // the first entry below: what somebody may have meant
  };
  struct Slot {
    std::uint64_t hash = 0;
    std::string subject, origin;
    const Resolution* found = nullptr;
  };
  struct Found {
    std::optional<std::size_t> entry, nearest;
  };
  void add(std::size_t rule, std::string pattern, NodeId node);
  Found find(std::string_view subject) const;
  void walk(std::size_t branch, const std::vector<std::string_view>& tokens, std::size_t at, Found& found) const;
  const Resolution& outcome(std::string_view subject, const NodeId& origin);
  Resolution covered(const Entry& entry, const NodeId& origin, bool dead_letter) const;
  Resolution uncovered(std::string why) const;

  RoutePlan plan_;
  std::vector<Entry> entries_;
  std::vector<Branch> branches_;
  std::vector<Slot> slots_;
  // (entry, origin, dead letter) or, not covered, (nearest, "", kind of reason)
  std::map<std::tuple<std::size_t, std::string, int>, std::unique_ptr<Resolution>> outcomes_;
  std::map<std::string, bool, std::less<>> members_;  // node -> whether it is an edge
};

}  // namespace daarion
