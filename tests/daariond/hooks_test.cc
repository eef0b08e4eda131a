// The operator's commands: who is told of what, once; who is fenced, when; and what a command that fails or hangs does.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "controlplane/daariond/fencer.h"
#include "controlplane/daariond/hook.h"
#include "controlplane/daariond/notifier.h"
#include "controlplane/node/clock.h"
#include "streams/codec.h"
#include "tests/daariond/commands.h"
#include "tests/unit/make.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {
using namespace test;
using Outcome = AppendResult::Outcome;

class Hooks : public testing::Test {
 protected:
  /// An executable with this body; its name.
  std::string script(const std::string& name, const std::string& body) {
    return write_command(folder / name, folder / "", body);
  }
  std::string said(const std::string& name) { return contents(folder / name); }

  TempFolder folder;
};

// ---- running one

TEST_F(Hooks, ACommandGetsItsWordsItsLineAndNothingOfOurEnvironment) {
  setenv("DAARION_CONTROL_PASSWORD", "secret", 1);
  const std::string exec = script("a", "echo \"$#,$1,$2\" > out; env >> out");
  ASSERT_TRUE(run_hook({.exec = exec + "  -t", .argument = "one line", .limit = seconds(5), .environment = {"DAARION_EVENT=Paused"}}));
  const std::string out = said("out");
  EXPECT_TRUE(out.starts_with("2,-t,one line\n")) << out;
  EXPECT_NE(out.find("\nDAARION_EVENT=Paused\n"), std::string::npos) << out;
  EXPECT_EQ(out.find("secret"), std::string::npos) << out;
}

TEST_F(Hooks, AFailingCommandSaysWhy) {
  const auto failed = run_hook({.exec = script("a", "echo no route to the power switch >&2; exit 3"), .argument = "x", .limit = seconds(5)});
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("exit code 3; no route to the power switch"), std::string::npos) << failed.error().message;
  EXPECT_FALSE(run_hook({.exec = folder / "missing", .argument = "x", .limit = seconds(5)}));
}

TEST_F(Hooks, AHangingCommandIsKilledAlsoOnceItIsSilent) {
  for (const char* body : {"sleep 60", "exec > /dev/null 2>&1; sleep 60"}) {
    const auto before = std::chrono::steady_clock::now();
    const auto killed = run_hook({.exec = script("a", body), .argument = "x", .limit = milliseconds(300)});
    ASSERT_FALSE(killed);
    EXPECT_NE(killed.error().message.find("not done in time"), std::string::npos) << killed.error().message;
    EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(30));
  }
}

// ---- notify

class Notify : public Hooks {
 protected:
  struct Sent {
    std::string subject, payload;
    EventId id;
  };
  Sent sent(Payload payload, const std::string& reason = "test") {
    LogEvent event = log.make(std::move(payload), node(1), kPostgres, Epoch{2});
    event.event.header.id = {7, ++ids};
    event.event.header.reason = reason;
    return {log_subject(event.event.header.aggregate, event.event.header.version), encode_event(event.event), event.event.header.id};
  }
  static void append(Notifier& notifier, const Sent& s, Outcome outcome, std::uint64_t sequence = 9) {
    notifier.appending(s.subject, s.payload, s.id);
    notifier.appended(s.id, {.id = 0, .outcome = outcome, .sequence = {sequence}});
  }
  static StoredMessage stored(const Sent& s, std::uint64_t sequence = 9) { return {.sequence = {sequence}, .stored_ns = 1, .subject = s.subject, .payload = s.payload}; }

  Log log = log_with_holder();
  std::uint64_t ids = 0;
  const std::string tell = script("tell", "echo \"$1\" >> lines; echo \"$DAARION_EVENT $DAARION_SEQUENCE $DAARION_RESOURCE $DAARION_EPOCH $DAARION_NODE $DAARION_REASON\" >> vars");
};

TEST_F(Notify, OneLineForEachEventThatIsNamed) {
  {
    Notifier notifier({{{"PromotionDecided", "Paused"}, tell}}, "shop");
    append(notifier, sent(PromotionDecided{.to = node(2), .session = session(2), .loss_bytes = 7}, "node1 is silent\nfor 2 s"), Outcome::kStored);
    append(notifier, sent(PromotionFailed{session(2)}), Outcome::kStored);
  }
  EXPECT_EQ(said("lines"), "shop: PromotionDecided postgres epoch 2: failover to node2, session 00000000, loss at most 7 B (node1 is silent for 2 s), event 9 by node:node1\n");
  EXPECT_EQ(said("vars"), "PromotionDecided 9 postgres 2 node1 node1 is silent for 2 s\n");
}

TEST_F(Notify, OnlyWhatThisNodeAppendedInThisRun) {
  {
    Notifier notifier({{{"Paused"}, tell}}, "shop");
    notifier.read(stored(sent(Paused{})));                    // another node's, or of an earlier run
    append(notifier, sent(Paused{}), Outcome::kConflict);     // another event was first
    EXPECT_TRUE(notifier.warnings().empty());
  }
  EXPECT_EQ(said("lines"), "");
}

TEST_F(Notify, AnAppendWithoutAnswerIsNoticedOnceItIsRead) {
  {
    Notifier notifier({{{"Paused"}, tell}}, "shop");
    const Sent late = sent(Paused{}), early = sent(Paused{}, "quick"), never = sent(Paused{}, "lost");
    append(notifier, late, Outcome::kUnknown);
    append(notifier, never, Outcome::kUnknown);
    notifier.appending(early.subject, early.payload, early.id);
    notifier.read(stored(early, 11));  // before the answer
    notifier.appended(early.id, {.id = 0, .outcome = Outcome::kStored, .sequence = {11}});
    notifier.read(stored(late, 12));
    notifier.read(stored(late, 12));
  }
  EXPECT_EQ(said("vars"), "Paused 11 postgres 2 node1 quick\nPaused 12 postgres 2 node1 test\n");
}

TEST_F(Notify, AFailureIsAWarningUntilTheNextSuccess) {
  Notifier notifier({{{"Paused"}, script("mail", "echo > ran; test -e relay")}}, "shop");
  append(notifier, sent(Paused{}), Outcome::kStored);
  ASSERT_TRUE(comes([&] { return notifier.warnings().size() == 1; }));
  EXPECT_NE(notifier.warnings()[0].find("notify of event 9 (Paused): run " + (folder / "mail") + ": exit code 1"), std::string::npos) << notifier.warnings()[0];
  std::ofstream(folder / "relay") << "up";
  append(notifier, sent(Paused{}), Outcome::kStored, 10);
  EXPECT_TRUE(comes([&] { return notifier.warnings().empty(); }));
}

TEST_F(Notify, AQueueThatIsFullSaysSoAndBlocksNobody) {
  Notifier notifier({{{"Paused"}, script("slow", "while test ! -e go; do sleep 0.01; done")}}, "shop");
  for (std::uint64_t i = 1; i <= 80; ++i) append(notifier, sent(Paused{}), Outcome::kStored, i);
  ASSERT_FALSE(notifier.warnings().empty());
  EXPECT_NE(notifier.warnings()[0].find("was told to nobody"), std::string::npos) << notifier.warnings()[0];
  std::ofstream(folder / "go") << "on";
}

// ---- fencing

class Fencing : public Hooks {
 protected:
  FenceWish wish() const { return {kPostgres, {node(1), session(1), {node(2), node(3)}, 5000}, "10.0.0.1", Epoch{4}}; }
  Fencer::Confirm confirm() {
    return [this](const FenceWish& w, const std::string& how) -> Result<void> {
      EXPECT_EQ(w, wish());
      how_ = how;
      ++confirmed_;
      return {};
    };
  }
  Instant now = node_now();
  std::atomic<int> confirmed_ = 0;
  std::string how_;
};

TEST_F(Fencing, ExitCodeZeroIsTheWord) {
  const std::string exec = script("fence", "echo \"$1 $DAARION_NODE $DAARION_ADDRESS $DAARION_RESOURCE $DAARION_EPOCH\" >> out");
  Fencer fencer({exec + " --off", seconds(5)}, seconds(2), confirm());
  fencer.look({wish()}, now);
  fencer.look({wish()}, now + milliseconds(1999));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(said("out"), "") << "it has not stood for a lease yet";
  fencer.look({}, now + milliseconds(2000));
  fencer.look({wish()}, now + milliseconds(2100));
  fencer.look({wish()}, now + milliseconds(4100));
  ASSERT_TRUE(comes([&] { return confirmed_ == 1; }));
  EXPECT_EQ(how_, "command " + exec);
  EXPECT_EQ(said("out"), "--off node1 10.0.0.1 postgres 4\n");
  EXPECT_TRUE(fencer.warnings().empty());
}

TEST_F(Fencing, AnythingElseIsAWarningWithTheManualCommandAndAnotherTryLater) {
  Fencer fencer({script("fence", "echo x >> out; echo no answer from the switch >&2; exit 1"), seconds(5)}, seconds(2), confirm());
  const auto at = [&](int ms) { fencer.look({wish()}, now + milliseconds(ms)); };
  at(0);
  at(2000);
  at(2200);
  ASSERT_TRUE(comes([&] { return !fencer.warnings().empty(); }));
  EXPECT_EQ(fencer.warnings()[0], "postgres: node1 is not fenced: run " + (folder / "fence") + ": exit code 1; no answer from the switch; make sure that it is off, then: "
                                  "daarionctl confirm-fencing postgres --holder node1 --reason TEXT");
  at(2400);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(said("out"), "x\n") << "not at once";
  fencer.look({wish()}, node_now() + seconds(6));
  EXPECT_TRUE(comes([&] { return said("out") == "x\nx\n"; }));
  EXPECT_EQ(confirmed_, 0);
  fencer.look({}, node_now() + seconds(7));
  EXPECT_TRUE(fencer.warnings().empty()) << "the case is over";
}

TEST_F(Fencing, OnlyOneRunsAtATime) {
  Fencer fencer({script("fence", "echo x >> out; while test ! -e go; do sleep 0.01; done"), seconds(20)}, Duration{}, confirm());
  for (int i = 0; i < 5; ++i) fencer.look({wish()}, now + seconds(i));
  ASSERT_TRUE(comes([&] { return said("out") == "x\n"; }));
  for (int i = 5; i < 50; ++i) fencer.look({wish()}, now + seconds(i));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(said("out"), "x\n");
  std::ofstream(folder / "go") << "on";
  EXPECT_TRUE(comes([&] { return confirmed_ == 1; }));
}

/// The core of `self` among three voters: node1 was paused and is gone, node2 and node3 are bound to it.
std::vector<FenceWish> wanted_at(int self, bool paused) {
  Log log = log_with_holder();
  log.pause();
  if (!paused) log.resume();
  NodeConfig config;
  config.spec = spec_of_three();
  config.identity = {.self = node(self), .run = run(static_cast<std::uint64_t>(self)), .boot = boot(1), .instance = instance(self)};
  config.record = VoterRecord{.instance = instance(self)};
  NodeCore core(config, at(0));
  core.step(StateMoved{std::make_shared<State>(log.state), {log.state.applied, {}, {}}}, at(0));
  for (int n = 2; n <= 3; ++n) {
    if (n == self) continue;
    Beat beat = beat_of(n, 1, log.state);
    beat.promises = {{kPostgres, node(1), session(1), instance(1), true}};
    beat.suspects = {node(1)};
    core.step(BeatHeard{beat, "nats"}, at(5000));
  }
  core.step(TimerFired{}, at(5001));
  return fences_wanted(core, at(5001));
}

TEST(FencesWanted, ByTheFirstLivingVoterAndNotInAPause) {
  ASSERT_EQ(wanted_at(2, false).size(), 1u);
  EXPECT_EQ(wanted_at(2, false)[0].lost.node, node(1));
  EXPECT_EQ(wanted_at(2, false)[0].address, "host1");
  EXPECT_TRUE(wanted_at(3, false).empty()) << "node2 lives and comes first";
  EXPECT_TRUE(wanted_at(2, true).empty()) << "what fails in a pause is the operator's";
}

}  // namespace
}  // namespace daarion
