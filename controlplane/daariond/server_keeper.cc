#include "controlplane/daariond/server_keeper.h"

#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controlplane/daariond/hook.h"
#include "controlplane/health/http_client.h"
#include "controlplane/node/clock.h"

namespace daarion {
namespace {

using Answer = ServerLook::Answer;

constexpr Duration kEvery = std::chrono::seconds(2);           // between looks
constexpr Duration kAnswer = std::chrono::milliseconds(1500);  // a server with thousands of streams takes some 100 ms
constexpr Duration kRarely = std::chrono::seconds(10);         // where it is known to stand still: each look costs it a connection
constexpr Duration kStoodStill = std::chrono::seconds(20);     // without a look: we stood still too, and time that nobody saw proves nothing
constexpr Duration kFirstPause = std::chrono::minutes(1);
constexpr Duration kLongestPause = std::chrono::minutes(10);
constexpr std::uint64_t kLittle = 90, kRoomAgain = 88;  // percent of its disk, so that the word does not come and go
constexpr std::uint64_t kFull = 4 << 20;  // bytes: a file store needs room for its blocks before the last one is gone

std::string seconds_text(Duration d) { return std::to_string(to_ms(d) / 1000) + " s"; }

/// Streams are named one by one, since a store that locked itself up shows only where it is asked.
ServerLook look_at(HttpClient& monitor, std::string& store) {
  const HttpReply reply = monitor.call({.path = "/jsz?accounts=true&streams=true", .body = {}, .headers = {}}, kAnswer);
  ServerLook out;
  if (reply.late) out.answer = Answer::kSilent;
  else if (reply.answer.status == 0) out.answer = Answer::kRefused;
  const auto said = nlohmann::json::parse(reply.answer.body, nullptr, false);
  if (said.is_object()) {
    if (said.contains("disabled") && said["disabled"] == true) out.answer = Answer::kOff;
    if (const auto config = said.find("config"); config != said.end() && config->contains("store_dir") && (*config)["store_dir"].is_string())
      store = (*config)["store_dir"].get<std::string>();
  }
  // In a container the folder's name may be another's here, or nobody's.
  struct statvfs disk {};
  if (!store.empty() && statvfs(store.c_str(), &disk) == 0) {
    out.free_bytes = disk.f_bavail * disk.f_frsize;
    out.disk_bytes = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize;
  }
  return out;
}

}  // namespace

std::string ServerJudge::look(const ServerLook& seen, Instant now) {
  if (looked_ != Instant{} && now - looked_ > kStoodStill) since_.reset();
  looked_ = now;
  trouble_.clear();
  const bool full = seen.free_bytes && *seen.free_bytes < kFull;
  const std::uint64_t limit = room_.empty() ? kLittle : kRoomAgain;
  const bool little = seen.free_bytes && seen.disk_bytes > 0 && (seen.disk_bytes - std::min(*seen.free_bytes, seen.disk_bytes)) / (seen.disk_bytes / 100 + 1) >= limit;
  room_ = little && !full ? "has its store on a disk that is more than " + std::to_string(kRoomAgain) + " % full: make room before it stands still" : "";
  if (seen.answer == Answer::kRefused) {
    since_.reset();
    was_full_ = false;  // it begins anew
    return {};
  }
  const bool sick = seen.answer != Answer::kWell;
  if (!sick) since_.reset();
  else if (!since_) since_ = now;
  std::string why;
  if (full) {
    was_full_ = true;
    trouble_ = "has no room for its store: make room";
    return {};
  }
  const bool ill = sick && now - *since_ >= after_;
  if (ill) {
    why = seen.answer == Answer::kOff ? "has turned its JetStream off " : "accepts connections and says nothing ";
    why += "for " + seconds_text(now - *since_);
  } else if (was_full_) {
    why = "had no room for its store and has it again: 2.9 locks itself up with a later write";
  }
  trouble_ = why;
  return now >= (ill ? next_ : next_room_) ? why : "";
}

void ServerJudge::ran(bool ok, Instant now) {
  next_room_ = now + after_;  // each time it had no room is another reason
  if (since_) {
    pause_ = run_ == Instant{} || now - run_ > 2 * kLongestPause ? kFirstPause : std::min(2 * pause_, kLongestPause);
    run_ = now;
    next_ = now + pause_;
  }
  if (!ok) return;
  since_.reset();
  was_full_ = false;
  trouble_.clear();
}

struct ServerKeeper::Server {
  NatsServerPlan plan;
  std::string warning;
  std::thread thread;
};

ServerKeeper::ServerKeeper(NatsRestartSpec spec, std::vector<NatsServerPlan> own) : spec_(std::move(spec)) {
  for (NatsServerPlan& plan : own) {
    if (plan.monitor == 0) continue;
    servers_.push_back(std::make_unique<Server>());
    servers_.back()->plan = std::move(plan);
  }
  for (auto& server : servers_) server->thread = std::thread([this, s = server.get()] { run(*s); });
}

ServerKeeper::~ServerKeeper() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  for (auto& server : servers_) server->thread.join();
}

void ServerKeeper::run(Server& server) {
  const NatsServerPlan& plan = server.plan;
  HttpClient monitor(plan.monitor_host(), plan.monitor);
  ServerJudge judge(spec_.after);
  std::string store, failed;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, judge.trouble().empty() ? kEvery : kRarely, [&] { return ended_; })) {
    lock.unlock();
    const std::string why = judge.look(look_at(monitor, store), node_now());
    if (!why.empty() && !spec_.exec.empty()) {
      spdlog::warn("the nats-server {} {}: running {}", plan.name, why, spec_.exec);
      const auto done = run_hook({.exec = spec_.exec, .argument = plan.name, .limit = spec_.timeout,
                                  .environment = {"DAARION_NODE=" + plan.node.value, "DAARION_SERVER=" + plan.name,
                                                  std::string("DAARION_SERVER_KIND=") + (plan.kind == NatsServerPlan::Kind::kWitness ? "witness" : "nats")}});
      judge.ran(done.has_value(), node_now());
      failed = done ? "" : done.error().message;
      if (!done) spdlog::warn("the nats-server {} is not restarted: {}", plan.name, failed);
    }
    lock.lock();
    if (judge.trouble().empty()) failed.clear();
    const std::string& said = judge.trouble().empty() ? judge.room() : judge.trouble();
    server.warning = said.empty() ? "" : "the nats-server " + plan.name + " " + said;
    if (!server.warning.empty() && !failed.empty()) server.warning += "; " + failed;
    if (!server.warning.empty() && !why.empty() && spec_.exec.empty()) server.warning += "; restart it (control.nats.restart: a command that does)";
  }
}

std::vector<std::string> ServerKeeper::warnings() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& server : servers_)
    if (!server->warning.empty()) out.push_back(server->warning);
  return out;
}

}  // namespace daarion
