#include "controlplane/daariond/observed_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace daarion {
namespace {

constexpr Duration kInterval = std::chrono::seconds(1);             // between looks while the engine gives no word
constexpr Duration kSlice = std::chrono::milliseconds(100);         // in which an operator's wish is taken up
constexpr Duration kStorm = std::chrono::milliseconds(50);          // between looks at an engine that gives many words
constexpr Duration kAfterWord = std::chrono::milliseconds(200);     // to a second look: what the engine answers may come after its word
constexpr std::size_t kActions = 16;

}  // namespace

struct ObservedRunner::Worker {
  ObservedSeat seat;
  Mailbox<ObservedAction> actions{kActions};
  std::thread thread;
};

ObservedRunner::ObservedRunner(BesidePorts ports, std::vector<ObservedSeat> seats)
    : core_(std::move(ports), "observed resources", {.folded = [this](const State& state, ObservedCore&) { note(state); }, .perform = [this](ObservedOutput output) { perform(std::move(output)); }}) {
  for (ObservedSeat& seat : seats) {
    auto& worker = workers_[seat.resource] = std::make_unique<Worker>();
    worker->seat = std::move(seat);
  }
  for (auto& [id, worker] : workers_) worker->thread = std::thread([this, w = worker.get()] { work(*w); });
}

ObservedRunner::~ObservedRunner() {
  core_.end();
  for (auto& [id, worker] : workers_) worker->actions.close();
  for (auto& [id, worker] : workers_) worker->thread.join();
}

std::vector<std::string> ObservedRunner::warnings() const {
  std::vector<std::string> out = core_.warnings();
  const std::lock_guard lock(mutex_);
  for (const auto& [id, why] : not_made_) out.push_back(id.value + " cannot be observed from here: " + why);
  return out;
}

ResourceViews ObservedRunner::views() const {
  const std::lock_guard lock(mutex_);
  return views_;
}

void ObservedRunner::perform(ObservedOutput output) {
  // Before the first look nothing is asked for, so every worker is there.
  auto& action = std::get<RunObserved>(output).action;
  if (!workers_.at(action.resource)->actions.push(action)) core_.post(ObservedActed{action, false, "there is too much to do at once"});
}

void ObservedRunner::note(const State& state) {
  const std::lock_guard lock(mutex_);
  intents_.clear();
  for (const auto& [node, member] : state.members)
    if (member.intent != MemberIntent::kActive) intents_[node] = member.intent;
}

void ObservedRunner::work(Worker& worker) {
  const ResourceId id = worker.seat.resource;
  std::unique_ptr<Observer> observer;
  Instant next = node_now(), looked{};
  bool by_word = false;
  while (!worker.actions.closed()) {
    if (!observer) {
      auto made = worker.seat.make();
      const std::lock_guard lock(mutex_);
      if (made) observer = std::move(*made), not_made_.erase(id);
      else not_made_[id] = made.error().message;
    }
    const auto action = worker.actions.pop(observer ? Duration{} : kInterval);
    if (worker.actions.closed()) break;
    if (!observer) {
      if (action) core_.post(ObservedActed{*action, false, "it cannot be observed from here"});
      continue;
    }
    if (action) {
      auto done = observer->act(*action);
      spdlog::info("{}: {}: {}", id.value, action->repair.empty() ? "switchover" : action->repair, done ? *done : done.error().message);
      core_.post(ObservedActed{*action, done.has_value(), done ? std::move(*done) : done.error().message});
      next = node_now();
    } else if (observer->await_word(std::clamp(next - node_now(), Duration{}, kSlice))) {
      next = std::max(node_now(), looked + kStorm);
      by_word = true;
    }
    if (node_now() < next) continue;
    looked = node_now();
    std::map<NodeId, MemberIntent> intents;
    {
      const std::lock_guard lock(mutex_);
      intents = intents_;
    }
    observer->told(intents);
    ResourceView view = observer->observe();
    {
      const std::lock_guard lock(mutex_);
      views_[id] = view;
    }
    core_.post(ObservedLooked{id, std::move(view)});
    next = looked + (std::exchange(by_word, false) ? kAfterWord : kInterval);
  }
}

}  // namespace daarion
