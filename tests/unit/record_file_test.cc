#include "controlplane/node/record_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "controlplane/node/ids.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

VoterRecord example() {
  VoterRecord r{.instance = new_instance(), .run = random_id<RunId>(), .boot = boot_id(), .log = random_id<LogId>()};
  r.voters = {.id = {1, 2}, .sequence = {3}, .voters = {{NodeId("node1"), {4, 5}}, {NodeId("node2"), {6, 7}}}};
  r.earlier_runs = {{8, 9}, {10, 11}};
  r.promises[ResourceId("postgres")] = {.epoch = {12}, .session = {13, 14}, .node = NodeId("node2"), .longest = std::chrono::seconds(2), .paused = {15},
                                        .instance = {17, 18}};
  r.floors[ResourceId("postgres")] = {16};
  r.regressed = {17};
  r.root = LogId{8, 1};
  r.overrides = 2;
  return r;
}

TEST(RecordFile, GivesBackWhatWasWritten) {
  const test::TempFolder folder;
  auto file = RecordFile::open(folder / "voter.json");
  ASSERT_TRUE(file);
  const VoterRecord r = example();
  ASSERT_TRUE(file->write(r));
  const auto back = file->read();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, r);
}

TEST(RecordFile, AMissingFileIsANewInstanceOfThisMachine) {
  const test::TempFolder folder;
  auto file = RecordFile::open(folder / "voter.json");
  const auto first = file->read(), second = file->read();
  EXPECT_TRUE(made_here(first->instance));
  EXPECT_NE(first->instance, second->instance);
}

TEST(RecordFile, ARecordOfAnotherMachineIsNotTakenUp) {
  const test::TempFolder folder;
  auto file = RecordFile::open(folder / "voter.json");
  VoterRecord r = example();
  r.instance.lo ^= 1;
  ASSERT_TRUE(file->write(r));
  const auto back = file->read();
  ASSERT_TRUE(back);
  EXPECT_NE(back->instance, r.instance);
  EXPECT_TRUE(back->promises.empty());
}

/// A record written before promises named an instance: nothing of it is lost, and no instance is made up.
TEST(RecordFile, ReadsARecordWithoutInstances) {
  std::ifstream in(DAARION_SOURCE_DIR "/tests/golden/voter_without_instance.json");
  std::stringstream text;
  text << in.rdbuf();
  const auto r = parse_record(text.str());
  ASSERT_TRUE(r) << r.error().message;
  const PromiseRecord wanted{.epoch = {12}, .session = {13, 14}, .node = NodeId("node2"), .longest = std::chrono::seconds(2), .paused = {15}};
  EXPECT_EQ(r->promises.at(ResourceId("postgres")), wanted);
  EXPECT_TRUE(r->promises.at(ResourceId("postgres")).instance.empty());
  EXPECT_EQ(*parse_record(record_text(*r)), *r);
}

TEST(RecordFile, OneProcessHasIt) {
  const test::TempFolder folder;
  auto first = RecordFile::open(folder / "voter.json");
  ASSERT_TRUE(first);
  const auto second = RecordFile::open(folder / "voter.json");
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another daariond"), std::string::npos);
}

/// A voter that forgot a promise must not answer: damage is an error, whatever byte it hits, and never another record.
TEST(RecordFile, ADamagedFileIsAnErrorAtEveryByte) {
  const std::string text = record_text(example());
  const auto whole = parse_record(text);
  ASSERT_TRUE(whole);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bad = text;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    const auto read = parse_record(bad);
    if (read) {
      EXPECT_EQ(*read, *whole) << "byte " << i << " changed the record unseen";
    }
    if (i + 1 < text.size()) {
      EXPECT_FALSE(parse_record(text.substr(0, i))) << "cut at " << i;
    }
  }
}

}  // namespace
}  // namespace daarion
