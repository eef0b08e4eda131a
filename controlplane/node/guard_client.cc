#include "controlplane/node/guard_client.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "controlplane/drivers/subprocess.h"
#include "controlplane/node/guard/protocol.h"
#include "controlplane/node/priority.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

// A guard answers in microseconds; starting an engine takes a fork and an exec. Longer: it is fencing, or it is gone.
constexpr seconds kAnswerLimit{5};
constexpr seconds kStartLimit{6};      // of a pair: it waits up to 3 s for an earlier one that still ends its engine; then tried again
constexpr milliseconds kConnectEvery{5};
constexpr milliseconds kCallAgain{200};

int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  // Not blocking: a guard that does not accept must not hold up whoever waits for this thread.
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

/// The pair outlives this process: it becomes a child of init, in a session of its own. Returns false if it could not be forked.
bool start_pair(const GuardConfig& c) {
  std::vector<std::string> texts{c.binary, "--socket", c.socket, "--data-dir", c.data_dir};
  if (!c.cgroup.empty()) texts.insert(texts.end(), {"--cgroup", c.cgroup});
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  const std::string folder = c.socket.substr(0, c.socket.rfind('/'));
  const pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {  // system calls only
    if (fork() != 0) _exit(0);
    setsid();
    const int null = ::open("/dev/null", O_RDONLY);
    int log = ::open(c.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (log < 0) log = ::open("/dev/null", O_WRONLY);  // not the daemon's own: a pipe that nobody empties would hang the guard
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    close_range(3, ~0U, 0);
    (void)!chdir(folder.c_str());
    execv(argv[0], argv.data());
    _exit(127);
  }
  waitpid(pid, nullptr, 0);
  return true;
}

/// One daemon's side: a thread that reads, finds a living guard or starts a pair, for as long as the client lives.
class SocketGuardClient final : public GuardClient {
 public:
  SocketGuardClient(GuardConfig config, OnReport on_report) : config_(std::move(config)), on_report_(std::move(on_report)), wake_(eventfd(0, EFD_CLOEXEC)) {}
  ~SocketGuardClient() override {
    closed_ = true;
    wake();
    if (reader_.joinable()) reader_.join();
    drop(socket_.exchange(-1));
    close(wake_);
  }

  Result<void> begin() {
    if (access(config_.binary.c_str(), X_OK) != 0)
      return fail(Remedy::kFixInput, "start the guard of " + config_.resource.value + ": " + config_.binary + " cannot be executed; name it with --guard");
    auto found = find_or_start();
    if (!found) return tl::unexpected(found.error());
    socket_ = *found;
    reader_ = std::thread([this] { read_all(); });
    return {};
  }

  void send(const GuardCommand& command) override { (void)transmit(guard::to_fields(command)); }

  void end() override {
    ending_ = true;
    (void)transmit({"quit"});
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kStartLimit, [&] { return !report_.connected; });
  }

  Result<std::uint64_t> start(const EngineCommand& command) override {
    auto user = find_user(command.user);
    if (!user) return tl::unexpected(user.error());
    guard::Launch launch{.command = command, .switch_user = geteuid() == 0 && user->uid != 0, .uid = user->uid, .gid = user->gid,
                         .groups = {user->groups.begin(), user->groups.end()}};
    const auto answer = ask([&](const std::string& id) { return guard::to_fields(id, launch); });
    if (!answer) return tl::unexpected(answer.error());
    return *answer;
  }

  Result<void> stop(int signal) override {
    const auto answer = ask([&](const std::string& id) { return guard::Fields{"signal", id, std::to_string(signal)}; });
    if (!answer) return tl::unexpected(answer.error());
    return {};
  }

  Result<void> wait_empty(Duration limit) override {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, limit, [&] { return report_.connected && !report_.engine_running && !report_.fencing; })) return {};
    return fail(Remedy::kRetry, "wait for " + config_.resource.value + " to end: it still runs after " + std::to_string(to_ms(limit)) + " ms", Effect::kMaybe);
  }

  std::uint64_t incarnation() const override {
    const std::lock_guard lock(mutex_);
    return report_.incarnation;
  }
  bool running() const override {
    const std::lock_guard lock(mutex_);
    return report_.engine_running;
  }

 private:
  /// A connected socket: of a living guard, or of a pair started now.
  Result<int> find_or_start() {
    if (const int fd = connect_to(config_.socket); fd >= 0) return fd;
    if (!start_pair(config_)) return fail(Remedy::kRetry, "start the guard of " + config_.resource.value + ": " + std::strerror(errno));
    const auto until = Steady::now() + kStartLimit;
    while (Steady::now() < until && !closed_) {
      if (const int fd = connect_to(config_.socket); fd >= 0) return fd;
      std::this_thread::sleep_for(kConnectEvery);
    }
    return fail(Remedy::kRetry, "start the guard of " + config_.resource.value + ": nothing answers at " + config_.socket + "; see " + config_.log_file);
  }

  bool transmit(const guard::Fields& fields) {
    const std::string bytes = guard::pack(fields);
    const std::lock_guard lock(send_mutex_);  // also keeps the descriptor open while it is used
    const int fd = socket_.load();
    return fd >= 0 && ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(bytes.size());
  }

  /// Sends a request and waits for its answer.
  Result<std::uint64_t> ask(const std::function<guard::Fields(const std::string&)>& request) {
    std::unique_lock lock(mutex_);
    const std::string id = std::to_string(++requests_);
    answered_ = {};
    lock.unlock();
    const bool sent = transmit(request(id));
    lock.lock();
    const std::string what = "ask the guard of " + config_.resource.value;
    if (!sent) return fail(Remedy::kRetry, what + ": it is not connected");
    const bool done = changed_.wait_for(lock, kAnswerLimit, [&] { return answered_.id == id || !report_.connected; });
    if (!done || answered_.id != id) return fail(Remedy::kRetry, what + ": no answer", Effect::kMaybe);
    if (!answered_.error.empty()) return fail(Remedy::kRetry, answered_.error);
    return answered_.incarnation;
  }

  void read_all() {
    prefer_this_thread();
    std::array<char, guard::kMaxMessage> buffer;
    while (!closed_) {
      const int fd = socket_.load();
      if (fd < 0) {
        if (ending_) {  // its word to quit may have been lost with the connection
          socket_ = connect_to(config_.socket);
          if (socket_ < 0) return;
          (void)transmit({"quit"});
          continue;
        }
        auto found = find_or_start();
        if (found)
          socket_ = *found;
        else
          rest();
        continue;
      }
      std::array<pollfd, 2> fds{pollfd{fd, POLLIN, 0}, pollfd{wake_, POLLIN, 0}};
      if (poll(fds.data(), fds.size(), -1) < 0 || fds[0].revents == 0) continue;
      const ssize_t n = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n > 0)
        take(guard::unpack(buffer.data(), static_cast<std::size_t>(n)));
      else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        lost();
    }
  }

  void rest() {
    pollfd fd{wake_, POLLIN, 0};
    (void)poll(&fd, 1, static_cast<int>(kCallAgain.count()));
  }

  void take(const guard::Fields& message) {
    if (message.empty()) return;
    if (message[0] == "done" && message.size() >= 5) {
      const std::lock_guard lock(mutex_);
      answered_ = {message[1], message[2], std::strtoull(message[3].c_str(), nullptr, 10)};
      report_.incarnation = answered_.incarnation;  // the report that says so comes after it
      report_.engine_running = message[4] == "1";
      changed_.notify_all();
      return;
    }
    if (message[0] == "log" && message.size() >= 2) return spdlog::info("guard of {}: {}", config_.resource.value, message[1]);
    auto report = guard::report_of(message);
    if (!report) return;
    report->resource = config_.resource;
    report->connected = true;
    {
      const std::lock_guard lock(mutex_);
      report_ = *report;
      changed_.notify_all();
    }
    on_report_(*report);
  }

  /// The guard closed the socket: it is gone, or another daemon took its place. Either way nothing is known of it now.
  void lost() {
    GuardReport report{.resource = config_.resource};
    {
      const std::lock_guard lock(send_mutex_);
      drop(socket_.exchange(-1));
    }
    {
      const std::lock_guard lock(mutex_);
      report.incarnation = report_.incarnation;
      report_ = report;
      changed_.notify_all();
    }
    on_report_(report);
  }

  void wake() {
    const std::uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
  }
  static void drop(int fd) {
    if (fd >= 0) close(fd);
  }

  struct Answer {
    std::string id, error;
    std::uint64_t incarnation = 0;
  };
  const GuardConfig config_;
  const OnReport on_report_;
  const int wake_;
  std::atomic<int> socket_ = -1;
  std::atomic<bool> closed_ = false, ending_ = false;
  std::mutex send_mutex_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  GuardReport report_;
  std::uint64_t requests_ = 0;
  Answer answered_;
  std::thread reader_;
};

}  // namespace

Result<std::unique_ptr<GuardClient>> GuardClient::open(GuardConfig config, OnReport on_report) {
  auto client = std::make_unique<SocketGuardClient>(std::move(config), std::move(on_report));
  if (auto begun = client->begin(); !begun) return tl::unexpected(begun.error());
  return std::unique_ptr<GuardClient>(std::move(client));
}

}  // namespace daarion
