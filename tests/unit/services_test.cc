#include "controlplane/core/services.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "controlplane/core/capability.h"
#include "tests/unit/service_log.h"

namespace daarion {
namespace {
using namespace test;

std::vector<NodeId> nodes(std::initializer_list<int> numbers) {
  std::vector<NodeId> out;
  for (const int n : numbers) out.push_back(node(n));
  return out;
}

TEST(Services, AreAsDeclaredUntilTheLogSaysOtherwise) {
  Log log = log_with_services();
  const auto places = places_of(log.state, *log.state.topology.spec.service("router"));
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(places[0].role, ServiceRole::kActive);
  EXPECT_EQ(places[1].role, ServiceRole::kStandby);
  EXPECT_EQ(routed(places), nodes({1}));
  say(log, "router", 2, Health::kHealthy);
  log.add(ServiceMoved{nodes({2}), {}}, node(3), ResourceId("router"));
  const auto moved = places_of(log.state, *log.state.topology.spec.service("router"));
  EXPECT_EQ(moved[0].role, ServiceRole::kStandby);
  EXPECT_EQ(moved[1].role, ServiceRole::kActive);
  EXPECT_EQ(routed(moved), nodes({2}));
}

TEST(Services, ReadNodesGetReadsAndNothingElse) {
  Log log = log_with_services();
  const auto places = [&] { return places_of(log.state, *log.state.topology.spec.service("memory")); };
  EXPECT_EQ(routed(places()), nodes({1}));
  EXPECT_EQ(routed(places(), true), nodes({1, 2}));
  say(log, "memory", 1, Health::kDegraded);
  say(log, "memory", 2, Health::kHealthy);
  EXPECT_EQ(routed(places(), true), nodes({2, 1})) << "the healthy ones first";
  say(log, "memory", 1, Health::kBroken);
  EXPECT_TRUE(routed(places()).empty()) << "a read node never becomes active";
  EXPECT_FALSE(decide_service(service_evidence(log.state, *log.state.topology.spec.service("memory"))));
}

TEST(Services, WhatANodeNeedsIsPartOfItsHealth) {
  Log log = log_with_services();
  say(log, "swapper", 1, Health::kHealthy);
  say(log, kGpu, 1, Health::kBroken);
  const auto place = place_of(log.state, "swapper", node(1));
  ASSERT_TRUE(place);
  EXPECT_EQ(place->health, Health::kBroken);
  EXPECT_EQ(place->cause, "needs gpu, which is not well there");
  say(log, kGpu, 1, Health::kHealthy);
  EXPECT_EQ(place_of(log.state, "swapper", node(1))->health, Health::kHealthy);
}

TEST(Services, OnlyANodeItselfSpeaksOfItsServices) {
  Log log = log_with_services();
  LogEvent event = log.make(ServiceHealthChanged{.health = Health::kBroken}, node(1), ResourceId("router"));
  event.event.header.node = node(2);
  log.add(event);
  EXPECT_EQ(place_of(log.state, "router", node(1))->health, Health::kUnknown);
  EXPECT_EQ(log.state.ignored, 1u);
}

// ---- decisions
ServiceEvidence of(int n, ServiceRole declared, bool active, Health health) {
  return {.node = node(n), .declared = declared, .active = active, .health = health, .cause = health == Health::kBroken ? "no answer" : ""};
}
constexpr auto kActive = ServiceRole::kActive;
constexpr auto kStandby = ServiceRole::kStandby;

TEST(ServiceDecide, AStandbyTakesTheBrokenOnesPlace) {
  const auto d = decide_service({of(1, kActive, true, Health::kBroken), of(2, kStandby, false, Health::kHealthy)});
  ASSERT_TRUE(d);
  EXPECT_EQ(d->active, nodes({2}));
  EXPECT_EQ(d->reason, "node1 is broken: no answer: node2 takes over");
}

TEST(ServiceDecide, IsSticky) {
  EXPECT_FALSE(decide_service({of(1, kActive, false, Health::kHealthy), of(2, kStandby, true, Health::kHealthy)})) << "well again is no reason";
  EXPECT_FALSE(decide_service({of(1, kActive, true, Health::kDegraded), of(2, kStandby, false, Health::kDegraded)}));
  EXPECT_FALSE(decide_service({of(1, kActive, true, Health::kUnknown), of(2, kStandby, false, Health::kHealthy)})) << "not known to be ill";
  EXPECT_EQ(decide_service({of(1, kActive, true, Health::kDegraded), of(2, kStandby, false, Health::kHealthy)})->active, nodes({2}));
}

TEST(ServiceDecide, TakesNobodyWhoIsNotKnownToBeWell) {
  const ServiceEvidence broken = of(1, kActive, true, Health::kBroken);
  for (const Health health : {Health::kUnknown, Health::kBroken, Health::kMaintenance}) EXPECT_FALSE(decide_service({broken, of(2, kStandby, false, health)}));
  ServiceEvidence cold = of(2, kStandby, false, Health::kUnknown);
  cold.cold = true;
  EXPECT_EQ(decide_service({broken, cold})->active, nodes({2})) << "its start command brings it up";
  ServiceEvidence gone = of(2, kStandby, false, Health::kHealthy);
  gone.reachable = false;
  EXPECT_FALSE(decide_service({broken, gone}));
  ServiceEvidence drained = of(2, kStandby, false, Health::kHealthy);
  drained.intent = MemberIntent::kDraining;
  EXPECT_FALSE(decide_service({broken, drained}));
  EXPECT_EQ(decide_service({broken, of(2, kStandby, false, Health::kDegraded), of(3, kStandby, false, Health::kHealthy)})->active, nodes({3}));
  EXPECT_EQ(decide_service({broken, of(2, kStandby, false, Health::kDegraded)})->active, nodes({2})) << "better than nothing";
}

TEST(ServiceDecide, DrainAndSilenceMoveIt) {
  ServiceEvidence drained = of(1, kActive, true, Health::kHealthy);
  drained.intent = MemberIntent::kDraining;
  EXPECT_EQ(decide_service({drained, of(2, kStandby, false, Health::kHealthy)})->reason, "node1 is draining: node2 takes over");
  ServiceEvidence silent = of(1, kActive, true, Health::kHealthy);
  silent.reachable = false;
  EXPECT_EQ(decide_service({silent, of(2, kStandby, false, Health::kHealthy)})->reason, "node1 is unreachable: node2 takes over");
  EXPECT_EQ(decide_service({of(1, kActive, false, Health::kHealthy), of(2, kStandby, false, Health::kHealthy)})->active, nodes({1})) << "as it was declared";
}

/// Whatever is known: the decision is made once, keeps the number of active nodes, takes nobody ill, and does not follow from itself.
RC_GTEST_PROP(ServiceDecideProperty, SettlesAndNeverTakesAnIllNode, ()) {
  const int count = *rc::gen::inRange(1, 7);
  std::vector<ServiceEvidence> evidence;
  for (int n = 1; n <= count; ++n) {
    ServiceEvidence e = of(n, *rc::gen::element(kActive, kStandby), *rc::gen::arbitrary<bool>(),
                           *rc::gen::element(Health::kUnknown, Health::kHealthy, Health::kDegraded, Health::kMaintenance, Health::kBroken));
    e.cold = *rc::gen::arbitrary<bool>();
    e.reachable = *rc::gen::weightedElement<bool>({{4, true}, {1, false}});
    e.intent = *rc::gen::weightedElement<MemberIntent>({{4, MemberIntent::kActive}, {1, MemberIntent::kDraining}});
    evidence.push_back(e);
  }
  const auto decision = decide_service(evidence);
  RC_ASSERT(decision == decide_service(evidence));
  if (!decision) return;
  const auto was = std::ranges::count(evidence, true, &ServiceEvidence::active), wanted = std::ranges::count(evidence, kActive, &ServiceEvidence::declared);
  RC_ASSERT(static_cast<std::ptrdiff_t>(decision->active.size()) <= std::max(was, wanted));
  RC_ASSERT(static_cast<std::ptrdiff_t>(decision->active.size()) >= was);
  for (ServiceEvidence& e : evidence) {
    const bool now = std::ranges::find(decision->active, e.node) != decision->active.end();
    if (now && !e.active) RC_ASSERT(e.reachable && e.intent == MemberIntent::kActive && e.health != Health::kBroken && e.health != Health::kMaintenance);
    e.active = now;
  }
  const auto next = decide_service(evidence);
  RC_ASSERT(!next || next->active != decision->active);
}

// ---- capabilities
TEST(Capabilities, TakeTheFirstHealthyOneOfTheChain) {
  Log log = log_with_services();
  const auto choice = [&](const char* capability) { return choose_provider(providers_of(log.state, log.state.topology.spec.capabilities.at(capability))); };
  EXPECT_EQ(choice("vision").provider, "api:mistral");
  EXPECT_FALSE(choice("vision").certain) << "nothing is known of the GPU yet";
  say(log, kGpu, 1, Health::kHealthy);
  EXPECT_EQ(choice("vision").provider, "gpu@node1");
  EXPECT_TRUE(choice("vision").certain);
  say(log, kGpu, 1, Health::kBroken);
  EXPECT_EQ(choice("vision").provider, "api:mistral");
  EXPECT_EQ(choice("vision").reason, "gpu@node1: broken: down; api:mistral is the next of the chain");
  EXPECT_EQ(choice("llm.chat").provider, "api:deepseek");
  EXPECT_EQ(choice("image").provider, "") << "nobody is left";
  say(log, kGpu, 1, Health::kHealthy);
  say(log, "swapper", 1, Health::kDegraded);
  EXPECT_EQ(choice("stt").provider, "api:whisper") << "what is degraded is passed over";
  log.add(MemberUnreachable{}, node(1));
  EXPECT_EQ(choice("vision").provider, "api:mistral");
}

TEST(Capabilities, AnAgentMayHaveAChainOfItsOwn) {
  EXPECT_EQ(split_capability("llm.chat@sofia"), (std::pair<std::string, std::string>("llm.chat", "sofia")));
  EXPECT_EQ(split_capability("vision").second, "");
  EXPECT_EQ(provider_place("gpu@node1"), (ProviderPlace{"gpu", node(1)}));
  EXPECT_FALSE(provider_place("api:mistral"));
  EXPECT_FALSE(provider_place("api:mail@host"));
  Log log = log_with_services();
  log.add(CapabilityMoved{"llm.chat", "api:deepseek"});
  log.add(CapabilityMoved{"llm.chat@sofia", "api:claude"});
  EXPECT_EQ(provider_now(log.state, "llm.chat"), "api:deepseek");
  EXPECT_EQ(provider_now(log.state, "llm.chat", "sofia"), "api:claude");
  EXPECT_EQ(provider_now(log.state, "llm.chat", "helion"), "api:deepseek");
  EXPECT_EQ(provider_now(log.state, "nothing"), "");
}

TEST(Services, WhatChangesTheRouteTableIsKnownBySequence) {
  Log log = log_with_services();
  const Sequence before = routes_changed(log.state);
  log.add(Paused{});
  EXPECT_EQ(routes_changed(log.state), before);
  say(log, "router", 1, Health::kBroken);
  EXPECT_EQ(routes_changed(log.state), log.state.applied);
  log.add(ServiceMoved{nodes({2}), {}}, node(3), ResourceId("router"));
  EXPECT_EQ(routes_changed(log.state), log.state.applied);
  log.add(CapabilityMoved{"vision", "api:mistral"});
  EXPECT_EQ(routes_changed(log.state), log.state.applied);
}

}  // namespace
}  // namespace daarion
