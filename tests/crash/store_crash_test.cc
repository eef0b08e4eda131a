// SIGKILL of the process that folds, at moments that chance picks: what is on disk is always the fold of a prefix, and folding the
// rest gives the full replay.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "consumers/state_store.h"
#include "controlplane/core/fold.h"
#include "streams/codec.h"
#include "tests/unit/sim_log.h"
#include "tests/unit/temp_folder.h"

namespace daarion {
namespace {

constexpr int kReady = 3;  // the child's end of the pipe
std::vector<StoredMessage> the_log() { return test::long_log(11, 2000); }

/// Folds the log from where the store is, a few events per batch, flushing often; then waits to be killed.
[[noreturn]] void fold_until_killed(const std::string& folder, const std::vector<StoredMessage>& log, int ready) {
  auto store = StateStore::open(folder);
  if (!store) _exit(2);
  const char byte = 1;
  if (write(ready, &byte, 1) != 1) _exit(3);
  for (std::size_t at = (*store)->mark().sequence.value; at < log.size();) {
    const std::size_t n = std::min<std::size_t>(log.size() - at, 1 + at % 5);
    if (!(*store)->apply({log.begin() + static_cast<long>(at), log.begin() + static_cast<long>(at + n)})) _exit(4);
    at += n;
    if (at % 16 < n && !(*store)->flush()) _exit(5);
  }
  for (;;) pause();
}

/// The child, by its name: a process of its own program image, because RocksDB's threads do not live on in a fork.
TEST(StoreCrashChild, DISABLED_FoldsUntilKilled) {
  const char* folder = std::getenv("CRASH_FOLDER");
  ASSERT_NE(folder, nullptr) << "run by StoreCrash only";
  fold_until_killed(folder, the_log(), kReady);
}

[[noreturn]] void become_child(const std::string& folder, int ready) {
  setenv("CRASH_FOLDER", folder.c_str(), 1);
  dup2(ready, kReady);
  close_range(kReady + 1, ~0U, 0);
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, 1);
  execl("/proc/self/exe", "crash-child", "--gtest_also_run_disabled_tests", "--gtest_filter=StoreCrashChild.*", nullptr);
  _exit(6);
}

TEST(StoreCrash, WhatIsLeftIsTheFoldOfAPrefix) {
  const char* asked = std::getenv("CRASH_N");
  const int kills = asked ? std::atoi(asked) : 40;
  const auto log = the_log();
  const test::TempFolder folder;
  std::uint64_t chance = 1;
  std::size_t prefixes = 0, partial = 0, restarts = 0;
  useconds_t range = 30'000;  // within which a kill falls: follows the machine, so that kills fall into the middle
  for (int i = 0; i < kills; ++i) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) become_child(folder / "state", ready[1]);
    close(ready[1]);
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1) << "the child did not open its store";
    close(ready[0]);
    chance = chance * 6364136223846793005 + 1442695040888963407;
    usleep(static_cast<useconds_t>((chance >> 33) % range));  // the fault's own moment, not a wait for anything
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << WEXITSTATUS(status);

    auto store = StateStore::open(folder / "state");
    ASSERT_TRUE(store) << store.error().message;
    EXPECT_EQ((*store)->rebuilt(), "") << "a kill is no corruption";
    const std::size_t count = (*store)->mark().sequence.value;
    ASSERT_LE(count, log.size());
    State state;
    Chain chain;
    for (std::size_t k = 0; k < count; ++k) {
      state = fold(std::move(state), *decode_event(log[k]));
      chain = chain_next(chain, log[k]);
    }
    ASSERT_EQ((*store)->state(), state) << "after " << count << " events";
    ASSERT_EQ((*store)->mark().chain, chain);
    ASSERT_EQ((*store)->mark().digest, state_digest(state));
    ++prefixes;
    if (count == 0) range = std::min<useconds_t>(range * 2, 2'000'000);
    if (count == log.size()) range = std::max<useconds_t>(range / 2, 1000);
    partial += count > 0 && count < log.size() ? 1 : 0;
    if (count == log.size()) {  // all folded: begin again
      (*store).reset();
      std::filesystem::remove_all(folder / "state");
      ++restarts;
    }
  }
  std::printf("figure crash_prefixes_right %zu kills n=%d min=%zu p50=%zu max=%zu limit=%d %s\n", prefixes, kills, prefixes, prefixes, prefixes,
              kills, prefixes == static_cast<std::size_t>(kills) ? "ok" : "MISSED");
  std::printf("%zu kills in the middle of the log, %zu full folds\n", partial, restarts);
  EXPECT_GT(partial, static_cast<std::size_t>(kills) / 4) << "the kills came at the ends only: nothing was tested";
}

}  // namespace
}  // namespace daarion
