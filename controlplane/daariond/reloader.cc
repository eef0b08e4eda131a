#include "controlplane/daariond/reloader.h"

#include <linux/close_range.h>
#include <spdlog/spdlog.h>
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
#include "controlplane/drivers/subprocess.h"
#include "controlplane/topology/render.h"

namespace daarion {
namespace {

using Steady = std::chrono::steady_clock;

constexpr Duration kCheckLimit = std::chrono::seconds(20);  // it waits up to 10 s for NATS
constexpr Duration kWatchEvery = std::chrono::seconds(5);
constexpr Duration kForgotten = std::chrono::minutes(1);    // a file is given to all nodes first, and then taken up

/// Empty: it cannot be read now.
std::string text_on_disk(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return in ? text.str() : std::string{};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// What `--check` said, each line once and without its name.
std::string cause_of(const std::string& errors) {
  std::istringstream in(errors);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("daariond: ")) line.erase(0, std::strlen("daariond: "));
    if (!line.empty()) out += (out.empty() ? "" : "; ") + one_line(line);
  }
  return out;
}

}  // namespace

Started Started::here(int argc, char** argv) {
  Started out{.program = std::filesystem::read_symlink("/proc/self/exe"), .arguments = {argv, argv + argc}, .environment = {}};
  for (char** entry = environ; *entry != nullptr; ++entry) out.environment.emplace_back(*entry);
  return out;
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

Reloader::Reloader(Started started, std::string config, ClusterFile file, NodeId self)
    : started_(std::move(started)), config_(std::move(config)), file_(std::move(file)), self_(std::move(self)), thread_([this] { watch(); }) {}

Reloader::~Reloader() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<void> Reloader::check() const {
  ToolCommand command{.argv = started_.arguments, .environment = started_.environment, .user = {}, .limit = kCheckLimit};
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
  const std::string restart = needs_restart(file_, parse_cluster_file(text_on_disk(config_)).file, self_);
  if (!restart.empty()) return fail(Remedy::kFixInput, config_ + ": " + restart + ": restart the daemon, which hands over first");
  return {};
}

Result<void> Reloader::reload() {
  const std::string hash = cluster_file_hash(text_on_disk(config_));
  const auto checked = check();
  {
    const std::lock_guard lock(mutex_);
    refused_ = checked ? "" : hash;
    cause_ = checked ? "" : checked.error().message;
  }
  if (!checked) return checked;
  spdlog::info("reloading: {} goes on in this daemon's place", started_.program);
  spdlog::default_logger()->flush();
  const std::vector<char*> arguments = pointers(started_.arguments), environment = pointers(started_.environment);
  // Libraries leave sockets open across an exec, and the next one could not have their ports.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  execve(started_.program.c_str(), arguments.data(), environment.data());
  return fail(Remedy::kRetry, "execute " + started_.program + ": " + std::strerror(errno));
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
