// What is asked of nats-servers because of an operator's word of a node, and what never is.
#include "controlplane/drivers/nats/steps.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace daarion::nats {
namespace {

/// node1 leads the meta group and APP/MESSAGE, node2 the log and telemetry; node4's server was of the core until it lost its vote.
struct RestScene {
  std::vector<Server> planned = {{.kind = Kind::kCore, .node = NodeId("node1"), .name = "node1"},
                                 {.kind = Kind::kCore, .node = NodeId("node2"), .name = "node2"},
                                 {.kind = Kind::kWitness, .node = NodeId("node3"), .name = "node3-witness"},
                                 {.kind = Kind::kLeaf, .node = NodeId("node3"), .name = "node3"},
                                 {.kind = Kind::kLeaf, .node = NodeId("node4"), .name = "node4"}};
  std::vector<Word> words;
  Intents intents;
  Instant now{std::chrono::hours(1)};

  RestScene() {
    const auto stream = [](const char* account, const char* name, const char* leader) {
      Stream out{.account = account, .name = name, .leader = leader, .wanted = 3, .others = {}, .origins = {}};
      for (const char* server : {"node1", "node2", "node3-witness"})
        if (std::string(server) != leader) out.others.push_back({server});
      return out;
    };
    for (const char* name : {"node1", "node2", "node3-witness"})
      words.push_back({.server = name, .at = now, .id = std::string("ID-") + name, .answers = true, .jetstream = true, .meta_leader = "node1", .meta_size = 3,
                       .streams = std::vector{stream("APP", "MESSAGE", "node1"), stream("CONTROL", "CLUSTER_LOG", "node2"), stream("CONTROL", "CLUSTER_TELEMETRY", "node2"),
                                              stream("THEIRS", "X", "node2")}});
    words[0].meta_others = {{"node2"}, {"node3-witness"}};
    words.push_back({.server = "node3", .at = now, .answers = true, .jetstream = true});
  }
  /// Of the stream's leader, as it tells of its others.
  Stream& led(const std::string& name) {
    for (Word& word : words)
      if (word.streams)
        for (Stream& stream : *word.streams)
          if (stream.name == name && stream.leader == word.server) return stream;
    return words[0].streams->front();
  }
  void count_node4() {
    intents[NodeId("node4")] = MemberIntent::kRetired;
    words[0].meta_others.push_back({.server = "node4", .current = false});
  }
  std::string due() const {
    std::string out;
    for (const Step& step : steps_of(planned, words, intents, now)) out += step.repair.what + "\n";
    return out;
  }
};

TEST(NatsSteps, OfNodesThatAreActiveThereAreNone) {
  RestScene s;
  EXPECT_EQ(s.due(), "");
  s.words[0].meta_others.push_back({.server = "node4", .current = false, .offline = true});
  EXPECT_EQ(s.due(), "") << "who was not retired may come back";
}

TEST(NatsSteps, ADrainedNodeLeadsNoStream) {
  for (const MemberIntent intent : {MemberIntent::kDraining, MemberIntent::kMaintenance, MemberIntent::kDisabled}) {
    RestScene s;
    s.intents[NodeId("node1")] = intent;
    EXPECT_EQ(s.due(), "let another server lead APP/MESSAGE: node1 is drained\n");
    EXPECT_EQ(steps_of(s.planned, s.words, s.intents, s.now)[0].repair.name, "move_leaders node1");
  }
  RestScene s;
  s.intents[NodeId("node2")] = MemberIntent::kDraining;
  EXPECT_EQ(s.due(), "let another server lead CONTROL/CLUSTER_TELEMETRY: node2 is drained\n") << "the log is handed over by its own keeper, and what is others' by nobody";
  s.intents[NodeId("node3")] = MemberIntent::kDraining;
  s.led("CLUSTER_TELEMETRY").others[0].current = false;  // node1's, the one that does not rest
  EXPECT_EQ(s.due(), "") << "nobody else may lead it";
}

TEST(NatsSteps, NoLeadIsMovedWhileAServerIsNotHeard) {
  RestScene s;
  s.intents[NodeId("node1")] = MemberIntent::kDraining;
  for (std::size_t i = 0; i < 3; ++i) {
    RestScene one = s;
    one.words[i].at -= std::chrono::seconds(1);
    EXPECT_EQ(one.due(), "") << one.words[i].server;
    one.words[i].at = one.now;
    one.words[i].answers = false;
    EXPECT_EQ(one.due(), "");
  }
  s.words[3].at -= std::chrono::seconds(2);
  EXPECT_NE(s.due(), "") << "an edge takes no part in it";
}

TEST(NatsSteps, ARetiredServerThatIsOffIsCountedNoMore) {
  RestScene s;
  s.count_node4();
  EXPECT_EQ(s.due(), "take server node4 out of JetStream's meta group: node4 is retired\n");
  const Step step = steps_of(s.planned, s.words, s.intents, s.now)[0];
  EXPECT_EQ(step.peer, "node4");
  EXPECT_GE(step.repair.patience, std::chrono::seconds(10));
  s.planned.pop_back();
  EXPECT_NE(s.due(), "") << "also once it is out of the cluster file";
  s.words[0].meta_others.back().server = "node4-witness";
  EXPECT_EQ(s.due(), "take server node4-witness out of JetStream's meta group: node4 is retired\n");
}

TEST(NatsSteps, NothingIsTakenOutThatLivesOrThatIsNeeded) {
  RestScene alive;
  alive.count_node4();
  alive.words[0].meta_others.back().current = true;
  EXPECT_EQ(alive.due(), "") << "its leader hears it";
  RestScene heard;
  heard.count_node4();
  heard.words.push_back({.server = "node4", .at = heard.now, .id = "ID-node4"});
  EXPECT_EQ(heard.due(), "") << "it answered";
  RestScene planned;
  planned.count_node4();
  planned.planned.back().kind = Kind::kCore;
  EXPECT_EQ(planned.due(), "") << "it is a voter's, and its word is missing";
  RestScene follower;
  follower.count_node4();
  follower.words[1].meta_others = follower.words[0].meta_others;
  follower.words[0].meta_others.clear();
  EXPECT_EQ(follower.due(), "") << "only who leads the group knows";
  RestScene leaderless;
  leaderless.count_node4();
  for (std::size_t i = 0; i < 3; ++i) leaderless.words[i].streams->at(0).leader = "";
  EXPECT_EQ(leaderless.due(), "") << "what it has may be the last good copy";
  RestScene behind;
  behind.count_node4();
  behind.led("MESSAGE").others = {{.server = "node2", .current = false}, {.server = "node4", .current = false, .offline = true}};
  EXPECT_EQ(behind.due(), "");
  behind.led("MESSAGE").others[0].current = true;
  EXPECT_NE(behind.due(), "");
}

TEST(NatsSteps, HowADrainedServerIsStoppedIsANote) {
  RestScene s;
  EXPECT_TRUE(notes_of_rest(s.planned, s.words, s.intents).empty());
  s.intents[NodeId("node1")] = MemberIntent::kDraining;
  EXPECT_EQ(notes_of_rest(s.planned, s.words, s.intents), std::vector<std::string>{"server node1 of node1, which is drained, leads the meta group, APP/MESSAGE"});
  s.intents = {{NodeId("node3"), MemberIntent::kDraining}};
  const auto notes = notes_of_rest(s.planned, s.words, s.intents);
  ASSERT_EQ(notes.size(), 1u) << "the leaf has no leads to move";
  EXPECT_NE(notes[0].find("leads nothing: before its host is stopped, `nats-server --signal ldm=FOLDER/node3-witness.pid`"), std::string::npos) << notes[0];
}

}  // namespace
}  // namespace daarion::nats
