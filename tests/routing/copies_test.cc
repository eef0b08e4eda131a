// Copies that nats-server says are whole, and that would never get another message: on real servers, the packaged one and the one named.
#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "streams/route_copies.h"
#include "streams/source_numbers.h"
#include "tests/harness/figures.h"
#include "tests/routing/route_rig.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
using Json = nlohmann::json;

constexpr Duration kStill = seconds(2);

class RoutingCopies : public testing::Test {
 protected:
  /// Ids "<who><n>", published at that site by somebody who may; with a header or without.
  void put(Connection& at, const std::string& who, int first, int last, const std::map<std::string, std::string>& headers = {}) {
    const auto link = at.handles().link();
    for (int i = first; i <= last; ++i) {
      const std::string id = who + std::to_string(i);
      natsMsg* raw = nullptr;
      ASSERT_EQ(natsMsg_Create(&raw, "message.x", nullptr, id.data(), static_cast<int>(id.size())), NATS_OK);
      const MsgPtr message(raw);
      natsMsgHeader_Set(raw, "Nats-Msg-Id", id.c_str());
      for (const auto& [key, value] : headers) natsMsgHeader_Set(raw, key.c_str(), value.c_str());
      ASSERT_EQ(js_PublishMsg(nullptr, link->js, raw, nullptr, nullptr), NATS_OK) << id;
    }
  }

  /// What the stream holds, in its order.
  static std::string held(Connection& at, const std::string& stream) {
    std::string out;
    const std::uint64_t last = last_sequence_of(at, stream);
    for (std::uint64_t n = 1; n <= last; ++n)
      if (const LeadersMessage message = leaders_message(at.handles().link()->js, stream, n, seconds(2)); message.message)
        out += (out.empty() ? "" : " ") + data_of(message.message.get());
    return out;
  }
  static int times(const std::string& text, const std::string& word) {
    int n = 0;
    for (std::size_t at = 0; (at = (" " + text + " ").find(" " + word + " ", at)) != std::string::npos; ++at) ++n;
    return n;
  }

  void tend() {
    for (const RouteWork& work : keepers_.tend()) note(work);
  }
  void note(const RouteWork& work) {
    for (const std::string& done : work.done) done_.push_back(done);
    if (!work.left) left_ = work.left.error().message;
  }
  bool tended_until(const std::function<bool()>& what, Duration limit = seconds(40)) {
    return becomes([&] {
      tend();
      return what();
    }, limit);
  }
  bool said(const std::string& part) const {
    return std::ranges::any_of(done_, [&](const std::string& done) { return done.find(part) != std::string::npos; });
  }
  std::string all_said() const {
    std::string out = "left: " + left_;
    for (const std::string& done : done_) out += "\n  " + done;
    for (const auto* keepers : {&keepers_.cores, &keepers_.edges})
      for (const auto& keeper : *keepers)
        for (const CopyView& view : keeper->views())
          out += "\n  " + view.stream + " of " + view.origin + ": " + (view.behind ? std::to_string(*view.behind) + " behind" : "not known") +
                 (view.stands_still ? ", stands still" : "");
    return out;
  }
  std::optional<std::uint64_t> behind(const CopyKeeper& keeper, const std::string& stream) const {
    for (const CopyView& view : keeper.views())
      if (view.stream == stream) return view.behind;
    return std::nullopt;
  }
  /// Of whoever looks after the source.
  std::optional<std::uint64_t> core_behind() const {
    for (const auto& keeper : keepers_.cores)
      if (const auto there = behind(*keeper, "MESSAGE")) return there;
    return std::nullopt;
  }
  bool both_have(const std::string& id) {
    return times(held(*rig_.core, "MESSAGE"), id) > 0 && times(held(*rig_.edge, "MESSAGE_MIRROR"), id) > 0;
  }
  void make_anew(Connection& at, const std::string& stream) {
    ASSERT_TRUE(js_request(at, "$JS.API.STREAM.DELETE." + stream, nullptr, seconds(5)));
    ASSERT_TRUE(until_done([&] { return rig_.apply_core().left; }));
    ASSERT_TRUE(until_done([&] { return rig_.apply_edge().left; }));
  }

  RouteRig rig_;
  CopyKeepers keepers_{rig_, kStill};
  std::vector<std::string> done_;
  std::string left_;
};

TEST_F(RoutingCopies, ThatAreWholeAreLeftAloneAndTheirLagIsSeen) {
  put(*rig_.core, "core", 1, 5);
  put(*rig_.edge, "edge", 1, 5);
  // A later server begins a new source after some seconds, which is longer than what these keepers take for standing still.
  ASSERT_TRUE(becomes([&] { return both_have("edge5"); }));
  EXPECT_TRUE(tended_until([&] { return core_behind() == 0u && behind(*keepers_.edges[0], "MESSAGE_MIRROR") == 0u; })) << all_said();
  rig_.servers.cut_edge();
  put(*rig_.edge, "edge", 6, 30);
  put(*rig_.core, "core", 6, 9);
  EXPECT_TRUE(tended_until([&] { return !core_behind() && !behind(*keepers_.edges[0], "MESSAGE_MIRROR"); })) << "nobody can tell while the link is cut";
  rig_.servers.heal_edge();
  ASSERT_TRUE(becomes([&] { return both_have("edge30") && both_have("core9"); }));
  EXPECT_TRUE(tended_until([&] { return core_behind() == 0u && behind(*keepers_.edges[0], "MESSAGE_MIRROR") == 0u; })) << all_said();
  for (const auto end = std::chrono::steady_clock::now() + 2 * kStill; std::chrono::steady_clock::now() < end;) tend();
  EXPECT_TRUE(done_.empty() && left_.empty()) << all_said();
  EXPECT_EQ(last_sequence_of(*rig_.core, "MESSAGE"), 39u);
}

TEST_F(RoutingCopies, AnEdgeWhoseDiskWasReplacedIsTakenInAnew) {
  put(*rig_.edge, "old", 1, 20);
  ASSERT_TRUE(tended_until([&] { return both_have("old20"); }));
  make_anew(*rig_.edge, "MESSAGE_edge");
  put(*rig_.edge, "new", 1, 5);
  ASSERT_TRUE(tended_until([&] { return both_have("new5"); })) << all_said() << "\n" << held(*rig_.core, "MESSAGE");
  EXPECT_TRUE(said("MESSAGE_edge was made anew")) << all_said();
  put(*rig_.edge, "new", 6, 30);
  ASSERT_TRUE(tended_until([&] { return both_have("new30") && core_behind() == 0u; })) << all_said();
  const std::string core = held(*rig_.core, "MESSAGE");
  for (int i = 1; i <= 30; ++i) EXPECT_EQ(times(core, "new" + std::to_string(i)), 1) << i << ": " << core;
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(times(core, "old" + std::to_string(i)), 1) << i << ": " << core;
  EXPECT_LT(core.find("new1 "), core.find("new2 "));
  EXPECT_EQ(held(*rig_.edge, "MESSAGE_MIRROR"), core);
}

/// Power loss takes an edge's newest messages; others get their numbers. The core has had the lost ones.
TEST_F(RoutingCopies, AnEdgeThatLostItsNewestMessagesLosesNoOthers) {
  put(*rig_.edge, "old", 1, 20);
  ASSERT_TRUE(tended_until([&] { return both_have("old20") && core_behind() == 0u; }));
  make_anew(*rig_.edge, "MESSAGE_edge");
  put(*rig_.edge, "old", 1, 15);
  for (int i = 0; i < 3; ++i) tend();
  EXPECT_EQ(last_sequence_of(*rig_.core, "MESSAGE"), 20u) << "there is nothing new yet: " << all_said();
  put(*rig_.edge, "new", 16, 18);
  ASSERT_TRUE(tended_until([&] { return both_have("new18") && core_behind() == 0u; })) << all_said() << "\n" << held(*rig_.core, "MESSAGE");
  put(*rig_.edge, "new", 19, 25);
  ASSERT_TRUE(tended_until([&] { return both_have("new25") && core_behind() == 0u; })) << all_said();
  const std::string core = held(*rig_.core, "MESSAGE");
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(times(core, "old" + std::to_string(i)), 1) << i << ": " << core;
  for (int i = 16; i <= 25; ++i) EXPECT_EQ(times(core, "new" + std::to_string(i)), 1) << i << ": " << core;
}

/// As a source that begins too late: nothing of it says that messages are missing.
TEST_F(RoutingCopies, WhatASourcePassedByIsFoundByItsNumbersAndPut) {
  const auto config_of = [&] { return (*js_request(*rig_.core, "$JS.API.STREAM.INFO.MESSAGE", nullptr, seconds(2)))["config"]; };
  const auto update = [&](const Json& config) { ASSERT_FALSE(js_request(*rig_.core, "$JS.API.STREAM.UPDATE.MESSAGE", config, seconds(5))->contains("error")); };
  const Json whole = config_of();
  Json changed = whole;
  changed["sources"] = Json::array();
  update(changed);
  put(*rig_.edge, "edge", 1, 5);
  put(*rig_.core, "core", 1, 2);
  changed["sources"] = whole["sources"];
  changed["sources"][0]["opt_start_seq"] = 4;
  update(changed);
  ASSERT_TRUE(becomes([&] { return both_have("edge5"); }));
  EXPECT_EQ(held(*rig_.core, "MESSAGE"), "core1 core2 edge4 edge5");
  ASSERT_TRUE(tended_until([&] { return both_have("edge3"); })) << all_said();
  EXPECT_EQ(held(*rig_.core, "MESSAGE"), "core1 core2 edge4 edge5 edge1 edge2 edge3");
  EXPECT_TRUE(said("MESSAGE: put 3 messages of MESSAGE_edge that it had passed by")) << all_said();
  const LeadersMessage put_there = leaders_message(rig_.core->handles().link()->js, "MESSAGE", 5, seconds(2));
  EXPECT_GT(std::stoll(header_of(put_there.message.get(), kFirstStored)), 0) << "a restarted reader cannot know whether it gave it";
  const auto replicas = read_each_replica(*rig_.core, "MESSAGE", 3);
  EXPECT_EQ(replicas.size(), 3u);
  for (const auto& [server, tally] : replicas) EXPECT_EQ(tally.put_again, (std::set<std::string>{"edge1", "edge2", "edge3"})) << server;
  // What somebody deletes stays deleted, and what is published meanwhile is left where it is.
  ASSERT_FALSE(js_request(*rig_.core, "$JS.API.STREAM.MSG.DELETE.MESSAGE", {{"seq", 4}}, seconds(5))->contains("error"));
  put(*rig_.edge, "edge", 6, 8);
  ASSERT_TRUE(becomes([&] { return both_have("edge8"); }));
  for (const auto end = std::chrono::steady_clock::now() + 6 * kStill; std::chrono::steady_clock::now() < end;) tend();
  EXPECT_EQ(held(*rig_.core, "MESSAGE"), "core1 core2 edge4 edge1 edge2 edge3 edge6 edge7 edge8") << all_said();
}

TEST(RoutingSourceNumbers, SayWhatDidNotComeButForWhatWasDeleted) {
  using Gaps = std::map<std::string, SourceNumbers::Gaps>;
  SourceNumbers numbers;
  numbers.take(1, "A", 3);
  numbers.take(2, "", 0);
  numbers.take(3, "B", 1);
  numbers.take(4, "A", 4);
  EXPECT_EQ(numbers.gaps(), (Gaps{{"A", {{1, 2}}}})) << "of the first message of all it is known that none came before";
  numbers.take(5, "B", 7);
  EXPECT_EQ(numbers.gaps().at("B"), (SourceNumbers::Gaps{{2, 6}}));
  numbers.forget("A", 1);
  EXPECT_FALSE(numbers.gaps().contains("A"));
  numbers.take(7, "A", 6);
  EXPECT_FALSE(numbers.gaps().contains("A")) << "number 6 of the stream may have been A's 5";
  numbers.take(8, "A", 8);
  EXPECT_TRUE(numbers.gaps().contains("A")) << "a hole counts once";
  numbers.take(9, "B", 2);
  numbers.take(10, "B", 3);
  EXPECT_EQ(numbers.gaps().at("B").size(), 1u) << "B was made anew";
  SourceNumbers later(100);
  later.take(100, "A", 50);
  EXPECT_TRUE(later.gaps().empty()) << "nobody knows what came before";
  later.take(101, "A", 52);
  EXPECT_EQ(later.gaps(), (Gaps{{"A", {{51, 51}}}}));
  EXPECT_EQ(later.next(), 102u);
}

TEST_F(RoutingCopies, AMessageThatASourceCannotTakeHoldsUpNobody) {
  put(*rig_.edge, "edge", 1, 3);
  put(*rig_.edge, "bad", 1, 2, {{"Nats-Expected-Stream", "MESSAGE_edge"}, {"Kept", "yes"}});
  put(*rig_.edge, "edge", 4, 9);
  put(*rig_.core, "core", 1, 2);
  ASSERT_TRUE(tended_until([&] { return both_have("edge9") && both_have("bad2"); })) << all_said() << "\n" << held(*rig_.core, "MESSAGE");
  put(*rig_.edge, "edge", 10, 12);
  ASSERT_TRUE(tended_until([&] { return both_have("edge12") && core_behind() == 0u; })) << all_said();
  const std::string core = held(*rig_.core, "MESSAGE");
  for (const std::string id : {"edge1", "edge2", "edge3", "bad1", "bad2", "edge4", "edge9", "edge12"}) EXPECT_EQ(times(core, id), 1) << id << ": " << core;
  EXPECT_LT(core.find("edge3"), core.find("bad1")) << core;
  EXPECT_LT(core.find("bad2"), core.find("edge4")) << core;
  if (rig_.servers.version().find("2.9.") == std::string::npos) return;  // later servers take it as it is
  EXPECT_TRUE(said("messages of message.x have the header Nats-Expected-Stream")) << all_said();
  for (std::uint64_t n = 1; n <= last_sequence_of(*rig_.core, "MESSAGE"); ++n) {
    const LeadersMessage message = leaders_message(rig_.core->handles().link()->js, "MESSAGE", n, seconds(2));
    if (data_of(message.message.get()) != "bad1") continue;
    std::string headers;
    for (const char* name : {"Nats-Msg-Id", "Kept", "Nats-Expected-Stream"}) headers += header_of(message.message.get(), name);
    EXPECT_EQ(headers, "bad1yes");
  }
}

TEST_F(RoutingCopies, AMirrorWhoseOriginWasMadeAnewIsMadeAgainAndWhatItHadIsKept) {
  put(*rig_.core, "old", 1, 20);
  ASSERT_TRUE(tended_until([&] { return both_have("old20"); }));
  make_anew(*rig_.core, "MESSAGE");
  put(*rig_.core, "new", 1, 5);
  ASSERT_TRUE(tended_until([&] { return both_have("new5"); })) << all_said() << "\n" << held(*rig_.edge, "MESSAGE_MIRROR");
  EXPECT_EQ(held(*rig_.edge, "MESSAGE_MIRROR"), "new1 new2 new3 new4 new5");
  ASSERT_TRUE(said("kept MESSAGE_MIRROR from 1 on as MESSAGE_MIRROR_ASIDE_")) << all_said();
  const auto kept = std::ranges::find_if(done_, [](const std::string& done) { return done.starts_with("kept "); });
  const std::string aside = kept->substr(kept->rfind(' ') + 1);
  EXPECT_TRUE(held(*rig_.edge, aside).starts_with("old1 old2 ")) << aside << ": " << held(*rig_.edge, aside);
  EXPECT_TRUE(held(*rig_.edge, aside).find("old20") != std::string::npos);
  put(*rig_.core, "new", 6, 9);
  EXPECT_TRUE(becomes([&] { return both_have("new9"); }));
}

/// nats-server 2.9.10 passes by such a message, and nothing says that it is missing, or stands still before it: as it happens.
TEST_F(RoutingCopies, WhatAMirrorCannotTakeIsFoundByReadersOfItsEdge) {
  Json config = (*js_request(*rig_.core, "$JS.API.STREAM.INFO.MESSAGE", nullptr, seconds(2)))["config"];
  config["duplicate_window"] = 2'000'000'000;
  ASSERT_FALSE(js_request(*rig_.core, "$JS.API.STREAM.UPDATE.MESSAGE", config, seconds(2))->contains("error"));
  put(*rig_.core, "core", 1, 3);
  ASSERT_TRUE(tended_until([&] { return both_have("core3"); }));
  put(*rig_.core, "bad", 1, 2, {{"Nats-Expected-Stream", "MESSAGE"}});
  put(*rig_.core, "core", 4, 9);
  const auto at_edge = [&] { return held(*rig_.edge, "MESSAGE_edge") + " " + held(*rig_.edge, "MESSAGE_MIRROR"); };
  const auto all_there = [&] { return times(at_edge(), "bad1") > 0 && times(at_edge(), "bad2") > 0 && both_have("core9"); };
  ASSERT_TRUE(tended_until(all_there, seconds(60))) << all_said() << "\n" << held(*rig_.edge, "MESSAGE_MIRROR");
  put(*rig_.core, "core", 10, 12);
  ASSERT_TRUE(tended_until([&] { return both_have("core12"); })) << all_said();
  const std::size_t before = done_.size();
  for (const auto end = std::chrono::steady_clock::now() + 2 * kStill; std::chrono::steady_clock::now() < end;) tend();
  EXPECT_EQ(done_.size(), before) << "it comes to rest: " << all_said();
  const std::string edge = at_edge();
  for (const std::string id : {"core1", "core9", "bad1", "bad2", "core12"}) EXPECT_GT(times(held(*rig_.core, "MESSAGE"), id), 0) << id << all_said();
  for (const std::string id : {"core1", "core4", "core9", "core12"}) EXPECT_GT(times(edge, id), 0) << id << all_said();
  const bool old = rig_.servers.version().find("2.9.") != std::string::npos;
  EXPECT_EQ(said("have the header Nats-Expected-Stream") || left_.find("have the header Nats-Expected-Stream") != std::string::npos, old) << all_said();
}

// ---- replicas that differ
/// Frozen leaders are what makes replicas differ on nats-server 2.9.10: in every second round or so.
class RoutingCopiesFull : public RoutingCopies {};
TEST_F(RoutingCopiesFull, WhatAReplicaLacksIsPutAgainAndNothingIsLost) {
  if (!full_size_is_asked_for()) GTEST_SKIP() << kFullSize;
  constexpr int kRounds = 8;
  constexpr seconds kFrozenFor(7);
  ASSERT_TRUE(set_repeat_window(*rig_.core, "MESSAGE", seconds(20)));
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers;
  for (const int i : rig_.core_nodes) publishers.push_back(rig_.publisher({i}, {"message.received.helion"}, 300, done));
  const auto whole = [&] {
    const auto info = js_request(*rig_.core, "$JS.API.STREAM.INFO.MESSAGE", nullptr, seconds(2));
    if (!info || !info->contains("cluster")) return false;
    const Json replicas = (*info)["cluster"].value("replicas", Json::array());
    return replicas.size() == 2 && std::ranges::all_of(replicas, [](const Json& r) { return r.value("current", false) && !r.value("offline", false); });
  };
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(tended_until(whole, seconds(90)));
    const std::string leader = stream_leader(*rig_.core, "MESSAGE", seconds(2));
    for (const int i : rig_.core_nodes) {
      if (rig_.servers.name(i) != leader) continue;
      rig_.servers.freeze(i);
      std::this_thread::sleep_for(kFrozenFor);
      rig_.servers.thaw(i);
    }
  }
  ASSERT_TRUE(tended_until(whole, seconds(90)));
  done = true;
  for (const auto& publisher : publishers) publisher->join();
  std::set<std::string> acked;
  for (const auto& publisher : publishers)
    for (int n = 0; n < publisher->acked(); ++n) acked.insert(publisher->origin() + " message " + std::to_string(n));
  const auto lacking = [&] {
    int all = 0;
    for (const auto& [server, held] : read_each_replica(*rig_.core, "MESSAGE", 3)) {
      const auto lacks = static_cast<int>(std::ranges::count_if(acked, [&](const std::string& id) { return !held.seen.contains(id); }));
      all += lacks;
      std::printf("  %s holds %zu ids, lacks %d of %zu acknowledged\n", server.c_str(), held.seen.size(), lacks, acked.size());
    }
    return all;
  };
  const int before = lacking();
  if (before == 0) GTEST_SKIP() << "in this run no replica came to lack anything: nats-server " << rig_.servers.version();
  ASSERT_TRUE(tended_until([&] { return said("messages that not every replica had"); }, seconds(120))) << all_said();
  EXPECT_TRUE(becomes([&] { return whole() && lacking() == 0; }, seconds(60))) << all_said();
  // The edge finds all of it too, in its mirror or beside it.
  const auto at_edge = [&] { return held(*rig_.edge, "MESSAGE_MIRROR") + " " + held(*rig_.edge, "MESSAGE_edge"); };
  EXPECT_TRUE(tended_until([&] {
    const std::string there = at_edge();
    const auto last_of = [](const auto& p) { return p->origin() + " message " + std::to_string(p->acked() - 1); };
    return std::ranges::all_of(publishers, [&](const auto& p) { return there.find(last_of(p)) != std::string::npos; });
  }));
  say_machine(rig_.servers.version());
  say({.name = "routing_lacked_by_replicas_then_mended", .value = static_cast<double>(before), .unit = "messages", .samples = {}});
}

}  // namespace
}  // namespace daarion
