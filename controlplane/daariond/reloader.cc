#include "controlplane/daariond/reloader.h"

#include <linux/close_range.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <tuple>

#include "controlplane/daariond/hook.h"
#include "controlplane/drivers/exec_array.h"
#include "controlplane/drivers/files.h"
#include "controlplane/drivers/subprocess.h"
#include "controlplane/topology/render.h"

namespace daarion {
namespace {

using Steady = std::chrono::steady_clock;

constexpr Duration kCheckLimit = std::chrono::seconds(20);  // it waits up to 3 s for each of its servers
constexpr Duration kWatchEvery = std::chrono::seconds(5);
constexpr Duration kTurn = std::chrono::seconds(1);         // between voters that are told at once: each is away for a third of that
constexpr Duration kTurnLimit = std::chrono::seconds(5), kTurnPoll = std::chrono::milliseconds(50);
constexpr Duration kLeftEnds = std::chrono::milliseconds(500), kLeftPoll = std::chrono::milliseconds(5);
constexpr const char* kLeft = "DAARION_LEFT";  // from a daemon to the one that follows in its place
constexpr Duration kForgotten = std::chrono::minutes(1);    // a file is given to all nodes first, and then taken up

/// Empty: it cannot be read now.
std::string text_on_disk(const std::string& path) { return read_file(path).value_or(""); }

/// What `--check` refused for: the lines that have its name. Others are its log's.
std::string cause_of(const std::string& errors) {
  constexpr std::string_view kName = "daariond: ";
  std::istringstream in(errors);
  std::string out;
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(kName)) out += (out.empty() ? "" : "; ") + one_line(line.substr(kName.size()));
  return out.empty() ? one_line(cause_in(errors)) : out;
}

std::vector<pid_t> children() {
  std::vector<pid_t> out;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream in(task.path() / "children");
    for (pid_t child = 0; in >> child;) out.push_back(child);
  }
  return out;
}

bool is_ending() {
  sigset_t waiting;
  sigemptyset(&waiting);
  sigpending(&waiting);
  return sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGUSR2) == 1;
}

}  // namespace

Started Started::here(int argc, char** argv) {
  // By the name that an upgrade moves, where it was started by one.
  Started out{.program = argv[0][0] == '/' ? argv[0] : std::filesystem::read_symlink("/proc/self/exe").string(), .directory = std::filesystem::current_path(),
              .arguments = {argv, argv + argc}, .environment = {}, .left = {}, .foreign = {}};
  if (const char* left = getenv(kLeft)) {
    std::istringstream in(left);
    for (pid_t pid = 0; in >> pid;) out.left.push_back(pid);
    unsetenv(kLeft);
  }
  for (const pid_t child : children())
    if (std::ranges::find(out.left, child) == out.left.end()) out.foreign.push_back(child);
  for (char** entry = environ; *entry != nullptr; ++entry) out.environment.emplace_back(*entry);
  return out;
}

void Started::end_what_is_left() const {
  std::vector<pid_t> living = left;
  for (const auto end = Steady::now() + kLeftEnds; !living.empty() && Steady::now() < end; std::this_thread::sleep_for(kLeftPoll)) {
    for (const pid_t child : living) {
      kill(-child, SIGKILL);  // each has a group of its own
      kill(child, SIGKILL);
    }
    std::erase_if(living, [](pid_t child) { return waitpid(child, nullptr, WNOHANG) != 0; });
  }
}

std::string needs_restart(const ClusterFile& now, const ClusterFile& next, const NodeId& self) {
  const auto bound = [&](const ClusterFile& file) { return std::tuple(bind_of(file, self), file.grpc_port, file.http_port, file.beat_port); };
  const auto address = [&](const ClusterFile& file) {
    const NodeSpec* node = file.spec.node(self);
    return node == nullptr ? std::string{} : node->address;
  };
  if (now.spec.cluster != next.spec.cluster) return "cluster is another";
  if (bound(now) != bound(next)) return "control has another bind, grpc_port, http_port or beat_port";
  if (address(now) != address(next)) return "nodes." + self.value + " has another address";
  for (const ResourceSpec& resource : now.spec.resources) {
    if (!resource.leased || !resource.has_member(self)) continue;
    const ResourceSpec* there = next.spec.resource(resource.id);
    if (there == nullptr || !there->leased || !there->has_member(self)) return "this node runs " + resource.id.value + ", and is no member of it any more";
    if (there->engine != resource.engine || there->port != resource.port || there->data_dir != resource.data_dir || there->runner != resource.runner)
      return "resources." + resource.id.value + " has another engine, port, data_dir or runner";
  }
  return {};
}

Reloader::Reloader(Started started, std::string config, ClusterFile file, NodeId self, std::function<std::size_t()> heard)
    : started_(std::move(started)), config_(std::move(config)), file_(std::move(file)), self_(std::move(self)), heard_(std::move(heard)), thread_([this] { watch(); }) {}

Reloader::~Reloader() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<void> Reloader::check() const {
  ToolCommand command{.argv = started_.arguments, .environment = started_.environment, .user = {}, .directory = started_.directory, .limit = kCheckLimit, .idle_limit = {},
                      .may_be_left = true};
  command.argv[0] = started_.program;
  command.argv.emplace_back("--check");
  auto user = find_user("");
  if (!user) return tl::unexpected(user.error());
  command.user = std::move(*user);
  const auto ran = run_tool(command);
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0) {
    const std::string cause = cause_of(ran->errors);
    return fail(Remedy::kFixInput, cause.empty() ? started_.program + " --check ended with " + std::to_string(ran->exit_code) : cause);
  }
  return {};
}

/// Leases go on without this node while a majority of the others is heard; those that were told at once go one after the other.
Result<void> Reloader::await_turn() const {
  const auto& voters = file_.spec.voters;
  const auto at = std::ranges::find(voters, self_);
  if (at == voters.end()) return {};
  const auto turn = Steady::now() + kTurn * (at - voters.begin()), end = turn + kTurnLimit;
  const std::size_t needed = voters.size() / 2;  // beside this node
  while (Steady::now() < turn || heard_() < needed) {
    if (is_ending()) return fail(Remedy::kRetry, "this daemon is told to end");
    if (Steady::now() >= end) return fail(Remedy::kRetry, "too few other voters are heard: a lease of this node would end");
    std::this_thread::sleep_for(kTurnPoll);
  }
  return {};
}

Result<void> Reloader::reload() {
  const std::string text = text_on_disk(config_), hash = cluster_file_hash(text);
  auto done = check();
  if (done)
    if (const std::string restart = needs_restart(file_, parse_cluster_file(text).file, self_); !restart.empty())
      done = fail(Remedy::kFixInput, config_ + ": " + restart + ": restart the daemon, which hands over first");
  if (done) done = await_turn();
  if (done && text_on_disk(config_) != text) done = fail(Remedy::kRetry, config_ + " was changed while it was checked");
  if (done && is_ending()) done = fail(Remedy::kRetry, "this daemon is told to end");
  // Libraries leave sockets open across an exec, and the next one could not have their ports.
  if (done && close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) done = fail(Remedy::kRetry, std::string("close files: ") + std::strerror(errno));
  if (done) {
    spdlog::info("reloading: {} goes on in this daemon's place", started_.program);
    spdlog::default_logger()->flush();
    std::vector<std::string> with_left = started_.environment;
    std::string& left = with_left.emplace_back(std::string(kLeft) + "=");
    for (const pid_t child : children())
      if (std::ranges::find(started_.foreign, child) == started_.foreign.end()) left += std::to_string(child) + " ";
    const std::vector<char*> arguments = exec_array(started_.arguments), environment = exec_array(with_left);
    execve(started_.program.c_str(), arguments.data(), environment.data());
    done = fail(Remedy::kRetry, "execute " + started_.program + ": " + std::strerror(errno));
  }
  const std::lock_guard lock(mutex_);
  refused_ = hash;
  cause_ = done.error().message;
  return done;
}

void Reloader::watch() {
  std::string other;
  Steady::time_point since{};
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kWatchEvery, [&] { return ended_; })) {
    lock.unlock();
    const std::string text = text_on_disk(config_);
    std::string hash = cluster_file_hash(text);
    lock.lock();
    if (text.empty()) continue;
    if (hash != other) other = hash, since = Steady::now();
    if (hash != refused_) refused_.clear(), cause_.clear();
    on_disk_ = hash != file_.hash && Steady::now() - since >= kForgotten ? std::move(hash) : std::string{};
  }
}

std::vector<std::string> Reloader::warnings() const {
  const std::lock_guard lock(mutex_);
  if (!cause_.empty()) return {"this daemon runs on as it was started, its reload was refused: " + cause_};
  if (!on_disk_.empty()) return {config_ + " is another than this daemon runs with: `systemctl reload daariond`, or SIGHUP, takes it up"};
  return {};
}

}  // namespace daarion
