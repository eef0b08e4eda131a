#include "controlplane/daariond/role_caller.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "controlplane/daariond/hook.h"

namespace daarion {
namespace {

constexpr const char* kPrimaryRole = "primary";
constexpr const char* kReplicaRole = "replica";
constexpr const char* kNoRole = "none";
constexpr Duration kFirstPause = std::chrono::seconds(5), kLongestPause = std::chrono::minutes(5);  // between two tries of a command that fails

}  // namespace

std::string role_now(const std::string& before, const StatusView::Role& seen) {
  if (seen.primary) return kPrimaryRole;
  if (before == kPrimaryRole && seen.leads) return before;
  switch (seen.state) {
    case EngineState::kStandby:
      return kReplicaRole;
    case EngineState::kUnknown:
    case EngineState::kStarting:
    case EngineState::kUnresponsive:
      return before == kPrimaryRole ? kNoRole : before;
    default:
      return kNoRole;
  }
}

RoleCaller::RoleCaller(std::vector<RoleCallback> callbacks, const NodeId& self, std::string cluster) : self_(self.value), cluster_(std::move(cluster)) {
  for (RoleCallback& callback : callbacks) {
    calls_.push_back(std::make_unique<Call>());
    calls_.back()->callback = std::move(callback);
  }
  for (const auto& call : calls_) call->thread = std::thread([this, &call = *call] { run(call); });
}

RoleCaller::~RoleCaller() { end(); }

void RoleCaller::finish(const std::vector<ResourceId>& stopped) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& call : calls_)
      if (std::ranges::find(stopped, call->callback.resource) != stopped.end() && !call->now.name.empty()) call->now.name = kNoRole;
  }
  end();
}

void RoleCaller::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  for (const auto& call : calls_)
    if (call->thread.joinable()) call->thread.join();
}

void RoleCaller::look(const StatusView& view) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  for (const auto& call : calls_) {
    const auto seen = std::ranges::find(view.roles, call->callback.resource, &StatusView::Role::resource);
    if (seen == view.roles.end()) continue;  // this node runs nothing of it
    std::string role = role_now(call->now.name, *seen);
    if (role == call->now.name) continue;
    const LeaseState* lease = view.state ? view.state->lease(call->callback.resource) : nullptr;
    const bool held = lease != nullptr && lease->has_holder();
    call->now = {std::move(role), held ? lease->completed.node.value : "", held ? lease->completed.epoch.value : 0};
    changed_.notify_all();
  }
}

void RoleCaller::run(Call& call) {
  Duration pause = kFirstPause;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return ended_ || call.due(); });
    if (!call.due()) return;
    const Role role = call.now;
    if (call.told) call.former = *call.told;
    const std::string former = call.former;
    lock.unlock();
    const auto done = tell(call, role, former);
    lock.lock();
    call.failed = done ? "" : done.error().message;
    if (done) {
      call.told = role.name;
      pause = kFirstPause;
      continue;
    }
    // It may have done some of it: whatever the role is next, it is told.
    call.told.reset();
    const bool sooner = changed_.wait_for(lock, pause, [&] { return ended_ || call.now.name != role.name; });
    if (ended_ && call.now.name == role.name) return;
    pause = sooner ? kFirstPause : std::min(2 * pause, kLongestPause);
  }
}

Result<void> RoleCaller::tell(const Call& call, const Role& role, const std::string& former) const {
  const std::string& resource = call.callback.resource.value;
  spdlog::info("{} is {} here{}: running {}", resource, role.name, former.empty() ? "" : ", and was " + former, call.callback.exec);
  const auto done = run_hook({.exec = call.callback.exec, .argument = role.name, .limit = call.callback.timeout,
                              .environment = {"DAARION_NODE=" + self_, "DAARION_CLUSTER=" + cluster_, "DAARION_RESOURCE=" + resource, "DAARION_ROLE=" + role.name,
                                              "DAARION_FORMER_ROLE=" + former, "DAARION_PRIMARY=" + (role.name == kPrimaryRole ? self_ : role.primary),
                                              "DAARION_EPOCH=" + std::to_string(role.epoch)}});
  if (!done) spdlog::warn("{}: that it is {} here is not told: {}", resource, role.name, done.error().message);
  return done;
}

std::vector<std::string> RoleCaller::warnings() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& call : calls_)
    if (!call->failed.empty()) out.push_back(call->callback.resource.value + ": that it is " + call->now.name + " here is not told: " + call->failed);
  return out;
}

}  // namespace daarion
