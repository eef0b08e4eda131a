#include "consumers/state_store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "consumers/state_codec.h"
#include "controlplane/core/fold.h"
#include "streams/codec.h"
#include "tests/unit/random_values.h"
#include "tests/unit/sim_log.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

using test::Filler;
using test::long_log;
using test::sim_log;
using test::TempFolder;

State folded(const std::vector<StoredMessage>& log, std::size_t count) {
  State state;
  for (std::size_t i = 0; i < count; ++i) state = fold(std::move(state), *decode_event(log[i]));
  return state;
}
Chain chained(const std::vector<StoredMessage>& log, std::size_t count) {
  Chain chain;
  for (std::size_t i = 0; i < count; ++i) chain = chain_next(chain, log[i]);
  return chain;
}

TEST(StateCodec, KeepsEveryMemberOfEveryPart) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Filler filler(seed);
    State state;
    state.log = filler.make<LogState>();
    state.voters = filler.make<VoterSet>();
    state.topology = filler.make<TopologyState>();
    state.members[NodeId("node1")] = filler.make<MemberState>();
    state.leases[ResourceId("postgres")] = filler.make<LeaseState>();
    state.replicas[{ResourceId("postgres"), NodeId("node2")}] = filler.make<ReplicaState>();
    state.operators["cluster"] = filler.make<OperatorState>();
    state.routes["table"] = filler.make<RouteState>();
    state.requests = {filler.make<RequestState>(), filler.make<RequestState>()};
    State back;
    for (const StateKey& key : keys_of(state)) {
      ASSERT_EQ(parse_key(key_text(key)), key);
      const auto read = decode_part(back, key, *encode_part(state, key));
      ASSERT_TRUE(read) << read.error().message;
    }
    EXPECT_EQ(back, state);
  }
}

TEST(StateStore, EqualsTheFullFoldAndItsDigest) {
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    const auto log = sim_log(seed);
    const TempFolder folder;
    auto store = StateStore::open(folder / "state");
    ASSERT_TRUE(store) << store.error().message;
    for (std::size_t i = 0; i < log.size();) {
      const std::size_t n = std::min(log.size() - i, 1 + i % 7);
      ASSERT_TRUE((*store)->apply({log.begin() + static_cast<long>(i), log.begin() + static_cast<long>(i + n)}));
      i += n;
      EXPECT_EQ((*store)->mark().digest, state_digest((*store)->state()));
    }
    EXPECT_EQ((*store)->state(), folded(log, log.size()));
    EXPECT_EQ((*store)->mark().chain, chained(log, log.size()));
    EXPECT_EQ((*store)->mark().sequence.value, log.size());
  }
}

TEST(StateStore, DigestDoesNotDependOnBatches) {
  const auto log = sim_log(7);
  const TempFolder folder;
  auto one = StateStore::open(folder / "one"), all = StateStore::open(folder / "all");
  for (const StoredMessage& m : log) ASSERT_TRUE((*one)->apply({&m, 1}));
  ASSERT_TRUE((*all)->apply(log));
  EXPECT_EQ((*one)->mark(), (*all)->mark());
}

TEST(StateStore, ReopensWhereItWasFlushedAndFoldsTheRestAgain) {
  const auto log = sim_log(3);
  const TempFolder folder;
  const std::size_t half = log.size() / 2;
  {
    auto store = StateStore::open(folder / "state");
    ASSERT_TRUE((*store)->apply({log.begin(), log.begin() + static_cast<long>(half)}));
    ASSERT_TRUE((*store)->flush());
  }
  auto store = StateStore::open(folder / "state");
  ASSERT_TRUE(store);
  EXPECT_EQ((*store)->rebuilt(), "");
  EXPECT_EQ((*store)->state(), folded(log, half));
  ASSERT_TRUE((*store)->apply({log.begin() + static_cast<long>(half), log.end()}));
  EXPECT_EQ((*store)->state(), folded(log, log.size()));
}

TEST(StateStore, StopsBeforeWhatItCannotReadAndKeepsWhatCameBefore) {
  auto log = sim_log(3);
  log[4].payload = "\xff";
  const TempFolder folder;
  auto store = StateStore::open(folder / "state");
  const auto applied = (*store)->apply(log);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().remedy, Remedy::kStop);
  EXPECT_NE(applied.error().message.find("read event 5 "), std::string::npos) << applied.error().message;
  EXPECT_EQ((*store)->mark().sequence.value, 4u);
  EXPECT_EQ((*store)->state(), folded(log, 4));
}

TEST(StateStore, SaysWhoHasTheFolder) {
  const TempFolder folder;
  auto first = StateStore::open(folder / "state");
  ASSERT_TRUE(first);
  auto second = StateStore::open(folder / "state");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().remedy, Remedy::kFixInput);
  EXPECT_NE(second.error().message.find("another process has it"), std::string::npos) << second.error().message;
}

TEST(StateStore, AMissingFolderIsMade) {
  const TempFolder folder;
  auto store = StateStore::open(folder / "deep/er/state");
  ASSERT_TRUE(store);
  EXPECT_EQ((*store)->mark(), FoldMark{});
}

/// Damages each file of a flushed store in three ways: whatever opens then is right, or says that it began anew.
TEST(StateStore, ADamagedFolderIsRebuiltOrRight) {
  const auto log = sim_log(3);
  const State whole = folded(log, log.size());
  const TempFolder folder;
  {
    auto store = StateStore::open(folder / "good");
    ASSERT_TRUE((*store)->apply(log));
    ASSERT_TRUE((*store)->flush());
  }
  std::size_t rebuilt = 0, tried = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "good")) {
    const std::string name = entry.path().filename();
    if (name.starts_with("LOG") || name == "LOCK") continue;
    for (const char* damage : {"flip", "truncate", "remove"}) {
      std::filesystem::remove_all(folder / "bad");
      std::filesystem::copy(folder / "good", folder / "bad");
      const std::string path = folder / ("bad/" + name);
      const auto size = std::filesystem::file_size(path);
      if (std::string(damage) == "remove") {
        std::filesystem::remove(path);
      } else if (std::string(damage) == "truncate") {
        std::filesystem::resize_file(path, size / 2);
      } else if (size > 0) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<long>(size / 2));
        const char byte = static_cast<char>(file.get() ^ 0x40);
        file.seekp(static_cast<long>(size / 2));
        file.put(byte);
      }
      auto store = StateStore::open(folder / "bad");
      ASSERT_TRUE(store) << name << " " << damage << ": " << store.error().message;
      ++tried;
      if (!(*store)->rebuilt().empty()) {
        ++rebuilt;
        EXPECT_NE((*store)->rebuilt().find("rebuilt by replay"), std::string::npos);
        EXPECT_EQ((*store)->mark(), FoldMark{}) << name << " " << damage;
        ASSERT_TRUE((*store)->apply(log));
        EXPECT_EQ((*store)->state(), whole);
        (*store).reset();
        std::filesystem::remove_all(folder / "bad.bad-1");
      } else {
        EXPECT_EQ((*store)->mark().digest, state_digest((*store)->state()));
        const std::size_t count = (*store)->mark().sequence.value;
        ASSERT_LE(count, log.size());
        EXPECT_EQ((*store)->state(), folded(log, count)) << name << " " << damage;
      }
    }
  }
  EXPECT_GT(tried, 10u);
  EXPECT_GT(rebuilt, 5u);
}

TEST(StateStore, KnowsItsNewestEventsByNameAlsoAfterARestart) {
  const auto log = long_log(3, 2 * kHeads);
  const TempFolder folder;
  EventHeads heads;
  {
    auto store = StateStore::open(folder / "state");
    ASSERT_TRUE((*store)->apply({log.begin(), log.begin() + 10}));
    EXPECT_EQ((*store)->heads().size(), 10u);
    for (std::size_t i = 10; i < log.size(); ++i) ASSERT_TRUE((*store)->apply({&log[i], 1}));
    heads = (*store)->heads();
    ASSERT_TRUE((*store)->flush());
  }
  ASSERT_EQ(heads.size(), kHeads);
  EXPECT_EQ(heads.back(), head_of(*decode_event(log.back())));
  auto store = StateStore::open(folder / "state");
  ASSERT_TRUE(store);
  EXPECT_EQ((*store)->heads(), heads);
  store->reset();
  ASSERT_TRUE(StateStore::set_aside(folder / "state"));
  store = StateStore::open(folder / "state");
  EXPECT_TRUE((*store)->heads().empty());
  EXPECT_EQ((*store)->rebuilt(), "") << "begun anew on purpose";
  EXPECT_TRUE(std::filesystem::exists(folder / "state.lost"));
}

}  // namespace
}  // namespace daarion
