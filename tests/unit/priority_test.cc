#include "controlplane/node/priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

namespace daarion {
namespace {

int nice_now() { return getpriority(PRIO_PROCESS, 0); }

TEST(Priority, IsOfTheThreadAndNotOfWhatItStarts) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may raise a priority";
  const int before = nice_now();
  int own = 0, thread = 0, process = 0;
  std::thread([&] {
    prefer_this_thread();
    own = nice_now();
    std::thread([&] { thread = nice_now(); }).join();
    const pid_t child = fork();
    if (child == 0) _exit(nice_now() + 20);
    int status = 0;
    waitpid(child, &status, 0);
    process = WEXITSTATUS(status) - 20;
  }).join();
  EXPECT_EQ(own, -10);
  EXPECT_EQ(thread, 0);
  EXPECT_EQ(process, 0);
  EXPECT_EQ(nice_now(), before);
}

TEST(Priority, IsGivenToThreadsOfOthers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root may raise a priority";
  const int before = nice_now();
  int inside = 0, after = -20;
  {
    const PreferredChildren preferred;
    std::thread([&] { inside = nice_now(); }).join();
  }
  std::thread([&] { after = nice_now(); }).join();
  EXPECT_EQ(inside, -10);
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace daarion
