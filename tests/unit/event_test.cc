#include "controlplane/core/event.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace daarion {
namespace {

template <std::size_t... I>
std::vector<Payload> every_payload(std::index_sequence<I...>) { return {Payload(std::in_place_index<I>)...}; }
std::vector<Payload> every_payload() { return every_payload(std::make_index_sequence<std::variant_size_v<Payload>>()); }

TEST(Event, NamesAreDistinct) {
  std::set<std::string> names;
  for (const Payload& p : every_payload()) EXPECT_TRUE(names.insert(payload_name(p)).second) << payload_name(p);
  EXPECT_EQ(payload_name(PromotionDecided{}), std::string("PromotionDecided"));
  EXPECT_EQ(payload_name(HealthReported{}), std::string("HealthReported"));
  EXPECT_EQ(payload_name(LogCreated{}), std::string("LogCreated"));
}

TEST(Event, TheLogsNamesAreAllButTelemetrys) {
  const std::vector<std::string> names = log_event_names();
  EXPECT_EQ(names.size(), std::variant_size_v<Payload> - 2);
  EXPECT_NE(std::find(names.begin(), names.end(), "LogRegressed"), names.end());
  EXPECT_EQ(std::find(names.begin(), names.end(), "ReplicaLagReported"), names.end());
}

TEST(Event, AggregateIsOfThePayloadsKind) {
  for (const Payload& p : every_payload()) EXPECT_EQ(aggregate_of(p, NodeId("node2"), ResourceId("postgres")).kind, kind_of(p)) << payload_name(p);
}

TEST(AggregateOf, NamesWhatTheEventIsAbout) {
  const NodeId node("node2");
  const ResourceId postgres("postgres");
  const auto name = [&](const Payload& p, const ResourceId& r) { return aggregate_of(p, node, r).name; };
  EXPECT_EQ(name(LogCreated{}, {}), "log");
  EXPECT_EQ(name(VoterSetChanged{}, {}), "log");
  EXPECT_EQ(name(TopologyChanged{}, {}), "spec");
  EXPECT_EQ(name(MemberReturned{}, {}), "node2");
  EXPECT_EQ(name(PromotionDecided{}, postgres), "postgres");
  EXPECT_EQ(name(LeaseReleased{}, postgres), "postgres");
  EXPECT_EQ(name(ReplicaDiverged{}, postgres), "postgres.node2");
  EXPECT_EQ(name(RouteTableChanged{}, {}), "table");
  EXPECT_EQ(name(CapabilityMoved{.capability = "llm"}, {}), "llm");
  EXPECT_EQ(name(Paused{}, {}), "cluster");
  EXPECT_EQ(name(Paused{}, postgres), "postgres");
  EXPECT_EQ(name(ReplicaLagReported{}, postgres), "postgres.node2");
  EXPECT_EQ(name(HealthReported{.what = "disk"}, {}), "node2.disk");
}

TEST(Event, TextsOfEndCauses) {
  EXPECT_EQ(text_of(EndCause::kReleased), std::string("released"));
  EXPECT_EQ(text_of(EndCause::kFenced), std::string("fenced"));
  EXPECT_EQ(text_of(EndCause::kCrashed), std::string("crashed"));
  EXPECT_EQ(text_of(EndCause::kHostLost), std::string("host_lost"));
}

}  // namespace
}  // namespace daarion
