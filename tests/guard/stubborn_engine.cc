// Stands for a database at its worst: busy children, each in a session of its own, that hear no polite signal and outlive their parent,
// and write the time to a file as often as they can. SIGINT to the first process is a clean stop: it ends its children, then itself.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "controlplane/node/clock.h"

namespace {
volatile sig_atomic_t stop = 0;
}

int main(int, char** argv) {
  const int out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out < 0) return 1;
  constexpr int kChildren = 3;
  pid_t children[kChildren];
  struct sigaction on_stop {};
  on_stop.sa_handler = [](int) { stop = 1; };
  sigaction(SIGINT, &on_stop, nullptr);
  for (pid_t& child : children) {
    child = fork();
    if (child != 0) continue;
    setsid();
    for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) signal(s, SIG_IGN);
    for (;;) {
      const std::int64_t now = daarion::node_now().time_since_epoch().count();
      if (write(out, &now, sizeof now) != sizeof now) _exit(1);
      const timespec busy{0, 200'000};
      nanosleep(&busy, nullptr);
    }
  }
  while (!stop) pause();
  for (const pid_t child : children) kill(child, SIGKILL);
  while (wait(nullptr) > 0) {
  }
  return 0;
}
