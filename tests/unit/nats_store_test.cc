#include "controlplane/drivers/nats/store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

namespace fs = std::filesystem;

class NatsStore : public testing::Test {
 protected:
  std::string snapshot(const std::string& group, const std::string& name, std::size_t bytes) {
    const fs::path folder = fs::path(folder_ / "jetstream/SYS/_js_") / group / "snapshots";
    fs::create_directories(folder);
    std::ofstream(folder / name) << std::string(bytes, 'x');
    return folder / name;
  }
  test::TempFolder folder_;
};

TEST_F(NatsStore, OneThatIsWholeIsLeftAsItIs) {
  const std::string meta = snapshot("_meta_", "snap.1.27", 591), stream = snapshot("S-R3F-a", "snap.1.3", 28);
  EXPECT_EQ(mend_nats_store(folder_ / "").value(), "");
  EXPECT_TRUE(fs::exists(meta) && fs::exists(stream));
  EXPECT_EQ(mend_nats_store(folder_ / "not-there").value(), "") << "a server that starts for the first time";
}

TEST_F(NatsStore, TheSnapshotBeforeAnEmptyOneStays) {
  const std::string before = snapshot("_meta_", "snap.1.27", 591), cut_off = snapshot("_meta_", "snap.1.40", 0);
  const auto done = mend_nats_store(folder_ / "");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_NE(done->find("removed " + cut_off), std::string::npos) << *done;
  EXPECT_TRUE(fs::exists(before));
  EXPECT_FALSE(fs::exists(cut_off));
}

TEST_F(NatsStore, WhereNoneIsBeforeItTheMetaGroupIsSetAside) {
  snapshot("_meta_", "snap.1.40", 0);
  snapshot("S-R3F-a", "snap.1.3", 12);
  for (int again = 0; again < 2; ++again) {
    const auto done = mend_nats_store(folder_ / "");
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(done->find("aside") != std::string::npos, again == 0) << *done;
    EXPECT_FALSE(fs::exists(folder_ / "jetstream/SYS/_js_/_meta_"));
    EXPECT_TRUE(fs::exists(folder_ / "jetstream/SYS/_js_/S-R3F-a")) << "a stream's own is caught up by its leader";
    EXPECT_TRUE(fs::exists(folder_ / "meta.set-aside"));
  }
}

}  // namespace
}  // namespace daarion
