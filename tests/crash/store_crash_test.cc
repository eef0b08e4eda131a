// SIGKILL of the process that folds, at moments that chance picks, and disks that have no room, from each amount of room on: what is on disk is
// always the fold of a prefix, and folding the rest gives the full replay.
#include <gtest/gtest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>

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

[[noreturn]] void become_child(const char* which, const std::string& folder, int ready) {
  setenv("CRASH_FOLDER", folder.c_str(), 1);
  dup2(ready, kReady);
  close_range(kReady + 1, ~0U, 0);
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, 1);
  const std::string filter = std::string("--gtest_filter=StoreCrashChild.DISABLED_") + which;
  execl("/proc/self/exe", "crash-child", "--gtest_also_run_disabled_tests", filter.c_str(), nullptr);
  _exit(6);
}

// What the child that folds on a full disk ends with.
enum Full { kWhole = 0, kNotOpened = 10, kNeverGoesOn, kNotOpenedAgain, kAnotherFold, kNoMount };

/// Folds the log on a file system of its own (a mount that nobody else sees) that has `room` bytes left from a third of the log to two thirds.
/// Returns one of Full; failures are counted.
int fold_on_full_disk(const std::string& folder, const std::vector<StoredMessage>& log, std::size_t room, int& failures) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return kNoMount;
  if (mount("daarion-store", folder.c_str(), "tmpfs", 0, "size=24m") != 0) return kNoMount;
  auto store = StateStore::open(folder + "/state");
  if (!store) return kNotOpened;
  const std::string ballast = folder + "/ballast";
  const auto apply_to = [&](std::size_t end) {
    for (std::size_t at = (*store)->mark().sequence.value; at < end; at += 40) {
      if (!(*store)->apply({log.begin() + static_cast<long>(at), log.begin() + static_cast<long>(std::min(end, at + 40))})) return false;
      failures += (*store)->flush() ? 0 : 1;
    }
    return (*store)->mark().sequence.value == end;
  };
  if (!apply_to(log.size() / 3)) return kNeverGoesOn;
  // Opened anew, nothing of before runs any more, which could make room later.
  (*store).reset();
  store = StateStore::open(folder + "/state");
  if (!store) return kNotOpened;
  struct statvfs disk {};
  if (statvfs(folder.c_str(), &disk) != 0) return kNoMount;
  const std::size_t free = disk.f_bavail * disk.f_bsize;
  const int fd = open(ballast.c_str(), O_CREAT | O_WRONLY, 0600);
  if (free > room && posix_fallocate(fd, 0, static_cast<off_t>(free - room)) != 0) return kNoMount;
  close(fd);
  if (!apply_to(2 * log.size() / 3)) return kNeverGoesOn;  // memory goes on
  unlink(ballast.c_str());
  if (!apply_to(log.size())) return kNeverGoesOn;
  if (!(*store)->flush()) return kNeverGoesOn;
  (*store).reset();
  store = StateStore::open(folder + "/state");
  if (!store) return kNotOpenedAgain;
  State state;
  const std::size_t count = (*store)->mark().sequence.value;
  for (std::size_t k = 0; k < count; ++k) state = fold(std::move(state), *decode_event(log[k]));
  const bool right = (*store)->state() == state && (*store)->mark().digest == state_digest(state) && (*store)->heads().back().sequence.value == log.size();
  return right && count == log.size() && (*store)->rebuilt().empty() ? kWhole : kAnotherFold;
}

TEST(StoreCrashChild, DISABLED_FoldsOnAFullDisk) {
  const char* folder = std::getenv("CRASH_FOLDER");
  ASSERT_NE(folder, nullptr) << "run by StoreCrash only";
  int failures = 0;
  const int ended = fold_on_full_disk(folder, the_log(), std::strtoul(std::getenv("CRASH_ROOM"), nullptr, 10), failures);
  const char said = static_cast<char>(std::min(failures, 100));
  if (write(kReady, &said, 1) != 1) _exit(3);
  _exit(ended);
}

struct Child {
  pid_t pid = -1;
  int said = -1;  // what it writes on kReady is read here
};

/// -1: it could not be started.
Child start_child(const char* which, const std::string& folder) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const Child child{fork(), ends[0]};
  if (child.pid == 0) become_child(which, folder, ends[1]);
  close(ends[1]);
  return child;
}

/// The byte that the child says; nothing if it ends without.
std::optional<char> word_of(const Child& child) {
  char byte = 0;
  const bool heard = read(child.said, &byte, 1) == 1;
  close(child.said);
  return heard ? std::optional(byte) : std::nullopt;
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
    const Child child = start_child("FoldsUntilKilled", folder / "state");
    ASSERT_GE(child.pid, 0);
    ASSERT_TRUE(word_of(child)) << "the child did not open its store";
    chance = chance * 6364136223846793005 + 1442695040888963407;
    usleep(static_cast<useconds_t>((chance >> 33) % range));  // the fault's own moment, not a wait for anything
    kill(child.pid, SIGKILL);
    int status = 0;
    waitpid(child.pid, &status, 0);
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

/// From no room at all to enough: each step of a flush (file, manifest, CURRENT) is the one that finds none.
TEST(StoreCrash, AFullDiskStopsNothingForGood) {
  if (geteuid() != 0) GTEST_SKIP() << "mounts a file system of its own: needs root";
  const char* asked = std::getenv("CRASH_N");
  const std::size_t steps = asked ? static_cast<std::size_t>(std::atoi(asked)) : 16;
  constexpr std::size_t kEnough = 64 << 10;  // for what the folds from one third of the log to the next write
  std::size_t whole = 0, refused = 0;
  for (std::size_t i = 0; i < steps; ++i) {
    const test::TempFolder folder;
    std::filesystem::create_directories(folder / "disk");
    const std::size_t room = i * kEnough / steps / 4096 * 4096;
    setenv("CRASH_ROOM", std::to_string(room).c_str(), 1);
    const Child child = start_child("FoldsOnAFullDisk", folder / "disk");
    ASSERT_GE(child.pid, 0);
    const std::optional<char> failures = word_of(child);
    const bool heard = failures.has_value();
    int status = 0;
    waitpid(child.pid, &status, 0);
    EXPECT_TRUE(heard && WIFEXITED(status)) << room << " bytes of room: it ended by signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), kWhole) << room << " bytes of room";
    whole += heard && WIFEXITED(status) && WEXITSTATUS(status) == kWhole ? 1 : 0;
    refused += failures.value_or(0) > 0 ? 1 : 0;
  }
  std::printf("figure crash_full_disks_right %zu disks n=%zu min=%zu p50=%zu max=%zu limit=%zu %s\n", whole, steps, whole, whole, whole, steps,
              whole == steps ? "ok" : "MISSED");
  std::printf("%zu of them had no room for something\n", refused);
  EXPECT_GT(refused, steps / 4) << "there was room: nothing was tested";
}

}  // namespace
}  // namespace daarion
