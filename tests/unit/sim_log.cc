#include "tests/unit/sim_log.h"

#include "controlplane/core/fold.h"
#include "streams/codec.h"
#include "tests/sim/world.h"

namespace daarion::test {
namespace {

StoredMessage encoded(const LogEvent& event) {
  return {.sequence = event.sequence, .stored_ns = event.stored_ns,
          .subject = log_subject(event.event.header.aggregate, event.event.header.version), .payload = encode_event(event.event)};
}

}  // namespace

std::vector<StoredMessage> sim_log(std::uint64_t seed) {
  sim::World world(seed, sim::deal(seed), false);
  world.run(sim::deal_faults(seed, sim::deal(seed)));
  std::vector<StoredMessage> out;
  for (const LogEvent& event : world.log()) out.push_back(encoded(event));
  return out;
}

std::vector<StoredMessage> long_log(std::uint64_t seed, std::size_t events) {
  sim::World world(seed, sim::deal(seed), false);
  world.run(sim::deal_faults(seed, sim::deal(seed)));
  std::vector<StoredMessage> out;
  State state;
  for (const LogEvent& event : world.log()) {
    out.push_back(encoded(event));
    state = fold(std::move(state), event);
  }
  for (std::uint64_t i = out.size(); out.size() < events; ++i) {
    LogEvent event{.sequence = {out.size() + 1}, .stored_ns = state.applied_ns + 1'000'000, .event = {}};
    const NodeId node("member" + std::to_string(i % 40));
    Payload payload = Paused{};
    if (i % 4 == 0) payload = MemberJoined{.region = "r" + std::to_string(i), .address = "10.0.0.1", .software = "test", .instance = {1, i}, .boot = {2, i}};
    if (i % 4 == 1) payload = MemberIntentChanged{static_cast<MemberIntent>(i / 4 % 5)};
    if (i % 4 == 2) payload = Resumed{};
    event.event.payload = payload;
    event.event.header = {.id = {seed + 1, i + 1}, .node = node, .actor = "operator:test", .reason = "to make the log longer",
                          .resource = ResourceId("postgres"), .wall_time_ns = 1,
                          .aggregate = aggregate_of(payload, node, ResourceId("postgres")), .version = {}};
    event.event.header.version = {state.version_of(event.event.header.aggregate).value + 1};
    out.push_back(encoded(event));
    state = fold(std::move(state), event);
  }
  return out;
}

}  // namespace daarion::test
