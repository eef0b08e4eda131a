#include "controlplane/daariond/notifier.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controlplane/api/views.h"
#include "controlplane/daariond/hook.h"
#include "controlplane/node/clock.h"
#include "streams/codec.h"

namespace daarion {
namespace {

constexpr Duration kLimit = std::chrono::seconds(10);
constexpr Duration kRemembered = std::chrono::hours(1);

class NoticedAppender final : public Appender {
 public:
  NoticedAppender(std::shared_ptr<Appender> inner, std::shared_ptr<Notifier> notifier) : inner_(std::move(inner)), notifier_(std::move(notifier)) {}
  AppendResult append(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    notifier_->appending(subject, payload, id);
    return noticed(id, inner_->append(subject, payload, id, limit));
  }
  AppendResult append_if_free(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    notifier_->appending(subject, payload, id);
    return noticed(id, inner_->append_if_free(subject, payload, id, limit));
  }

 private:
  AppendResult noticed(const EventId& id, AppendResult result) {
    notifier_->appended(id, result);
    return result;
  }

  std::shared_ptr<Appender> inner_;
  std::shared_ptr<Notifier> notifier_;
};

class NoticedReader final : public LogReader {
 public:
  NoticedReader(std::unique_ptr<LogReader> inner, std::shared_ptr<Notifier> notifier) : inner_(std::move(inner)), notifier_(std::move(notifier)) {}
  Result<std::span<StoredMessage>> read(std::size_t most, Duration wait) override {
    auto messages = inner_->read(most, wait);
    if (messages)
      for (const StoredMessage& message : *messages) notifier_->read(message);
    return messages;
  }
  void heard_head(Sequence head) override { inner_->heard_head(head); }

 private:
  std::unique_ptr<LogReader> inner_;
  std::shared_ptr<Notifier> notifier_;
};

}  // namespace

Notifier::Notifier(std::vector<NotifySpec> specs, std::string cluster) : specs_(std::move(specs)), cluster_(std::move(cluster)) {
  if (!specs_.empty()) thread_ = std::thread([this] { run(); });
}

Notifier::~Notifier() {
  queue_.close();
  if (thread_.joinable()) thread_.join();
}

void Notifier::appending(const std::string& subject, const std::string& payload, const EventId& id) {
  if (specs_.empty()) return;
  const std::lock_guard lock(mutex_);
  if (open_.size() >= kOpen) open_.erase(open_.begin());
  open_.push_back({subject, payload, id});
}

void Notifier::appended(const EventId& id, const AppendResult& result) {
  if (result.outcome == AppendResult::Outcome::kUnknown) return;
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(open_, id, &Open::id);
  if (at == open_.end()) return;  // read from the log before the answer came
  if (result.outcome == AppendResult::Outcome::kStored) stored(*at, result.sequence);
  open_.erase(at);
}

void Notifier::read(const StoredMessage& message) {
  if (specs_.empty()) return;
  const std::lock_guard lock(mutex_);
  // The bytes hold the event's id, so equal bytes are the same event.
  const auto at = std::ranges::find_if(open_, [&](const Open& o) { return o.subject == message.subject && o.payload == message.payload; });
  if (at == open_.end()) return;
  stored(*at, message.sequence);
  open_.erase(at);
}

void Notifier::stored(const Open& open, Sequence sequence) {
  const auto event = decode_event({.sequence = sequence, .stored_ns = 0, .subject = open.subject, .payload = open.payload});
  if (!event) return;  // our own bytes
  const std::string name = payload_name(event->event.payload);
  const bool wanted = std::ranges::any_of(specs_, [&](const NotifySpec& s) { return std::ranges::find(s.on, name) != s.on.end(); });
  if (!wanted || queue_.push(*event)) return;
  failures_["queue"] = {node_now(), "notify: event " + std::to_string(sequence.value) + " (" + name + ") was told to nobody: " + std::to_string(kQueue) + " others wait"};
}

void Notifier::run() {
  while (true) {
    const auto event = queue_.pop(std::chrono::seconds(1));
    if (!event && queue_.closed()) return;
    if (!event) continue;
    const std::string name = payload_name(event->event.payload);
    for (const NotifySpec& spec : specs_)
      if (std::ranges::find(spec.on, name) != spec.on.end()) tell(spec, *event);
  }
}

void Notifier::tell(const NotifySpec& spec, const LogEvent& event) {
  const EventHeader& h = event.event.header;
  const std::string name = payload_name(event.event.payload), sequence = std::to_string(event.sequence.value), epoch = std::to_string(h.epoch.value);
  const std::string about = !h.resource.empty() ? h.resource.value + " epoch " + epoch : h.aggregate.kind == "member" ? h.aggregate.name : "the cluster";
  const std::string summary = summary_of(event.event.payload);
  const std::string line = one_line(cluster_ + ": " + name + " " + about + (summary.empty() ? "" : ": " + summary) + " (" + h.reason + "), event " + sequence + " by " + h.actor);
  const HookRun run{.exec = spec.exec, .argument = line, .limit = kLimit,
                    .environment = {"DAARION_EVENT=" + name, "DAARION_SEQUENCE=" + sequence, "DAARION_RESOURCE=" + h.resource.value, "DAARION_EPOCH=" + epoch,
                                    "DAARION_NODE=" + h.node.value, "DAARION_REASON=" + one_line(h.reason), "DAARION_ACTOR=" + one_line(h.actor),
                                    "DAARION_CLUSTER=" + cluster_}};
  const auto ran = run_hook(run);
  if (!ran) spdlog::warn("notify of event {}: {}", sequence, ran.error().message);
  const std::lock_guard lock(mutex_);
  if (ran) failures_.erase(spec.exec);
  else failures_[spec.exec] = {node_now(), "notify of event " + sequence + " (" + name + "): " + ran.error().message};
}

std::vector<std::string> Notifier::warnings() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [exec, failure] : failures_)
    if (node_now() - failure.at < kRemembered) out.push_back(failure.text);
  return out;
}

std::shared_ptr<Appender> noticed(std::shared_ptr<Appender> appender, std::shared_ptr<Notifier> notifier) {
  return std::make_shared<NoticedAppender>(std::move(appender), std::move(notifier));
}

std::unique_ptr<LogReader> noticed(std::unique_ptr<LogReader> reader, std::shared_ptr<Notifier> notifier) {
  return std::make_unique<NoticedReader>(std::move(reader), std::move(notifier));
}

}  // namespace daarion
