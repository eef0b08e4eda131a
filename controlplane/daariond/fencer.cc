#include "controlplane/daariond/fencer.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controlplane/daariond/hook.h"
#include "controlplane/node/clock.h"

namespace daarion {
namespace {

constexpr Duration kFirstPause = std::chrono::seconds(5);
constexpr Duration kLongestPause = std::chrono::minutes(5);
// An append waits for a stream quorum, and an election takes up to 9 s: the command need not be run again for that.
constexpr int kAppendTries = 3;

}  // namespace

std::vector<FenceWish> fences_wanted(const NodeCore& core, Instant now) {
  std::vector<FenceWish> out;
  const State& state = core.state();
  if (!core.caught_up() || !state.voters.has(core.identity().self, core.identity().instance)) return out;
  for (const VoterInstance& voter : state.voters.voters)  // by id: the first that lives would decide
    if (voter.node < core.identity().self && core.peers().silent(voter.node, now, core.started()) <= core.spec().lease.ttl) return out;
  for (const ResourceSpec& resource : core.spec().resources) {
    if (!resource.leased || state.paused(resource.id)) continue;
    auto lost = core.lost_holder(resource.id, now);
    if (!lost || lost->replaced) continue;  // a command that knows the node's name alone would end the host that took its place
    const NodeSpec* node = core.spec().node(lost->node);
    const LeaseState* lease = state.lease(resource.id);
    out.push_back({resource.id, std::move(*lost), node ? node->address : "", lease ? lease->epoch : Epoch{}});
  }
  return out;
}

Fencer::Fencer(FencingSpec spec, Duration settle, Confirm confirm) : spec_(std::move(spec)), settle_(settle), confirm_(std::move(confirm)) {
  if (!spec_.exec.empty()) thread_ = std::thread([this] { run(); });
}

Fencer::~Fencer() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

void Fencer::look(const std::vector<FenceWish>& wanted, Instant now) {
  if (spec_.exec.empty()) return;
  const std::lock_guard lock(mutex_);
  std::erase_if(cases_, [&](const auto& entry) {
    return std::ranges::none_of(wanted, [&](const FenceWish& w) { return entry.first == std::pair(w.resource, w.lost.session); });
  });
  for (const FenceWish& wish : wanted) {
    const auto [at, fresh] = cases_.try_emplace({wish.resource, wish.lost.session});
    if (fresh) at->second = {.since = now, .next = now + settle_, .pause = kFirstPause, .warning = {}};
    if (busy_ || now < at->second.next) continue;
    busy_ = queue_.push(wish);
  }
}

void Fencer::run() {
  while (true) {
    const auto wish = queue_.pop(std::chrono::seconds(1));
    if (!wish && queue_.closed()) return;
    if (!wish) continue;
    const std::string& node = wish->lost.node.value;
    spdlog::warn("{}: {} was paused and is lost: running {} to make sure that it is off", wish->resource.value, node, spec_.exec);
    const HookRun run{.exec = spec_.exec, .argument = node, .limit = spec_.timeout,
                      .environment = {"DAARION_NODE=" + node, "DAARION_ADDRESS=" + wish->address, "DAARION_RESOURCE=" + wish->resource.value,
                                      "DAARION_EPOCH=" + std::to_string(wish->epoch.value), "DAARION_SESSION=" + to_text(wish->lost.session)}};
    Result<void> done = run_hook(run);
    const bool off = done.has_value();
    for (int i = 0; off && i < kAppendTries; ++i) {
      done = confirm_(*wish, "command " + command_of(spec_.exec));
      if (done || queue_.closed()) break;
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    const std::lock_guard lock(mutex_);
    busy_ = false;
    const auto at = cases_.find({wish->resource, wish->lost.session});
    if (at == cases_.end()) continue;
    at->second.next = node_now() + at->second.pause;
    at->second.pause = std::min(2 * at->second.pause, kLongestPause);
    at->second.warning = done ? "" : wish->resource.value + ": " + (off ? "FencingConfirmed of " + node + " is not in the log: " : node + " is not fenced: ") + done.error().message +
                                         "; make sure that it is off, then: " + confirm_command(wish->resource, wish->lost);
    if (!done) spdlog::warn("{}", at->second.warning);
  }
}

std::vector<std::string> Fencer::warnings() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [key, value] : cases_)
    if (!value.warning.empty()) out.push_back(value.warning);
  return out;
}

}  // namespace daarion
