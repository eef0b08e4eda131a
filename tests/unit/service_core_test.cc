#include "controlplane/core/service_core.h"

#include <gtest/gtest.h>

#include "controlplane/core/capability.h"
#include "tests/unit/beside_node.h"
#include "tests/unit/service_log.h"

namespace daarion {
namespace {
using namespace test;

struct Node : BesideNode<ServiceCore> {
  using BesideNode::BesideNode;
  std::vector<RunServiceHook> hooks;
  std::vector<LookSoon> soon;
  std::vector<HealthReported> told;

  void heard(const ServiceOutput& out) override {
    if (const auto* hook = std::get_if<RunServiceHook>(&out)) hooks.push_back(*hook);
    if (const auto* look = std::get_if<LookSoon>(&out)) soon.push_back(*look);
    if (const auto* report = std::get_if<Report>(&out)) told.push_back(std::get<HealthReported>(report->payload));
  }
  void look(const std::string& service, const HealthVerdict& verdict, std::int64_t ms) { take(ServiceLooked{service, verdict}, ms); }
};

NodeId active_of(const Log& log, const std::string& service = "router") {
  for (const PlaceView& place : places_of(log.state, *log.state.topology.spec.service(service)))
    if (place.role == ServiceRole::kActive) return place.node;
  return {};
}
std::string provider_now_of(const Log& log, const std::string& capability) { return provider_now(log.state, capability); }
TopologySpec with_hooks() {
  TopologySpec spec = spec_with_services();
  spec.services[0].start = "/bin/start";
  spec.services[0].stop = "/bin/stop";
  return spec;
}

TEST(ServiceCore, LooksAtItsOwnServicesOnly) {
  Log log = log_with_services();
  Node one{log, 1}, two{log, 2}, three{log, 3};
  for (Node* n : {&one, &two, &three}) n->begin();
  EXPECT_EQ(one.core.own().size(), 4u);
  EXPECT_EQ(two.core.own().size(), 2u);
  EXPECT_TRUE(three.core.own().empty());
}

TEST(ServiceCore, SaysChangesOfHealthInTheLogAndTheRestAsTelemetry) {
  Log log = log_with_services();
  Node one{log, 1};
  one.begin();
  for (int i = 0; i < 100; ++i) one.look("router", kGood, 250 * i);
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 1);
  EXPECT_EQ(one.told.size(), 3u) << "every 10 s";
  one.look("router", kBad, 26'000);
  EXPECT_EQ(one.soon.size(), 1u) << "a first bad look is looked at again";
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 1);
  one.look("router", kBad, 26'050);
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 2);
  EXPECT_EQ(log.events.back().event.header.aggregate, (Aggregate{"service", "router.node1"}));
  EXPECT_EQ(log.events.back().event.header.reason, "no answer");
}

TEST(ServiceCore, MovesABrokenServiceToItsStandbyWithTheEvidence) {
  Log log = log_with_services();
  Node one{log, 1}, two{log, 2};
  one.begin();
  two.begin(0, 1);
  two.look("router", kGood, 0);
  one.fold(10);
  one.look("router", kGood, 10);
  one.look("router", kBad, 300);
  one.look("router", kBad, 350);
  ASSERT_EQ(count_of<ServiceMoved>(log), 1);
  EXPECT_EQ(active_of(log), node(2));
  const Event& moved = log.events.back().event;
  EXPECT_EQ(moved.header.reason, "node1 is broken: no answer: node2 takes over");
  EXPECT_EQ(moved.header.cause, log.events[log.events.size() - 2].event.header.id);
  EXPECT_EQ(decide_service(std::get<ServiceMoved>(moved.payload).evidence)->active, std::get<ServiceMoved>(moved.payload).active) << "made again from its evidence";
  two.fold(360);
  one.look("router", kGood, 1000);
  one.look("router", kGood, 1250);
  EXPECT_EQ(active_of(log), node(2)) << "well again, it stands by";
}

TEST(ServiceCore, AMoveFromALostNodeNamesItsLoss) {
  Log log = log_with_services();
  say(log, "router", 1, Health::kHealthy);
  say(log, "router", 2, Health::kHealthy);
  log.add(MemberUnreachable{.silent_ms = 3000, .observers = {node(2), node(3)}}, node(1));
  const EventId silent = log.events.back().event.header.id;
  Node two{log, 2};
  two.begin();
  EXPECT_EQ(active_of(log), node(2));
  const auto moved = std::ranges::find_if(log.events, [](const LogEvent& e) { return e.event.header.resource == ResourceId("router") && std::holds_alternative<ServiceMoved>(e.event.payload); });
  ASSERT_NE(moved, log.events.end());
  EXPECT_EQ(moved->event.header.cause, silent) << "not what it said of itself while it was well";
}

TEST(ServiceCore, TheSecondVoterWaitsForTheFirst) {
  Log log = log_with_services();
  say(log, "router", 2, Health::kHealthy);
  say(log, "router", 1, Health::kBroken);
  Node two{log, 2};
  two.begin(0, 1);
  EXPECT_EQ(count_of<ServiceMoved>(log), 0);
  EXPECT_LE(two.core.next_tick(), at(60));
  two.take(ServiceTick{}, 59);
  EXPECT_EQ(count_of<ServiceMoved>(log), 0);
  two.take(ServiceTick{}, 60);
  EXPECT_EQ(count_of<ServiceMoved>(log), 1);
}

TEST(ServiceCore, NobodyDecidesWhoIsNoVoterOrAloneOrPaused) {
  Log log = log_with_services();
  say(log, "router", 2, Health::kHealthy);
  say(log, "router", 1, Health::kBroken);
  Node two{log, 2};
  two.fold(0);
  two.take(Contact{.caught_up = true, .voter = false}, 0);
  two.take(Contact{.caught_up = true, .voter = true, .alone = true}, 1);
  for (const int ms : {2, 3}) two.take(Contact{.caught_up = false, .voter = ms == 3}, ms);
  EXPECT_EQ(count_of<ServiceMoved>(log), 0);
  log.add(Paused{}, node(1));
  two.begin(1000);
  EXPECT_EQ(count_of<ServiceMoved>(log), 0);
  log.add(Resumed{}, node(1));
  two.fold(2000);
  EXPECT_EQ(count_of<ServiceMoved>(log), 1);
}

TEST(ServiceCore, AnAppendThatWasLostIsTriedAgainAndOneThatIsOpenIsNot) {
  Log log = log_with_services();
  Node one{log, 1};
  one.begin();
  one.storing = false;
  one.look("router", kGood, 0);
  one.storing = true;
  for (int ms = 1; ms < 1000; ms += 100) one.take(ServiceTick{}, ms);
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 0) << "it is open";
  one.take(ServiceAppended{{.id = one.newest, .outcome = AppendResult::Outcome::kUnknown}}, 1000);
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 0);
  one.take(ServiceTick{}, 1100);
  EXPECT_EQ(count_of<ServiceHealthChanged>(log), 1);
}

// ---- hooks
TEST(ServiceCore, StartsWhatBecomesActiveAndStopsWhatIsItNoMore) {
  Log log = log_with_services(with_hooks());
  Node one{log, 1}, two{log, 2};
  one.begin();
  two.begin();
  EXPECT_EQ(one.hooks, (std::vector{RunServiceHook{"router", true}}));
  EXPECT_EQ(two.hooks, (std::vector{RunServiceHook{"router", false}})) << "from an earlier run it may be up";
  one.take(ServiceHookEnded{"router", true, true, {}}, 100);
  two.take(ServiceHookEnded{"router", false, true, {}}, 100);
  one.look("router", kBad, 200);
  one.look("router", kBad, 300);
  EXPECT_EQ(active_of(log), node(1)) << "it is starting";
  one.look("router", kGood, 400);
  one.look("router", kBad, 500);
  one.look("router", kBad, 600);
  EXPECT_EQ(active_of(log), node(2)) << "a cold standby takes over: it is brought up";
  EXPECT_EQ(one.hooks.back(), (RunServiceHook{"router", false}));
  two.fold(610);
  EXPECT_EQ(two.hooks.back(), (RunServiceHook{"router", true}));
  one.take(ServiceHookEnded{"router", false, true, {}}, 700);
  EXPECT_EQ(log.state.service_health.at({ResourceId("router"), node(1)}).health, Health::kUnknown) << "stopped, it can take over again";
}

TEST(ServiceCore, AStartThatFailsIsSaidAndTheServiceMovesOn) {
  Log log = log_with_services(with_hooks());
  Node one{log, 1}, two{log, 2};
  two.begin();
  two.take(ServiceHookEnded{"router", false, true, {}}, 10);
  one.begin();
  one.take(ServiceHookEnded{"router", true, false, "exit code 1"}, 100);
  EXPECT_EQ(active_of(log), node(2));
  EXPECT_EQ(one.core.warnings(), (std::vector<std::string>{"service router: start failed: exit code 1"}));
  const std::size_t tried = one.hooks.size();
  one.take(ServiceTick{}, 200);
  EXPECT_EQ(one.hooks.size(), tried) << "not at once";
  one.take(ServiceTick{}, 2200);
  EXPECT_EQ(one.hooks.back(), (RunServiceHook{"router", false}));
}

/// Two nodes whose start commands both fail do not hand the service to each other for ever.
TEST(ServiceCore, TwoStartsThatFailComeToRest) {
  Log log = log_with_services(with_hooks());
  Node one{log, 1}, two{log, 2};
  for (std::int64_t ms = 0; ms < 60'000; ms += 100)
    for (Node* n : {&one, &two}) {
      n->begin(ms);
      if (n->hooks.empty()) continue;
      const RunServiceHook hook = n->hooks.back();
      n->hooks.clear();
      n->take(ServiceHookEnded{"router", hook.start, !hook.start, "exit code 1"}, ms);
    }
  EXPECT_LE(count_of<ServiceMoved>(log), 12);
}

TEST(ServiceCore, ANodeThatIsCutOffGivesUpWhatMovesAndTakesItBackIfItIsStillItsOwn) {
  Log log = log_with_services(with_hooks());
  Node one{log, 1};
  one.begin();
  one.take(ServiceHookEnded{"router", true, true, {}}, 100);
  one.look("router", kGood, 200);
  one.meet(2000, 0, true);
  EXPECT_EQ(one.hooks.back(), (RunServiceHook{"router", false}));
  one.take(ServiceHookEnded{"router", false, true, {}}, 2100);
  const std::size_t ran = one.hooks.size();
  one.meet(2200, 0, true);
  EXPECT_EQ(one.hooks.size(), ran);
  one.meet(3000);
  EXPECT_EQ(one.hooks.back(), (RunServiceHook{"router", true})) << "nobody took it meanwhile";
}

TEST(ServiceCore, DrainStopsItHere) {
  Log log = log_with_services(with_hooks());
  Node one{log, 1}, two{log, 2};
  two.begin();
  two.take(ServiceHookEnded{"router", false, true, {}}, 10);
  one.begin();
  one.take(ServiceHookEnded{"router", true, true, {}}, 10);
  log.add(MemberIntentChanged{MemberIntent::kDraining}, node(1));
  one.fold(20);
  EXPECT_EQ(active_of(log), node(2));
  EXPECT_EQ(one.hooks.back(), (RunServiceHook{"router", false}));
}

// ---- capabilities
TEST(ServiceCore, LossAndReturnOfTheGpuMoveTheChainsWithHysteresis) {
  TopologySpec spec = spec_with_services();
  spec.services.back().check.rise = 3;
  Log log = log_with_services(spec);
  Node one{log, 1};
  one.begin();
  EXPECT_EQ(provider_now_of(log, "vision"), "") << "nothing is known of the GPU yet";
  EXPECT_EQ(provider_now_of(log, "llm.chat"), "api:deepseek");
  one.look(kGpu, kGood, 100);
  EXPECT_EQ(provider_now_of(log, "vision"), "gpu@node1");
  one.look(kGpu, kBad, 600);
  EXPECT_EQ(provider_now_of(log, "vision"), "gpu@node1");
  one.look(kGpu, kBad, 700);
  EXPECT_EQ(provider_now_of(log, "vision"), "api:mistral");
  EXPECT_EQ(provider_now_of(log, "image"), "") << "nobody is left";
  one.look(kGpu, kGood, 1200);
  one.look(kGpu, kGood, 1700);
  EXPECT_EQ(provider_now_of(log, "vision"), "api:mistral");
  one.look(kGpu, kGood, 2200);
  EXPECT_EQ(provider_now_of(log, "vision"), "gpu@node1");
}

}  // namespace
}  // namespace daarion
