#include "tests/routing/route_rig.h"

#include "streams/js_request.h"
#include "streams/route_streams.h"

namespace daarion::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kPace(4);         // between a publisher's messages: it is the faults that are tested, not the rate
constexpr milliseconds kTry(2500);       // one try's wait for an ack
constexpr milliseconds kAgain(50);
constexpr std::int64_t kReadWaitMs = 2000;

RoutePlan plan_for(const NatsServers& servers) { return plan_routes(servers.file().spec); }

}  // namespace

std::vector<RouteRule> users_rules() {
  constexpr std::uint64_t kDay = 86'400, kMiB = 1 << 20;
  return {{.name = "message", .subjects = {"message.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB},
          {.name = "attachment", .subjects = {"attachment.*"}, .max_age_s = 30 * kDay, .max_bytes = 256 * kMiB},
          {.name = "agent_run", .subjects = {"agent.run.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB, .consumers = {{"runner", "agent.run.requested.*"}}},
          {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
          {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
}

RouteRig::RouteRig() : servers({.size = 3, .edge = true, .routes = users_rules()}), plan(plan_for(servers)) {
  core = connect(servers, {0, 1, 2}, NatsServers::Account::kRoutes);
  edge = connect(servers, {kEdge}, NatsServers::Account::kRoutes);
  const auto done = until_done([&] { return apply_core().left; });
  EXPECT_TRUE(done) << done.error().message;
  const auto there = until_done([&] { return apply_edge().left; });
  EXPECT_TRUE(there) << there.error().message;
}

Publisher::Publisher(const NatsServers& servers, std::vector<int> order, std::string origin, std::vector<std::string> subjects, int least,
                     const std::atomic<bool>& until)
    : connection_(connect(servers, std::move(order), NatsServers::Account::kApp)), origin_(std::move(origin)), subjects_(std::move(subjects)),
      thread_([this, least, &until] { run(least, until); }) {}

Publisher::~Publisher() { join(); }

void Publisher::join() {
  if (thread_.joinable()) thread_.join();
}

bool Publisher::put(const std::string& subject, const std::string& payload) {
  jsPubOptions options{};
  jsPubOptions_Init(&options);
  options.MaxWait = kTry.count();
  options.MsgId = payload.c_str();
  jsPubAck* raw = nullptr;
  const auto link = connection_->handles().link();
  const natsStatus s = js_Publish(&raw, link->js, subject.c_str(), payload.data(), static_cast<int>(payload.size()), &options, nullptr);
  const PubAckPtr ack(raw);
  return s == NATS_OK;
}

/// Payload and id: "<origin> <subject's first token> <n>", n from 0 in each subject.
void Publisher::run(int least, const std::atomic<bool>& until) {
  for (int n = 0; n < least || !until; ++n) {
    for (const std::string& subject : subjects_) {
      const std::string payload = origin_ + " " + subject.substr(0, subject.find('.')) + " " + std::to_string(n);
      const auto begun = Clock::now();
      while (!put(subject, payload)) std::this_thread::sleep_for(kAgain);
      ++acked_;
      const std::lock_guard lock(mutex_);
      done_.emplace_back(begun, Clock::now());
    }
    std::this_thread::sleep_for(kPace);
  }
  nats_ReleaseThreadMemory();
}

double Publisher::first_after_ms(Clock::time_point from) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [begun, acknowledged] : done_)
    if (acknowledged > from) {
      // One that was on its way when the server died counts from when it came through.
      return std::chrono::duration<double, std::milli>(acknowledged - from).count();
    }
  return -1;
}

Ear::Ear(const NatsEndpoint& as) : connection_(Connection::open(as).value()), thread_([this] {
  Listener all(connection_, ">");
  while (!closed_) {
    const MsgPtr message = all.next(50);
    if (!message) continue;
    const std::lock_guard lock(mutex_);
    ++heard_[natsMsg_GetSubject(message.get())];
  }
  nats_ReleaseThreadMemory();
}) {}

Ear::~Ear() {
  closed_ = true;
  thread_.join();
}

std::map<std::string, int> Ear::heard() const {
  const std::lock_guard lock(mutex_);
  return heard_;
}

Tally read_all(Connection& connection, const std::string& stream, const std::string& filter) {
  Tally out;
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(5));
  if (!info || !info->contains("state")) {
    out.note = "no answer of " + stream;
    return out;
  }
  const std::uint64_t last = (*info)["state"].value("last_seq", std::uint64_t{0});
  const auto link = connection.handles().link();
  jsSubOptions options{};
  jsSubOptions_Init(&options);
  options.Stream = stream.c_str();
  options.Ordered = true;
  natsSubscription* raw = nullptr;
  if (js_SubscribeSync(&raw, link->js, filter.c_str(), nullptr, &options, nullptr) != NATS_OK) {
    out.note = "no consumer of " + stream;
    return out;
  }
  Subscription subscription;
  subscription.take(link, raw);
  std::set<std::string> seen;
  std::map<std::string, int> next;
  for (std::uint64_t at = 0; at < last;) {
    natsMsg* got = nullptr;
    if (natsSubscription_NextMsg(&got, subscription.get(), kReadWaitMs) != NATS_OK) {
      out.note += "; " + stream + " gave " + std::to_string(at) + " of " + std::to_string(last);
      break;
    }
    const MsgPtr message(got);
    jsMsgMetaData* raw_meta = nullptr;
    if (natsMsg_GetMetaData(&raw_meta, got) != NATS_OK) continue;
    const MetaPtr meta(raw_meta);
    at = meta->Sequence.Stream;
    const std::string payload = data_of(got);
    if (!seen.insert(payload).second) {
      ++out.repeats;
      continue;
    }
    const std::string origin = payload.substr(0, payload.find(' '));
    const int n = std::atoi(payload.substr(payload.rfind(' ') + 1).c_str());
    ++out.first[origin];
    if (n != next[origin]++ && out.disorders++ == 0)
      out.note += "; " + stream + ": " + payload + " at " + std::to_string(at) + ", not its number " + std::to_string(next[origin] - 1);
  }
  return out;
}

}  // namespace daarion::test
