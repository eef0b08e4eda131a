#include "tests/lease/stub_node.h"

#include <algorithm>
#include <filesystem>

#include "controlplane/node/clock.h"
#include "controlplane/node/ids.h"
#include "streams/log_stream.h"
#include "streams/meta_leader.h"
#include "streams/nats_appender.h"
#include "streams/nats_beat_link.h"
#include "streams/nats_log_reader.h"

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const ResourceId kStub("stub");
constexpr Duration kWriteEvery = milliseconds(2);
constexpr Duration kLimit = seconds(2);
constexpr Duration kMetaLimit = milliseconds(300);  // a daemon that ends waits for this call, and must end well within a lease

bool follows(const StubWorld::Data& replica, const StubWorld::Data& primary) {
  // The replica's history is a prefix of the primary's, and it did not go past the fork.
  for (std::size_t i = 0; i < replica.history.size(); ++i)
    if (i >= primary.history.size() || !(replica.history[i] == primary.history[i])) return false;
  const bool forked = primary.history.size() > replica.history.size();
  return replica.position.identity == primary.position.identity &&
         (!forked || replica.position.lsn <= primary.history[replica.history.size()].lsn);
}

}  // namespace

StubWorld::StubWorld() : writer_([this] { write(); }) {}
StubWorld::~StubWorld() {
  closed_ = true;
  writer_.join();
}

void StubWorld::write() {
  while (!closed_) {
    {
      const std::lock_guard lock(mutex);
      const Instant now = node_now();
      for (auto& [node, d] : data) {
        if (!d.running || !d.primary) continue;
        d.position.lsn.value += 100;
        if (spans_.empty() || spans_.back().node != node || spans_.back().epoch != d.epoch) spans_.push_back({node, d.epoch, now, now});
        spans_.back().last = now;
        writes_.push_back(now);
      }
      for (auto& [node, d] : data) {
        d.streaming = false;
        if (!d.running || d.primary) continue;
        const auto up = data.find(d.upstream);
        if (up == data.end() || !up->second.running || !up->second.primary) continue;
        d.diverged = !follows(d, up->second);
        if (d.diverged) continue;
        d.streaming = true;
        d.position = up->second.position;
        d.history = up->second.history;
        d.inherit(up->second, d.upstream);
      }
    }
    std::this_thread::sleep_for(kWriteEvery);
  }
}

std::vector<WritableSpan> StubWorld::spans() {
  const std::lock_guard lock(mutex);
  return spans_;
}
Instant StubWorld::first_write_after(const NodeId& node, Instant from) {
  const std::lock_guard lock(mutex);
  for (const WritableSpan& s : spans_)
    if (s.node == node && s.first > from) return s.first;
  return kNever;
}
Instant StubWorld::last_write(const NodeId& node) {
  const std::lock_guard lock(mutex);
  Instant last{};
  for (const WritableSpan& s : spans_)
    if (s.node == node) last = std::max(last, s.last);
  return last;
}
Duration StubWorld::longest_gap(Instant from, Instant to) {
  const std::lock_guard lock(mutex);
  Duration longest{};
  Instant before = from;
  for (const Instant at : writes_) {
    if (at <= from || at > to) continue;
    longest = std::max(longest, at - before);
    before = at;
  }
  return std::max(longest, to - before);
}
bool StubWorld::overlapped() {
  const std::lock_guard lock(mutex);
  for (const WritableSpan& a : spans_)
    for (const WritableSpan& b : spans_)
      if (a.node != b.node && a.first <= b.last && b.first <= a.last) return true;
  return false;
}

/// The guard's rules in memory: sessions, deadline, fence. It outlives its daemon, as the process does.
class StubGuard {
 public:
  StubGuard(StubWorld& world, NodeId self) : world_(world), self_(std::move(self)), next_(random_id<SessionId>()), watcher_([this] { watch(); }) {}
  ~StubGuard() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    news_.notify_all();
    watcher_.join();
  }

  void connect(GuardClient::OnReport on_report) {
    const std::lock_guard lock(mutex_);
    on_report_ = std::move(on_report);
    report();
  }
  void disconnect() {
    const std::lock_guard lock(mutex_);
    on_report_ = nullptr;
  }

  void command(const GuardCommand& c) {
    const std::lock_guard lock(mutex_);
    if (c.kind == GuardCommand::Kind::kArm) {
      if (c.deadline <= node_now()) return;
      if (taken_ && taken_->session == c.session) {
        taken_->deadline = c.deadline;
        taken_->epoch = c.epoch;
        const std::lock_guard data(world_.mutex);
        if (world_.data[self_].primary) world_.data[self_].epoch = c.epoch;
      } else if (!taken_ && next_ == c.session) {
        taken_ = TakenSession{c.session, c.epoch, c.deadline};
        next_ = random_id<SessionId>();
      } else {
        return;
      }
      news_.notify_all();
    } else if (c.kind == GuardCommand::Kind::kRetire) {
      if (taken_ && taken_->session == c.session)
        end(stop_engine() ? EndCause::kFenced : EndCause::kReleased);
      else if (next_ == c.session)
        ended_.push_back({std::exchange(next_, random_id<SessionId>()), EndCause::kReleased});
    } else if (!taken_) {
      stop_engine();
    }
    report();
  }

  bool start_engine() {
    const std::lock_guard lock(mutex_);
    const std::lock_guard data(world_.mutex);
    StubWorld::Data& d = world_.data[self_];
    if (d.running) return false;
    d.running = true;
    d.primary = false;
    ++incarnation_;
    report_running(true);
    return true;
  }
  void announced_stop() {
    const std::lock_guard lock(mutex_);
    stop_engine();
    report();
  }
  void crash_engine() {
    const std::lock_guard lock(mutex_);
    stop_engine();
    if (taken_) end(EndCause::kCrashed);
    report();
  }
  bool promote(const DriverCommand& command, Position& at) {
    const std::lock_guard lock(mutex_);
    const std::lock_guard data(world_.mutex);
    StubWorld::Data& d = world_.data[self_];
    if (!d.running || d.primary || !taken_ || taken_->session != command.session) return false;
    d.primary = true;
    d.upstream = {};
    d.epoch = command.epoch;
    d.opened = command.session;
    d.opened_epoch = command.epoch;
    ++d.position.timeline;
    d.history.push_back({d.position.timeline, d.position.lsn});
    at = d.position;
    return true;
  }
  std::uint64_t incarnation() const { return incarnation_; }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!closed_) {
      if (taken_ && taken_->deadline <= node_now()) {
        stop_engine();
        end(EndCause::kFenced);
        report();
      }
      const Duration wait = taken_ && taken_->deadline != kNever ? std::clamp<Duration>(taken_->deadline - node_now(), Duration{}, seconds(1)) : Duration(seconds(1));
      news_.wait_for(lock, wait);
    }
  }
  bool stop_engine() {
    const std::lock_guard data(world_.mutex);
    StubWorld::Data& d = world_.data[self_];
    const bool ran = d.running;
    d.running = d.primary = d.streaming = false;
    return ran;
  }
  void end(EndCause cause) {
    ended_.push_back({taken_->session, cause});
    taken_.reset();
  }
  void report() {
    bool running;
    {
      const std::lock_guard data(world_.mutex);
      running = world_.data[self_].running;
    }
    report_running(running);
  }
  void report_running(bool running) {
    if (!on_report_) return;
    on_report_({.resource = kStub, .connected = true, .next = next_, .taken = taken_, .ended = ended_, .incarnation = incarnation_,
                .engine_running = running, .fencing = false});
  }

  StubWorld& world_;
  NodeId self_;
  std::mutex mutex_;
  std::condition_variable news_;
  GuardClient::OnReport on_report_;
  SessionId next_;
  std::optional<TakenSession> taken_;
  std::vector<SessionEnd> ended_;
  std::atomic<std::uint64_t> incarnation_ = 0;
  bool closed_ = false;
  std::thread watcher_;
};

namespace {

class StubClient final : public GuardClient {
 public:
  StubClient(std::shared_ptr<StubGuard> guard, OnReport on_report) : guard_(std::move(guard)) { guard_->connect(std::move(on_report)); }
  ~StubClient() override { guard_->disconnect(); }
  void send(const GuardCommand& command) override { guard_->command(command); }
  void end() override { guard_->announced_stop(); }
  Result<std::uint64_t> start(const EngineCommand&) override {
    if (!guard_->start_engine()) return fail(Remedy::kRetry, "start the stub: it runs");
    return guard_->incarnation();
  }
  Result<void> stop(int) override {
    guard_->announced_stop();
    return {};
  }
  Result<void> wait_empty(Duration) override { return {}; }
  std::uint64_t incarnation() const override { return guard_->incarnation(); }
  bool running() const override { return true; }
  StubGuard& guard() { return *guard_; }

 private:
  std::shared_ptr<StubGuard> guard_;
};

class StubDriver final : public Driver {
 public:
  StubDriver(StubWorld& world, NodeId self, EngineHost& host) : world_(world), self_(std::move(self)), host_(host), guard_(static_cast<StubClient&>(host).guard()) {}

  EngineReport observe() override {
    const std::lock_guard lock(world_.mutex);
    const StubWorld::Data& d = world_.data[self_];
    EngineReport r;
    r.state = !d.exists ? EngineState::kEmpty : !d.running ? EngineState::kStopped : d.primary ? EngineState::kPrimary : EngineState::kStandby;
    r.position = d.position;
    r.timeline_start = d.history.empty() ? Lsn{} : d.history.back().lsn;
    d.show(r);
    r.replayed = d.position.lsn;
    r.upstream = d.upstream;
    r.streaming = d.streaming;
    r.diverged = d.diverged;
    return r;
  }

  DriverResult run(const DriverCommand& c) override {
    DriverResult result{.op = c.op, .resource = kStub, .verb = c.verb, .ok = true};
    const auto failed = [&](const char* why) { result.ok = false, result.message = why; };
    if (c.verb == Verb::kPromote) {
      if (!guard_.promote(c, result.position)) failed("not a standby under this session");
      return result;
    }
    if (c.verb == Verb::kStop) {
      {
        const std::lock_guard lock(world_.mutex);
        StubWorld::Data& mine = world_.data[self_];
        for (auto& [node, d] : world_.data)  // a clean stop sends everything to who streams
          if (mine.primary && d.running && !d.primary && d.streaming && d.upstream == self_) d.position = mine.position;
        mine.primary = false;
        result.position = mine.position;
      }
      (void)host_.stop(2);
      return result;
    }
    bool start = c.verb == Verb::kStart;
    {
      const std::lock_guard lock(world_.mutex);
      StubWorld::Data& mine = world_.data[self_];
      const auto up = world_.data.find(c.upstream);
      const bool reachable = up != world_.data.end() && up->second.running && up->second.primary;
      if (c.verb == Verb::kFollow) {
        mine.upstream = c.upstream;
        if (reachable && !follows(mine, up->second)) result.diverged = true, failed("its history is not the upstream's");
        start = result.ok && !mine.running;
      } else if (c.verb == Verb::kProvision && c.upstream.empty()) {
        mine = {.exists = true, .position = {1, Lsn{1000}, "stub"}};
      } else if (c.verb == Verb::kProvision || c.verb == Verb::kRejoin) {
        if (!reachable) return failed("the upstream does not answer"), result;
        mine = {.exists = true, .position = up->second.position, .history = up->second.history};
        mine.inherit(up->second, c.upstream);
        mine.upstream = c.upstream;
        result.method = c.verb == Verb::kRejoin ? "rewind" : "copy";
        result.position = mine.position;
      }
    }
    if (c.verb == Verb::kRejoin) guard_.announced_stop();
    if (start && !host_.start({})) failed("it runs already");
    return result;
  }

 private:
  StubWorld& world_;
  NodeId self_;
  EngineHost& host_;
  StubGuard& guard_;
};

}  // namespace

StubNode::StubNode(StubWorld& world, const NatsServers& servers, TopologySpec spec, NodeId self, int index, std::string folder)
    : world_(world), servers_(servers), spec_(std::move(spec)), self_(std::move(self)), index_(index), folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  boot();
}
StubNode::~StubNode() { stop_daemon(); }

void StubNode::boot() { guard_ = std::make_shared<StubGuard>(world_, self_); }

void StubNode::start() {
  auto record = RecordFile::open(folder_ + "/voter.json");
  if (!record) throw std::runtime_error(record.error().message);
  const VoterRecord voter = record->read().value();
  const auto connection = [&](int first, const char* what) {
    const int n = servers_.size();
    return Connection::open(servers_.endpoint({(index_ + first) % n, (index_ + first + 1) % n, (index_ + first + 2) % n}, self_.value + what)).value();
  };
  const auto sys = Connection::open(servers_.endpoint({index_, (index_ + 1) % servers_.size(), (index_ + 2) % servers_.size()}, self_.value + "-sys",
                                                      NatsServers::Account::kSys)).value();
  const auto a = connection(0, "-a"), b = connection(1, "-b"), control = connection(0, "-log");
  const bool has_engine = spec_.resource(kStub)->has_member(self_);
  NodeConfig config{.identity = {.self = self_, .run = random_id<RunId>(), .boot = boot_id(), .instance = voter.instance, .role = spec_.node(self_)->role,
                                 .address = spec_.node(self_)->address, .region = {}, .software = "test", .fresh_log = random_id<LogId>(), .topology_hash = "t"},
                    .spec = spec_, .record = voter, .uptime = node_uptime()};
  DaemonPorts ports;
  ports.beats = [a, b, self = self_](const auto& handlers, const auto&) { return make_nats_beat_link({a, b}, self, handlers("nats")); };
  ports.appender = make_nats_appender(control);
  ports.reader = [a, b](Sequence from) -> Result<std::unique_ptr<LogReader>> { return make_nats_log_reader({a, b}, kClusterLog, from); };
  ports.info = make_nats_log_info(control);
  ports.provision = [control] { return provision_core_streams(*control, 3, kLimit); };
  ports.leaders = [control, sys] {
    return LeadersSeen{.log = NodeId(stream_leader(*control, kClusterLog, kLimit)), .meta = NodeId(meta_leader(*sys, kMetaLimit))};
  };
  ports.step_down = [control, sys](bool meta) {
    if (meta)
      (void)step_down_meta_leader(*sys, kLimit);
    else
      (void)step_down_stream_leader(*control, kClusterLog, kLimit);
  };
  ports.state_folder = folder_ + "/state";
  if (has_engine)
    ports.engines.push_back({kStub,
                             [this](GuardClient::OnReport on_report) -> Result<std::unique_ptr<GuardClient>> {
                               return std::make_unique<StubClient>(guard_, std::move(on_report));
                             },
                             [this](EngineHost& host) { return std::make_unique<StubDriver>(world_, self_, host); }});
  daemon_ = std::make_unique<Daemon>(std::move(config), std::move(*record), std::move(ports));
  daemon_->watch([this](const NodeCore& core, Instant) {
    const std::lock_guard lock(mutex_);
    state_ = core.state_ptr();
    waits_ = core.waits();
  });
  daemon_->start();
}

void StubNode::stop_daemon() { daemon_.reset(); }
void StubNode::lose_host() {
  {
    const std::lock_guard lock(world_.mutex);  // the power goes: nothing runs on
    StubWorld::Data& d = world_.data[self_];
    d.running = d.primary = d.streaming = false;
  }
  stop_daemon();
  guard_.reset();
}
void StubNode::crash_engine() { guard_->crash_engine(); }
bool StubNode::stop_gracefully(Duration limit) {
  daemon_->request_stop();
  const bool done = daemon_->wait_stopped(limit);
  stop_daemon();
  return done;
}
std::shared_ptr<const State> StubNode::state() const {
  const std::lock_guard lock(mutex_);
  return state_ ? state_ : std::make_shared<const State>();
}

std::string StubNode::waits() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const Wait& wait : waits_) out += "\n  " + self_.value + " waits for " + wait.what;
  return out;
}

}  // namespace daarion::test
