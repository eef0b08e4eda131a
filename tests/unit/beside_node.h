// One node's core beside the node's (services, observed resources), with a log that stores what it appends.
#pragma once

#include <memory>
#include <utility>

#include "controlplane/core/beside.h"
#include "tests/unit/make.h"

namespace daarion::test {

template <class Core>
struct BesideNode {
  BesideNode(Log& with, int n) : log(with), number(n), core(node(n)) {}
  virtual ~BesideNode() = default;
  /// Whatever is no append.
  virtual void heard(const typename Core::Output& output) = 0;

  Log& log;
  int number;
  Core core;
  bool storing = true;
  std::uint64_t newest = 0;  // append

  void take(const typename Core::Input& input, std::int64_t ms) {
    for (auto& out : core.step(input, at(ms))) {
      if (const auto* append = std::get_if<Append>(&out)) store(append->request, ms);
      else heard(out);
    }
  }
  void store(const AppendRequest& request, std::int64_t ms) {
    newest = request.id;
    if (!storing) return;
    LogEvent event = log.make(request.payload, node(number), request.resource);
    const bool first = event.event.header.version == request.version && event.event.header.aggregate == request.aggregate;
    event.event.header.reason = request.reason;
    event.event.header.cause = request.cause;
    if (first) log.add(event);
    take(typename Core::Appended{{.id = request.id, .outcome = first ? AppendResult::Outcome::kStored : AppendResult::Outcome::kConflict}}, ms);
    fold(ms);
  }
  void fold(std::int64_t ms) { take(typename Core::Folded{std::make_shared<const State>(log.state)}, ms); }
  void meet(std::int64_t ms, int rank = 0, bool alone = false) { take(Contact{.caught_up = !alone, .voter = true, .rank = rank, .alone = alone}, ms); }
  void begin(std::int64_t ms = 0, int rank = 0) {
    fold(ms);
    meet(ms, rank);
  }
};

template <class Payload>
int count_of(const Log& log) {
  return static_cast<int>(std::ranges::count_if(log.events, [](const LogEvent& e) { return std::holds_alternative<Payload>(e.event.payload); }));
}

}  // namespace daarion::test
