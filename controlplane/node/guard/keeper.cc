#include "controlplane/node/guard/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "controlplane/node/clock.h"
#include "controlplane/node/guard/launch.h"
#include "controlplane/node/guard/processes.h"

namespace daarion::guard {
namespace {

constexpr std::size_t kMaxEnded = 32;  // reported whole each time; the log remembers the rest
constexpr int kStrayLimitMs = 2000;
constexpr std::size_t kMaxUnsaid = 64;
// The alarm is early rather than late: the loop looks at the clock itself, and a poll costs nothing.
constexpr std::int64_t kLookAtLeastNs = 50'000'000;

std::int64_t now_ns() { return node_now().time_since_epoch().count(); }

SessionId new_session() {
  SessionId id;
  if (getrandom(&id.hi, sizeof id.hi, 0) != sizeof id.hi || getrandom(&id.lo, sizeof id.lo, 0) != sizeof id.lo) std::abort();
  id.lo |= 1;  // never all zero: that means none
  return id;
}

}  // namespace

std::string beside_data(const std::string& data_dir, const std::string& what) { return data_dir + ".guard." + what; }

std::string noted_program(const std::string& data_dir) {
  std::array<char, 4096> buffer{};
  const int fd = open(beside_data(data_dir, "program").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  close(fd);
  return n > 0 ? std::string(buffer.data(), static_cast<std::size_t>(n)) : std::string{};
}

bool note_program(const std::string& data_dir, const std::string& program) {
  if (noted_program(data_dir) == program) return true;
  const std::string path = beside_data(data_dir, "program"), next = path + ".next";
  const int fd = open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const bool written = write(fd, program.data(), program.size()) == static_cast<ssize_t>(program.size()) && fsync(fd) == 0;
  return close(fd) == 0 && written && rename(next.c_str(), path.c_str()) == 0;
}

bool Keeper::open_all() {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  signals_ = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
  // CLOCK_BOOTTIME: a machine that slept past the deadline fences when it wakes.
  alarm_ = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  watcher_fd_ = static_cast<int>(syscall(SYS_pidfd_open, watcher_, 0));
  listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (setup_.socket.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, setup_.socket.c_str(), setup_.socket.size() + 1);
  unlink(setup_.socket.c_str());  // of a guard that is gone: the lock says so
  const mode_t mask = umask(0177);
  const bool bound = bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 && listen(listener_, 4) == 0;
  umask(mask);
  return bound && signals_ >= 0 && alarm_ >= 0 && watcher_fd_ >= 0;
}

int Keeper::serve() {
  next_ = new_session();
  incarnation_ = static_cast<std::uint64_t>(now_ns() / 1'000'000);  // another guard's count never meets this one
  if (!open_all()) {
    std::fprintf(stderr, "daarion-guard: listen at %s: %s\n", setup_.socket.c_str(), std::strerror(errno));
    return 1;
  }
  while (!quit_) {
    std::array<pollfd, 5> fds{pollfd{signals_, POLLIN, 0}, pollfd{alarm_, POLLIN, 0}, pollfd{watcher_fd_, POLLIN, 0}, pollfd{listener_, POLLIN, 0},
                              pollfd{client_, static_cast<short>(POLLIN | (owes_report_ ? POLLOUT : 0)), 0}};
    const int ready = poll(fds.data(), fds.size(), -1);
    if (ready < 0 && errno != EINTR) std::abort();
    // The order is the order of importance: a deadline that has passed comes before anything that might move it.
    if (fence_if_due(page_, now_ns())) fence(EndCause::kFenced);
    std::uint64_t expirations = 0;
    (void)!read(alarm_, &expirations, sizeof expirations);
    if (fds[2].revents != 0) {
      begin_fence(page_);
      fence(EndCause::kFenced);
      say("the watcher is gone: fenced");
      return 1;
    }
    if (fds[0].revents != 0) take_ends();
    if (fds[3].revents != 0) {
      const int accepted = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (accepted < 0 && errno != EAGAIN) poll(nullptr, 0, 10);  // no descriptor left: not in a circle at this priority
      if (accepted >= 0) {
        drop_client();  // the newest daemon is the one: an older one is gone, or about to be
        client_ = accepted;
        report();
        say("heard a daemon");
      }
    } else if (client_ >= 0 && fds[4].fd == client_ && fds[4].revents != 0) {
      if (owes_report_ && (fds[4].revents & POLLOUT)) report();
      if (fds[4].revents & (POLLIN | POLLHUP | POLLERR)) hear_client();
    }
    set_alarm();
  }
  return 0;
}

/// Set anew after every turn: the deadline may have moved either way.
void Keeper::set_alarm() {
  itimerspec spec{};
  const std::int64_t deadline = page_.deadline.load();
  if (deadline != kNoDeadline) {
    // Ends of the slewed and the raw clock differ by 0.05 %: short steps, each looking at the raw one.
    const std::int64_t left = std::clamp<std::int64_t>(deadline == kFencing ? 1 : deadline - now_ns(), 1, kLookAtLeastNs);
    spec.it_value = {.tv_sec = 0, .tv_nsec = left};
  }
  timerfd_settime(alarm_, 0, &spec, nullptr);
}

void Keeper::hear_client() {
  std::array<char, kMaxMessage> buffer;
  for (int taken = 0; taken < 64 && client_ >= 0; ++taken) {  // bounded: the deadline is looked at between turns
    const ssize_t n = recv(client_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) return drop_client();
    if (fence_if_due(page_, now_ns())) fence(EndCause::kFenced);
    take(unpack(buffer.data(), static_cast<std::size_t>(n)));
    if (quit_) return;
  }
}

void Keeper::take(const Fields& message) {
  if (message.empty()) return;
  const std::string& verb = message[0];
  if (verb == "hello") return report();
  if (verb == "start") return start_engine(message);
  if (verb == "signal") return signal_engine(message);
  if (verb == "quit") {
    begin_fence(page_);
    fence(EndCause::kReleased);
    quit_ = true;
    return;
  }
  const auto command = command_of(message);
  if (!command) return say("ignored: " + command.error().message);
  take(*command);
}

void Keeper::take(const GuardCommand& c) {
  const std::int64_t deadline = c.deadline.time_since_epoch().count();
  switch (c.kind) {
    case GuardCommand::Kind::kArm:
      if (fencing_) break;
      if (taken_ && taken_->session == c.session) {
        // Also one that has passed: a guard that was stopped while it had none must not go on without (the next look at the clock fences).
        if (!extend(page_, deadline, now_ns())) break;
        taken_->deadline = c.deadline;
        taken_->epoch = c.epoch;
      } else if (!taken_ && next_ == c.session && deadline > now_ns()) {
        if (!extend(page_, deadline, now_ns())) break;
        taken_ = TakenSession{c.session, c.epoch, c.deadline};
        next_ = new_session();
        say("took session " + to_text(c.session) + " epoch " + std::to_string(c.epoch.value));
      }
      break;
    case GuardCommand::Kind::kRetire:
      if (taken_ && taken_->session == c.session) {
        const bool was_running = engine_ != 0;
        begin_fence(page_);
        fence(was_running ? EndCause::kFenced : EndCause::kReleased);
        return;
      }
      if (next_ == c.session) end_next();
      break;
    case GuardCommand::Kind::kFence:
      if (taken_) break;  // its deadline rules
      begin_fence(page_);
      fence(std::nullopt);
      if (std::string why; kill_strays(setup_.data_dir, noted_program(setup_.data_dir), kStrayLimitMs, why) != Strays::kNone)
        say("not everything could be ended: " + why);
      return;
  }
  report();
}

/// Leaves no process; then the taken session, if there is one, ends for ever. Pre: the page says that fencing has begun.
void Keeper::fence(std::optional<EndCause> cause) {
  fencing_ = true;
  report();
  empty();
  const bool had = taken_.has_value();
  if (taken_ && cause) end_taken(*cause);
  fencing_ = false;
  page_.deadline.store(kNoDeadline);
  if (had) say("fenced: no process is left");
  report();
}

void Keeper::empty() {
  if (engine_ != 0 && !reaped_) kill(engine_, SIGKILL);  // its end has not been taken: the pid is its own
  do {
    kill_cgroup(setup_.cgroup);
    kill_until_empty([this] {
      kill_cgroup(setup_.cgroup);
      page_.pulse.fetch_add(1);
    });
    page_.pulse.fetch_add(1);
  } while (!cgroup_empty(setup_.cgroup));
  engine_ = 0;
  reaped_ = false;
  end_announced_ = false;
}

void Keeper::end_taken(EndCause cause) {
  ended_.push_back({taken_->session, cause});
  if (ended_.size() > kMaxEnded) ended_.erase(ended_.begin());
  taken_.reset();
}

void Keeper::end_next() {
  ended_.push_back({std::exchange(next_, new_session()), EndCause::kReleased});
  if (ended_.size() > kMaxEnded) ended_.erase(ended_.begin());
}

void Keeper::start_engine(const Fields& message) {
  const std::string id = message.size() > 1 ? message[1] : "";
  const auto launch = launch_of(message);
  if (!launch) return answer(id, launch.error().message);
  if (fencing_ || page_.deadline.load() == kFencing) return answer(id, "start the engine: it is being fenced");
  if (engine_ != 0) return answer(id, "start the engine: it runs already");
  // What an engine left behind, or what somebody started by hand in its folder, is not there beside a new one.
  empty();
  const std::string& program = launch->command.argv[0];
  if (!note_program(setup_.data_dir, program))
    return answer(id, "start the engine: write " + beside_data(setup_.data_dir, "program") + ": " + std::strerror(errno));
  if (std::string why; kill_strays(setup_.data_dir, program, kStrayLimitMs, why) != Strays::kNone) return answer(id, "start the engine: another may run: " + why);
  const auto pid = launch_engine(*launch, setup_.cgroup);
  if (!pid) return answer(id, pid.error().message);
  engine_ = *pid;
  reaped_ = false;
  end_announced_ = false;
  ++incarnation_;
  say("started " + program + " pid " + std::to_string(engine_));
  answer(id, "");
  report();
}

void Keeper::signal_engine(const Fields& message) {
  const std::string id = message.size() > 1 ? message[1] : "";
  if (message.size() < 3) return answer(id, "signal: no number");
  if (engine_ == 0) return answer(id, "");
  end_announced_ = true;
  // Its end has not been taken yet, so the pid is still its own.
  if (kill(engine_, std::atoi(message[2].c_str())) != 0) return answer(id, std::string("signal the engine: ") + std::strerror(errno));
  answer(id, "");
}

/// Ends of children: orphans of the engine, and the engine's first process itself.
void Keeper::take_ends() {
  signalfd_siginfo info{};
  while (read(signals_, &info, sizeof info) == sizeof info) {
  }
  bool engine_ended = false;
  int how = 0, status = 0;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != engine_) continue;
    engine_ended = reaped_ = true;
    how = status;
  }
  if (!engine_ended) return;
  const bool crashed = !end_announced_;
  if (crashed && taken_) {
    // Its backends may live on and commit: the session is over when they are gone.
    begin_fence(page_);
    fence(EndCause::kCrashed);
  } else {
    empty();
    report();
  }
  say(std::string("the engine's first process ended ") + (crashed ? "by itself" : "as asked") + ", status " + std::to_string(how));
}

void Keeper::report() {
  GuardReport r{.resource = {}, .connected = true, .next = next_, .taken = taken_, .ended = ended_, .incarnation = incarnation_,
                .engine_running = engine_ != 0, .fencing = fencing_};
  owes_report_ = !send_to_client(to_fields(r));
}

void Keeper::answer(const std::string& id, const std::string& error) {
  if (!error.empty()) say("refused: " + error);
  if (!send_to_client({"done", id, error, std::to_string(incarnation_), engine_ != 0 ? "1" : "0"})) drop_client();  // it asks again when it is back
}

/// True if it was sent, or nobody is there to hear it.
bool Keeper::send_to_client(const Fields& fields) {
  if (client_ < 0) return true;
  const std::string bytes = pack(fields);
  if (send(client_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size())) return true;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
  drop_client();
  return true;
}

/// To the daemon, or kept for it: a guard that writes to a disk could hang with it.
void Keeper::say(const std::string& line) {
  unsaid_.push_back(line);
  if (unsaid_.size() > kMaxUnsaid) unsaid_.pop_front();
  while (client_ >= 0 && !unsaid_.empty() && send_to_client({"log", unsaid_.front()})) unsaid_.pop_front();
}

void Keeper::drop_client() {
  if (client_ >= 0) close(client_);
  client_ = -1;
  owes_report_ = false;
}

}  // namespace daarion::guard
