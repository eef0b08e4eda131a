// A core beside the node's (services, observed resources) as threads: one steps it and hands out its outputs, one waits for its appends.
// Nothing here touches the protocol thread.
#pragma once

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "controlplane/core/beside.h"
#include "controlplane/node/clock.h"
#include "controlplane/node/make_event.h"
#include "streams/codec.h"
#include "streams/event_log.h"
#include "streams/mailbox.h"

namespace daarion {

struct BesidePorts {
  NodeId self;
  std::shared_ptr<Appender> appender;
  std::function<void(const std::string& subject, const std::string& payload)> telemetry;  // must not block; may lose; null: none
};

template <class Core>
class CoreThread {
 public:
  struct Hooks {
    std::function<void(const State& state, Core& core)> folded;         // before what the core made of it is carried out; null
    std::function<void(typename Core::Output output)> perform;          // whatever is neither append nor telemetry
  };
  CoreThread(BesidePorts ports, const char* name, Hooks hooks) : ports_(std::move(ports)), name_(name), hooks_(std::move(hooks)), core_(ports_.self) {
    threads_.emplace_back([this] { run(); });
    threads_.emplace_back([this] { run_append(); });
  }
  ~CoreThread() { end(); }
  /// Waits for its threads; nothing is performed after that.
  void end() {
    ending_ = true;
    inbox_.close();
    appends_.close();
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

  // Threads: any; none of these blocks.
  void post(typename Core::Input input) {
    if (!inbox_.push(std::move(input)) && !ending_) spdlog::warn("{}: the queue is full; a look or a result is lost", name_);
  }
  void folded(std::shared_ptr<const State> state) {
    // The newest alone: each is the whole state.
    states_.push_fresh(std::move(state));
    inbox_.push(typename Core::Tick{});
  }
  void meet(Contact contact) { inbox_.push(contact); }
  std::vector<std::string> warnings() const {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }

 private:
  static constexpr std::size_t kInbox = 1024;  // looks pile up only while the machine stands still; what is lost is looked at again
  static constexpr std::size_t kQueue = 64;
  static constexpr Duration kAppendLimit = std::chrono::seconds(2);  // above an append without a fault, below an election: then it is tried again
  static constexpr Duration kIdle = std::chrono::seconds(1);

  void run() {
    const auto carry_out = [this](std::vector<typename Core::Output> outputs) {
      for (auto& output : outputs) perform(std::move(output));
    };
    while (!ending_) {
      const auto input = inbox_.pop(std::max(Duration{}, core_.next_tick() - node_now()));
      if (auto state = states_.pop({})) {
        auto outputs = core_.step(typename Core::Folded{*state}, node_now());
        // Who is new must be there before he is told to do something.
        if (hooks_.folded) hooks_.folded(**state, core_);
        carry_out(std::move(outputs));
      }
      carry_out(core_.step(input ? *input : typename Core::Input(typename Core::Tick{}), node_now()));
      std::vector<std::string> warnings = core_.warnings();
      const std::lock_guard lock(mutex_);
      warnings_ = std::move(warnings);
    }
  }
  void perform(typename Core::Output output) {
    if (const auto* report = std::get_if<Report>(&output)) {
      if (ports_.telemetry) ports_.telemetry(telemetry_subject(report->payload, report->resource), encode_event(event_of(*report, ports_.self)));
    } else if (auto* append = std::get_if<Append>(&output)) {
      const std::uint64_t id = append->request.id;
      if (!appends_.push(std::move(append->request))) post(typename Core::Appended{{.id = id}});
    } else {
      hooks_.perform(std::move(output));
    }
  }
  void run_append() {
    while (!ending_) {
      const auto request = appends_.pop(kIdle);
      if (request) post(typename Core::Appended{append(*ports_.appender, *request, ports_.self, kAppendLimit)});
    }
  }

  const BesidePorts ports_;
  const char* const name_;
  const Hooks hooks_;
  Core core_;  // of its thread
  Mailbox<typename Core::Input> inbox_{kInbox};
  Mailbox<std::shared_ptr<const State>> states_{1};
  Mailbox<AppendRequest> appends_{kQueue};
  mutable std::mutex mutex_;
  std::vector<std::string> warnings_;  // guarded by mutex_
  std::atomic<bool> ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace daarion
