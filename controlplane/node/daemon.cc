#include "controlplane/node/daemon.h"

#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <utility>

#include "controlplane/core/check.h"
#include "controlplane/core/override.h"
#include "controlplane/node/clock.h"
#include "controlplane/node/make_event.h"
#include "controlplane/node/log_judge.h"
#include "controlplane/node/priority.h"
#include "streams/codec.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Inputs waiting for the protocol thread. It needs some 50 us each: a queue this long means it has stood still for seconds, and
// the guards are fencing.
constexpr std::size_t kInboxBound = 1 << 16;
constexpr std::size_t kQueueBound = 1024;
// Aggregates that may wait for a stream quorum at once. Few move at the same time; more threads would only queue at the server.
constexpr int kAppenders = 4;
// Longer than an append without a fault (2 ms), shorter than a stream election (4 to 9 s): the core then looks again and decides.
constexpr Duration kAppendLimit = seconds(2);
constexpr Duration kObserveEvery = milliseconds(250);
constexpr Duration kInfoEvery = seconds(1);
constexpr Duration kInfoLimit = seconds(2);
constexpr Duration kHandOverAgain = seconds(10);   // an election takes as long
// Both bound the tail that a restart folds again; the second is about a second of catch-up.
constexpr Duration kFlushEvery = seconds(60);
constexpr Duration kFlushAgain = seconds(5);  // after one that had no room
constexpr std::uint64_t kFlushEvents = 50'000;
// A log that lost events is suspected so soon after its first answer, and believed to have lost them a beat later.
constexpr Duration kJudgeEvery = milliseconds(200);
constexpr Duration kJudgeStep = milliseconds(50);  // between looks while something is missing; how soon the thread ends
constexpr Duration kJudgeLimit = milliseconds(500);
constexpr int kTendEvery = 5;                      // looks at the log for one at an edge's mirrors
constexpr Duration kWatchEvery = milliseconds(200);
constexpr Duration kTryAgain = seconds(1);
constexpr std::size_t kBatch = 4096;  // messages folded as one batch in catch-up
constexpr std::size_t kMaxWarnings = 32;

void raise_priority() {
  sched_param low{.sched_priority = 10};
  if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &low) != 0)
    spdlog::info("protocol thread stays at ordinary priority: SCHED_FIFO is not allowed here");
  if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) spdlog::info("memory is not locked: mlockall is not allowed here");
}

}  // namespace

Daemon::Daemon(NodeConfig config, RecordFile record, DaemonPorts ports)
    : config_(std::move(config)), record_(std::move(record)), ports_(std::move(ports)), inbox_(kInboxBound), records_(kQueueBound),
      appends_(kQueueBound), step_downs_(kQueueBound), heads_(kQueueBound), stopped_(4) {}

Daemon::~Daemon() {
  ending_ = true;
  inbox_.close();
  records_.close();
  appends_.close();
  step_downs_.close();
  heads_.close();
  for (auto& [resource, seat] : seats_) seat->commands.close();
  for (std::thread& t : threads_) t.join();
  for (auto& [resource, seat] : seats_)
    if (seat->thread.joinable()) seat->thread.join();
  beats_.reset();
}

void Daemon::start() {
  for (EngineSeat& spec : ports_.engines) {
    auto seat = std::make_unique<Seat>();
    seat->spec = std::move(spec);
    seats_[seat->spec.resource] = std::move(seat);
  }
  const auto handlers = [this](const std::string& via) {
    return BeatLink::Handlers{.beat = [this, via](Beat b) { inbox_.push(BeatHeard{std::move(b), via}); },
                              .ack = [this](Ack a) { inbox_.push(AckHeard{std::move(a)}); },
                              .vote = [this](Vote v) { inbox_.push(VoteHeard{std::move(v)}); }};
  };
  {
    const PreferredChildren beats;
    beats_ = ports_.beats(handlers, [this](std::string text) { warn(std::move(text)); });
  }
  threads_.emplace_back([this] { run_record(); });
  threads_.emplace_back([this] { run_protocol(); });
  for (auto& [resource, seat] : seats_) seat->thread = std::thread([this, s = seat.get()] { run_driver(*s); });
  threads_.emplace_back([this] { run_fold(); });
  threads_.emplace_back([this] { run_judge(); });
  for (int i = 0; i < kAppenders; ++i) threads_.emplace_back([this] { run_append(); });
  threads_.emplace_back([this] { run_info(); });
}

void Daemon::post(Input input) {
  if (!inbox_.push(std::move(input))) DAARION_CHECK(ending_, "the protocol thread takes its inputs");  // a result lost here would never be asked for again
}

void Daemon::request_stop() { post(StopRequested{}); }

bool Daemon::wait_stopped(Duration limit) { return stopped_.pop(limit).has_value(); }

void Daemon::end_guards() {
  for (auto& [resource, seat] : seats_)
    if (GuardClient* guard = seat->reachable.load()) guard->end();
}

void Daemon::warn(std::string text) {
  spdlog::warn("{}", text);
  const std::lock_guard lock(warnings_mutex_);
  if (std::find(warnings_.begin(), warnings_.end(), text) != warnings_.end()) return;
  if (warnings_.size() >= kMaxWarnings) warnings_.erase(warnings_.begin());
  warnings_.push_back(std::move(text));
}

std::vector<std::string> Daemon::warnings() const {
  const std::lock_guard lock(warnings_mutex_);
  return warnings_;
}

void Daemon::run_protocol() {
  raise_priority();
  NodeCore core(config_, node_now());
  Instant watched{};
  Sequence head;
  while (!ending_) {
    const Duration wait = std::max(Duration{}, core.next_timer() - node_now());
    std::optional<Input> input = inbox_.pop(wait);
    const Instant now = node_now();
    for (Output& output : core.step(input ? *input : Input(TimerFired{}), now)) perform(std::move(output));
    const Sequence heard = core.peers().head(core.state().log);
    if (heard > head) heads_.push(heard);
    head = heard;  // it goes back with a log that lost events
    if (watch_ && now >= watched + kWatchEvery) {
      watched = now;
      watch_(core, now);
    }
  }
}

void Daemon::perform(Output output) {
  std::visit(
      [&](auto& out) {
        using T = std::decay_t<decltype(out)>;
        if constexpr (std::is_same_v<T, WriteRecord>) {
          DAARION_CHECK(records_.push(std::move(out)) || ending_, "the record thread takes its records");
        } else if constexpr (std::is_same_v<T, SendBeat>) {
          beats_->send(out.beat);
        } else if constexpr (std::is_same_v<T, SendAck>) {
          beats_->send(out.ack);
        } else if constexpr (std::is_same_v<T, SendVote>) {
          beats_->send(out.vote);
        } else if constexpr (std::is_same_v<T, Guard>) {
          const auto seat = seats_.find(out.command.resource);
          GuardClient* guard = seat == seats_.end() ? nullptr : seat->second->reachable.load();
          if (guard != nullptr) guard->send(out.command);
        } else if constexpr (std::is_same_v<T, Drive>) {
          const auto seat = seats_.find(out.command.resource);
          // A verb that cannot wait is answered at once: the core would otherwise wait for it for ever.
          if (seat != seats_.end() && !seat->second->commands.push(out.command) && out.command.verb != Verb::kObserve)
            inbox_.push(DriverDone{{.op = out.command.op, .resource = out.command.resource, .verb = out.command.verb, .ok = false,
                                    .message = "the driver is busy with " + std::to_string(kDriverQueue) + " other things"}});
        } else if constexpr (std::is_same_v<T, Append>) {
          const AppendRequest request = out.request;
          if (!appends_.push(std::move(out.request)))
            inbox_.push(AppendDone{{.id = request.id, .outcome = AppendResult::Outcome::kUnknown, .sequence = {}}});
        } else if constexpr (std::is_same_v<T, Report>) {
          if (!ports_.telemetry) return;
          ports_.telemetry(telemetry_subject(out.payload, out.resource), encode_event(event_of(out, config_.identity.self)));
        } else if constexpr (std::is_same_v<T, StepDown>) {
          step_downs_.push(out);
        } else {
          stopped_.push(true);
        }
      },
      output);
}

void Daemon::run_record() {
  prefer_this_thread();
  while (!ending_) {
    auto item = records_.pop(seconds(1));
    if (!item) continue;
    // A voter that cannot write its record must not ack: without RecordWritten the core stays silent. Try until it works.
    while (!ending_) {
      const auto written = record_.write(item->record);
      if (written) {
        post(RecordWritten{item->generation});
        break;
      }
      warn("the voter's record cannot be written, this voter is silent: " + written.error().message);
      std::this_thread::sleep_for(kTryAgain);
    }
  }
}

void Daemon::run_append() {
  prefer_this_thread();
  while (!ending_) {
    const auto request = appends_.pop(seconds(1));
    if (!request) continue;
    post(AppendDone{append(*ports_.appender, *request, config_.identity.self, kAppendLimit)});
  }
}

void Daemon::run_info() {
  bool provisioned = !ports_.provision;
  NodeId leads;  // the log, when it was looked at last
  while (!ending_) {
    if (!provisioned) {
      const auto done = ports_.provision();
      provisioned = done.has_value();
      if (!done) spdlog::info("streams are not in place yet: {}", done.error().message);
    }
    if (provisioned) {
      ask_head();
      if (ports_.leaders) {
        const LeadersSeen seen = ports_.leaders();
        log_led_here_ = seen.log == config_.identity.self;
        if (std::exchange(leads, seen.log) != seen.log) ++log_leaders_;
        post(seen);
      }
    }
    if (const auto wish = step_downs_.pop(kInfoEvery); wish && ports_.step_down) {
      spdlog::info("asking the {} leader to step down", wish->meta ? "meta" : "log");
      ports_.step_down(wish->meta);
    }
  }
}

/// Everything waits for the log while it is not there: why it is not must be in the daemon's own log.
void Daemon::ask_head() {
  const Instant asked = node_now();
  auto head = ports_.info->head(kInfoLimit);
  std::string said = !head ? head.error().message : head->exists ? "it is there" : "there is no such stream";
  if (said != head_said_) spdlog::info("the log: {}", said);
  head_said_ = std::move(said);
  // By the daemon beside who leads alone: a second word would hit the next leader.
  if (!head && head.error().remedy == Remedy::kStepDown && log_led_here_ && ports_.step_down && asked >= head_handed_over_ + kHandOverAgain) {
    head_handed_over_ = asked;
    ports_.step_down(false);
  }
  if (!head) return;
  head->asked = asked;
  post(*head);
}

/// Null: this daemon ends.
std::unique_ptr<StateStore> Daemon::open_store() {
  while (!ending_) {
    auto opened = StateStore::open(ports_.state_folder);
    if (opened) return std::move(*opened);
    warn("the state store does not open: " + opened.error().message);
    std::this_thread::sleep_for(kTryAgain);
  }
  return nullptr;
}

void Daemon::run_fold() {
  prefer_this_thread();
  std::unique_ptr<StateStore> store = open_store();
  if (!store) return;
  if (!store->rebuilt().empty()) warn(store->rebuilt());
  publish_state(*store);
  publish_heads(*store);
  while (!ending_) {
    if (refold_) {
      store.reset();
      const auto aside = StateStore::set_aside(ports_.state_folder);
      if (!aside) warn(aside.error().message + "; the log lost events, and this node cannot fold it anew");
      else spdlog::warn("folding the log anew; the state of before is in {}", *aside);
      if (!(store = open_store())) return;
      anew_ = true;
      publish_heads(*store);
      refold_ = false;
    }
    if (const auto followed = follow_log(*store); !followed) {
      warn("the log is not followed: " + followed.error().message);
      std::this_thread::sleep_for(kTryAgain);
    }
  }
  if (const auto flushed = store->flush(); !flushed) warn(flushed.error().message);
}

void Daemon::publish_state(const StateStore& store, bool anew) {
  const auto state = std::make_shared<const State>(store.state());
  post(StateMoved{state, store.mark(), anew});
  if (ports_.folded) ports_.folded(state);
}

/// For the judge.
void Daemon::publish_heads(const StateStore& store) {
  auto heads = std::make_shared<const EventHeads>(store.heads());
  const std::lock_guard lock(folded_mutex_);
  folded_heads_ = std::move(heads);
  folded_log_ = root_of(store.state().log);
}

/// The core goes on with the state of before until the new one has come to the log's end. Returns whether it has.
/// The new fold is also the proof of what was lost: a leader that had just been elected may not have known its newest events yet.
bool Daemon::tell_anew(const StateStore& store) {
  const auto head = ports_.info->head(kInfoLimit);
  if (!head || !head->exists || store.mark().sequence < head->head) return false;
  LogLost lost;
  EventId newest;
  {
    const std::lock_guard lock(folded_mutex_);
    lost = lost_;
    newest = lost_newest_;
  }
  const auto same = std::ranges::find(store.heads(), lost.folded, &EventHead::sequence);
  const bool there = same != store.heads().end() && same->id == newest;
  spdlog::warn("folded anew to {}: {}", store.mark().sequence.value, there ? "nothing was lost" : "the events named before are lost");
  if (!there) post(lost);
  {
    const std::lock_guard lock(folded_mutex_);
    lost_ = {};
  }
  publish_state(store, true);
  return true;
}

/// Reads and folds until the end of this daemon, an error, or word that the log lost what was folded.
Result<void> Daemon::follow_log(StateStore& store) {
  auto reader = ports_.reader(Sequence{store.mark().sequence.value + 1});
  if (!reader) return tl::unexpected(reader.error());
  Instant flushed = node_now();
  std::uint64_t flushed_at = store.mark().sequence.value;
  while (!ending_ && !refold_) {
    while (const auto head = heads_.pop({})) (*reader)->heard_head(*head);
    const auto messages = (*reader)->read(kBatch, milliseconds(20));
    if (!messages) return tl::unexpected(messages.error());
    if (messages->empty() && anew_) anew_ = !tell_anew(store);
    if (!messages->empty()) {
      const auto applied = store.apply(*messages);
      publish_heads(store);
      if (!anew_) publish_state(store);
      if (!applied) return applied;
    }
    if (node_now() > flushed + kFlushEvery || store.mark().sequence.value >= flushed_at + kFlushEvents) {
      flushed = node_now();
      flushed_at = store.mark().sequence.value;
      if (const auto done = store.flush(); !done) {
        warn(done.error().message);
        flushed -= kFlushEvery - kFlushAgain;
      }
    }
  }
  return {};
}

void Daemon::run_judge() {
  LogJudge judge(config_.spec.lease.beat);
  std::uint64_t leaders = 0;
  for (int looks = 0; !ending_; ++looks) {
    for (Duration slept{}; slept < (judge.doubts() ? kJudgeStep : kJudgeEvery) && !ending_; slept += kJudgeStep) std::this_thread::sleep_for(kJudgeStep);
    if (ports_.tend_mirrors && looks % kTendEvery == 0) ports_.tend_mirrors();
    if (refold_) continue;
    std::shared_ptr<const EventHeads> heads;
    LogId log;
    {
      const std::lock_guard lock(folded_mutex_);
      heads = folded_heads_;
      log = folded_log_;
    }
    if (!heads) continue;
    if (const std::uint64_t now = log_leaders_; std::exchange(leaders, now) != now) judge.look_again();
    const auto look = [&](const EventHead& head) { return ports_.info->look(head, kJudgeLimit); };
    const auto lost = judge.judge(log, *heads, look, node_now());
    if (!lost) {
      if (ports_.tend_replicas && !judge.doubts() && looks % kTendEvery == 0) ports_.tend_replicas(*heads, log_led_here_);
      continue;
    }
    spdlog::warn("the log does not have what was folded here, after {} up to {}:\n{}", lost->head.value, lost->folded.value, lost->known);
    if (ports_.log_lost) ports_.log_lost(Sequence{lost->head.value + 1});
    post(LogLost{.log = log, .folded = {}, .head = {}, .known = {}});
    {
      const std::lock_guard lock(folded_mutex_);
      lost_ = lost_.folded.value != 0 ? joined(lost_, *lost) : *lost;
      if (lost_.folded == lost->folded) lost_newest_ = std::ranges::find(*heads, lost->folded, &EventHead::sequence)->id;
    }
    refold_ = true;
  }
}

void Daemon::run_driver(Seat& seat) {
  prefer_this_thread();
  while (!ending_ && !seat.guard) {
    auto guard = seat.spec.guard([this](const GuardReport& report) { post(GuardChanged{report}); });
    if (guard) {
      seat.guard = std::move(*guard);
      seat.reachable = seat.guard.get();
    } else {
      warn("the guard of " + seat.spec.resource.value + " does not start: " + guard.error().message);
      std::this_thread::sleep_for(kTryAgain);
    }
  }
  if (!seat.guard) return;
  const std::unique_ptr<Driver> driver = seat.spec.driver(*seat.guard);
  std::uint64_t newest_op = 0;
  while (!ending_) {
    const auto command = seat.commands.pop(kObserveEvery);
    if (command) newest_op = command->op;
    if (command && command->verb != Verb::kObserve) {
      DriverResult result = driver->run(*command);
      result.op = command->op;
      result.resource = seat.spec.resource;
      result.verb = command->verb;
      if (!result.ok) spdlog::warn("{}: {}", seat.spec.resource.value, result.message);
      post(DriverDone{result});
    }
    const std::uint64_t incarnation = seat.guard->incarnation();
    const Instant before = node_now();
    EngineReport report = driver->observe();
    if (seat.guard->incarnation() != incarnation) continue;  // another engine by now
    report.resource = seat.spec.resource;
    report.incarnation = incarnation;
    report.looked = newest_op;
    post(EngineObserved{report, before});
  }
}

}  // namespace daarion
