#include "streams/route_streams.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "streams/js_request.h"
#include "streams/provision.h"

namespace daarion {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kAckWaitNs = 30 * kNs;           // work that is not confirmed by then is given to another worker
constexpr Duration kLookFor = std::chrono::seconds(10);  // at all sites, for what stands in the way
constexpr int kBucketHistory = 8;                       // tables that somebody who was away can still read
constexpr const char* kHoldsMessages = "it holds messages: do not delete it; give the setting back in the cluster file";
constexpr const char* kOnlyTheTable = "it holds the route table only: it may be deleted, and is then made anew";

Json bounds_of(const StreamPlan& stream) {
  const std::int64_t age = static_cast<std::int64_t>(stream.max_age_s) * kNs;
  Json out = {{"name", stream.name},
              {"retention", "limits"},
              {"storage", "file"},
              {"num_replicas", stream.replicas},
              {"max_bytes", stream.max_bytes == 0 ? -1 : static_cast<std::int64_t>(stream.max_bytes)},
              {"max_age", age},
              {"discard", "old"},
              {"allow_direct", true}};
  // The server refuses a window longer than the messages' life.
  if (!stream.mirror) out["duplicate_window"] = age == 0 ? kDuplicateWindowNs : std::min(kDuplicateWindowNs, age);
  return out;
}

Json core_json(const StreamPlan& stream) {
  Json out = bounds_of(stream);
  out["subjects"] = stream.subjects;
  out["sources"] = Json::array();
  const std::string here = std::string(kRouteSync).append("core");
  // From 1: what waited on an edge before the first message came is not to be skipped after a restart (nats-server 2.9).
  for (const NodeId& edge : stream.sources)
    out["sources"].push_back({{"name", edge_stream_of(stream.rule_stream, edge)}, {"opt_start_seq", 1},
                              {"external", external_of(edge.value, here)}});
  return out;
}

Json edge_json(const StreamPlan& stream, const NodeId& edge, const std::string& core_domain) {
  Json out = bounds_of(stream);
  if (stream.mirror) out["mirror"] = {{"name", stream.rule_stream}, {"external", external_of(core_domain, kRouteSync + edge.value)}};
  else out["subjects"] = stream.subjects;
  return out;
}

/// As every client library makes a bucket, so that each can watch it.
Json bucket_json(std::uint32_t replicas) {
  const std::string bucket = kRouteBucket;
  return {{"name", "KV_" + bucket},
          {"subjects", {"$KV." + bucket + ".>"}},
          {"retention", "limits"},
          {"storage", "file"},
          {"num_replicas", replicas},
          {"max_msgs_per_subject", kBucketHistory},
          {"discard", "new"},
          {"allow_rollup_hdrs", true},
          {"deny_delete", true},
          {"allow_direct", true}};
}

void note(RouteWork& work, Result<std::string> done) {
  if (!done) {
    if (work.left) work.left = tl::unexpected(done.error());
  } else if (!done->empty()) {
    work.done.push_back(std::move(*done));
  }
}

/// A durable consumer of work. Asking for one that is there as it is wanted changes nothing.
Result<std::string> provision_consumer(Connection& app, const std::string& stream, const std::string& name, const std::string& filter, Duration limit) {
  const auto there = js_request(app, "$JS.API.CONSUMER.INFO." + stream + "." + name, nullptr, limit);
  if (!there) return tl::unexpected(there.error());
  if (there->contains("config") && (*there)["config"].value("filter_subject", "") == filter) return std::string();
  const Json wanted = {{"stream_name", stream},
                       {"config",
                        {{"durable_name", name}, {"filter_subject", filter}, {"deliver_policy", "all"}, {"ack_policy", "explicit"}, {"ack_wait", kAckWaitNs}}}};
  const auto made = js_request(app, "$JS.API.CONSUMER.DURABLE.CREATE." + stream + "." + name, wanted, limit);
  if (!made) return tl::unexpected(made.error());
  if (!made->contains("error")) return "made consumer " + name + " of " + stream;
  const std::string text = "make consumer " + name + " of " + stream + ": " + js_error_text(*made);
  return js_error_passes(*made) ? fail(Remedy::kRetry, text)
                                : fail(Remedy::kFixInput, text + "; a consumer keeps what it takes: give the filter back, or name a new consumer");
}

}  // namespace

RouteWork apply_core_routes(Connection& app, const RoutePlan& plan, Duration limit) {
  RouteWork work;
  const std::uint32_t replicas = plan.core_servers >= 3 ? 3 : 1;
  note(work, provision_stream(app, bucket_json(replicas), kOnlyTheTable, limit));
  for (const StreamPlan& stream : core_streams(plan)) {
    auto done = provision_stream(app, core_json(stream), kHoldsMessages, limit);
    const bool there = done.has_value();
    note(work, std::move(done));
    for (const auto& [name, filter] : stream.consumers)
      if (there) note(work, provision_consumer(app, stream.name, name, filter, limit));
  }
  return work;
}

std::vector<std::string> in_the_way(Connection& app, const RoutePlan& plan, const std::string& core_domain, Duration limit) {
  std::vector<std::string> out;
  const auto end = std::chrono::steady_clock::now() + kLookFor;
  const auto look = [&](const std::string& site, const std::string& domain, const std::vector<StreamPlan>& streams) {
    std::vector<std::string> subjects;
    std::set<std::string> own;
    for (const StreamPlan& stream : streams) {
      own.insert(stream.name);
      subjects.insert(subjects.end(), stream.subjects.begin(), stream.subjects.end());
    }
    const auto others = captured_by_others(app, domain, subjects, own, limit, end);
    if (!others) out.push_back("! " + site + " was not looked at: " + others.error().message);
    else for (const std::string& other : *others) out.push_back("! " + site + ": stream " + other + ", which the rules are to: delete it, or take its subjects out of the rules");
  };
  look("core", core_domain, core_streams(plan));
  for (const NodeId& edge : plan.edges) look(edge.value, edge.value, edge_streams(plan, edge));
  return out;
}

RouteWork apply_edge_routes(Connection& app, const RoutePlan& plan, const NodeId& edge, const std::string& core_domain, Duration limit) {
  RouteWork work;
  note(work, provision_stream(app, bucket_json(1), kOnlyTheTable, limit));
  for (const StreamPlan& stream : edge_streams(plan, edge))
    note(work, provision_stream(app, edge_json(stream, edge, core_domain), stream.mirror ? kOnlyACopy : kHoldsMessages, limit));
  return work;
}

}  // namespace daarion
