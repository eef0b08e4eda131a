#include "streams/route_keeper.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "controlplane/core/services.h"
#include "streams/js_request.h"
#include "streams/mailbox.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kLimit = seconds(2);              // of one JetStream request: above a healthy answer, below an election
constexpr Duration kTableAgain = milliseconds(50);   // after a try that failed: the bucket is being made, or another node was quicker
constexpr Duration kStreamsAgain = seconds(1);
constexpr Duration kWarnAfter = seconds(15);         // longer than two elections
constexpr int kPuts = 8;                             // more than there are voters: each lost race shows another node's table
constexpr std::size_t kNewest = 1;

/// Whether the table that is there already stands for `mine`, or for a later one.
bool there_already(const std::string& text, const Json& mine, bool fresh) {
  const Json theirs = Json::parse(text, nullptr, false);
  if (!theirs.is_object() || theirs.value("log_id", "") != mine.value("log_id", "")) return false;
  // A log that lost events goes on at lower sequences. A table of before these fields has none, and gives way.
  const auto age = [](const Json& table) { return std::pair(table.value("regressed", std::uint64_t{0}), table.value("updated", std::uint64_t{0})); };
  return age(theirs) > age(mine) || (age(theirs) == age(mine) && (!fresh || theirs == mine));
}

/// Trouble that lasts is said; what passes by itself is not.
class Trouble {
 public:
  void on(const Result<void>& done) {
    const std::lock_guard lock(mutex_);
    if (done) {
      what_.clear();
    } else {
      if (what_.empty()) since_ = Clock::now();
      what_ = done.error().message;
      urgent_ = done.error().remedy == Remedy::kFixInput;
    }
  }
  void tell(std::vector<std::string>& to) const {
    const std::lock_guard lock(mutex_);
    if (!what_.empty() && (urgent_ || Clock::now() > since_ + kWarnAfter)) to.push_back("routes: " + what_);
  }

 private:
  mutable std::mutex mutex_;
  std::string what_;
  bool urgent_ = false;
  Clock::time_point since_{};
};

class NatsRouteKeeper final : public RouteKeeper {
 public:
  NatsRouteKeeper(RouteSite site, std::function<std::string(const State&)> text_of, std::function<void(const std::string&)> say)
      : site_(std::move(site)), text_of_(std::move(text_of)), say_(std::move(say)),
        copies_(site_.edge ? make_mirror_copies(site_.app, site_.self, site_.core_domain) : make_source_copies(site_.app, site_.self)),
        writer_([this] { write(); }), tender_([this] { tend(); }) {}
  ~NatsRouteKeeper() override {
    closed_ = true;
    tables_.close();
    plans_.close();
    writer_.join();
    tender_.join();
  }

  void folded(std::shared_ptr<const State> state) override {
    const Sequence changed = state->routes.contains("table") ? routes_changed(*state) : Sequence{};
    const Sequence regressed = state->log.newest_regression();
    if (changed.value != 0 && std::pair(regressed, changed) != told_table_) {
      told_table_ = {regressed, changed};
      tables_.push_fresh(state);
    }
    std::set<NodeId> retired = retired_in(*state);
    if (state->topology.version.value == 0 || (state->topology.sequence == told_topology_ && retired == told_retired_)) return;
    told_topology_ = state->topology.sequence;
    told_retired_ = std::move(retired);
    plans_.push_fresh(std::move(state));
  }

  std::vector<std::string> warnings() const override {
    std::vector<std::string> out;
    tables_trouble_.tell(out);
    servers_trouble_.tell(out);
    streams_trouble_.tell(out);
    copies_trouble_.tell(out);
    for (const CopyView& copy : copies())
      if (copy.stands_still && copy.behind)
        out.push_back("routes: " + copy.stream + " takes nothing of " + copy.origin + ", " + std::to_string(*copy.behind) + " messages behind");
    return out;
  }
  std::vector<CopyView> copies() const override { return copies_->views(); }

 private:
  void write() {
    std::shared_ptr<const State> newest;
    Duration wait = site_.verify_every;
    bool fresh = false;
    while (!closed_) {
      // Also what was put once: the bucket may have been deleted, and made anew.
      if (auto state = tables_.pop(wait)) newest = std::move(*state), fresh = true;
      if (!newest || closed_) continue;
      const auto put = put_route_table(*site_.app, text_of_(*newest), kLimit, fresh);
      fresh &= !put;
      tables_trouble_.on(put ? Result<void>{} : tl::unexpected(put.error()));
      wait = put ? site_.verify_every : kTableAgain;
      if (put && *put) announce(*newest);
    }
    nats_ReleaseThreadMemory();
  }

  void announce(const State& state) {
    const RouteState& table = state.routes.at("table");
    const std::string text = Json{{"version", table.version.value}, {"sequence", table.changed.value}, {"updated", routes_changed(state).value}}.dump();
    const auto link = site_.app->handles().link();
    natsConnection_Publish(link->nc, kRouteChanged, text.data(), static_cast<int>(text.size()));
    natsConnection_Flush(link->nc);
    say_("route table " + std::to_string(table.version.value) + " of event " + std::to_string(routes_changed(state).value) + " is published");
  }

  void tend() {
    RoutePlan plan;
    bool known = false;
    Duration wait = site_.verify_every;
    while (!closed_) {
      if (auto state = plans_.pop(wait)) {
        plan = plan_of(**state);
        known = true;
      }
      if (!known || closed_ || !plan.is_member(site_.self)) continue;
      // Denies before streams: nothing is to be captured twice.
      const RouteWork servers = site_.servers ? site_.servers(plan) : RouteWork();
      for (const std::string& done : servers.done) say_(done);
      servers_trouble_.on(servers.left);
      const RouteWork work = site_.edge ? apply_edge_routes(*site_.app, plan, site_.self, site_.core_domain, kLimit) : apply_core_routes(*site_.app, plan, kLimit);
      for (const std::string& done : work.done) say_(done);
      streams_trouble_.on(work.left);
      const RouteWork copies = copies_->tend(plan, kLimit);
      for (const std::string& done : copies.done) say_(done);
      copies_trouble_.on(copies.left);
      wait = work.left && copies.done.empty() ? site_.verify_every : kStreamsAgain;
    }
    nats_ReleaseThreadMemory();
  }

  const RouteSite site_;
  const std::function<std::string(const State&)> text_of_;
  const std::function<void(const std::string&)> say_;
  Mailbox<std::shared_ptr<const State>> tables_{kNewest}, plans_{kNewest};
  Trouble tables_trouble_, servers_trouble_, streams_trouble_, copies_trouble_;
  const std::unique_ptr<CopyKeeper> copies_;
  std::pair<Sequence, Sequence> told_table_;  // of the fold's thread, as the two below
  Sequence told_topology_;
  std::set<NodeId> told_retired_;
  std::atomic<bool> closed_ = false;
  std::thread writer_, tender_;
};

}  // namespace

Result<bool> put_route_table(Connection& app, const std::string& text, Duration limit, bool fresh) {
  const Json mine = Json::parse(text, nullptr, false);
  if (!mine.is_object()) return fail(Remedy::kFixInput, "put the route table: it is no JSON object");
  for (int i = 0; i < kPuts; ++i) {
    // The stream's end before its last table: what comes between shows as a conflict.
    const auto info = js_request(app, std::string("$JS.API.STREAM.INFO.") + kRouteTableStream, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    if (!info->contains("state")) return fail(Remedy::kRetry, "put the route table: " + js_error_text(*info));
    const std::uint64_t last = (*info)["state"].value("last_seq", std::uint64_t{0});
    const auto link = app.handles().link();
    if (last != 0) {
      const LeadersMessage newest = leaders_message(link->js, kRouteTableStream, last, limit);
      if (newest.status != NATS_OK) return fail(Remedy::kRetry, std::string("look at the route table: ") + natsStatus_GetText(newest.status));
      if (there_already(data_of(newest.message.get()), mine, fresh)) return false;
    }
    jsPubOptions options{};
    jsPubOptions_Init(&options);
    options.MaxWait = to_wait_ms(limit);
    options.ExpectLastSeq = last;
    options.ExpectNoMessage = last == 0;  // 0 would be no expectation
    jsErrCode error{};
    jsPubAck* raw = nullptr;
    const natsStatus s = js_Publish(&raw, link->js, kRouteTableSubject, text.data(), static_cast<int>(text.size()), &options, &error);
    const PubAckPtr ack(raw);
    if (s == NATS_OK) return true;
    if (error == 0) return fail(Remedy::kRetry, std::string("put the route table: ") + natsStatus_GetText(s), Effect::kMaybe);
  }
  return fail(Remedy::kRetry, "put the route table: other nodes were quicker each time");
}

std::unique_ptr<RouteKeeper> make_route_keeper(RouteSite site, std::function<std::string(const State&)> text_of, std::function<void(const std::string&)> say) {
  return std::make_unique<NatsRouteKeeper>(std::move(site), std::move(text_of), std::move(say));
}

}  // namespace daarion
