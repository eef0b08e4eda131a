// What the keepers of copies share (route_copies.h). Included by the .cc files of streams/ alone.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "streams/edge_mirrors.h"
#include "streams/js_request.h"
#include "streams/nats_handles.h"
#include "streams/route_copies.h"
#include "streams/site_reader.h"

namespace daarion {

inline constexpr const char* kSourceHeader = "Nats-Stream-Source";
inline constexpr const char* kId = "Nats-Msg-Id";

/// The header that keeps a message from being copied; empty: none.
std::string obstacle_in(natsMsg* message);
/// The message as it is published by hand: without what says where it was to be, or came from, and with when it was stored first. `id`: where it has none.
/// Null: no memory.
MsgPtr copy_of(natsMsg* from, const std::string& id, std::int64_t stored_ns);

/// One message of a stream, its payload left out.
struct Head {
  std::uint64_t sequence = 0;
  std::int64_t stored_ns = 0;
  natsMsg* message = nullptr;
};

/// What both kinds have in common: what was seen, a bounded time, and what both do with messages.
class Copies : public CopyKeeper {
 public:
  Copies(std::shared_ptr<Connection> app, Duration still) : app_(std::move(app)), still_(still) {}
  RouteWork tend(const RoutePlan& plan, Duration limit) override;
  std::vector<CopyView> views() const override;

 protected:
  using Clock = std::chrono::steady_clock;
  using Json = nlohmann::json;

  /// Whether a copy goes on, as far as its numbers say.
  struct Progress {
    std::uint64_t at = 0;
    Clock::time_point since = Clock::now();
    int mends = 0;  // without any progress after
    Clock::time_point again{};
    bool stands_still(std::uint64_t now_at, bool all_there, Duration still);
    /// It was mended, and is left alone for a while: the longer, the less it helped.
    void mended(Duration still);
  };

  virtual void look(const RoutePlan& plan, const RouteRule& rule) = 0;

  void saw(const std::string& rule_stream, CopyView view);
  void saw_nothing(const std::string& rule_stream);
  void done(std::string what) { work_.done.push_back(std::move(what)); }
  void left(Error error);
  Result<Json> ask(const std::string& subject, const Json& body = nullptr) { return js_request(*app_, subject, body, limit_); }
  static std::string info_of(const StreamAt& stream) { return js_api(stream.domain) + ".STREAM.INFO." + stream.name; }
  static std::uint64_t number_in(const Json& info, const char* key) { return info.at("state").value(key, std::uint64_t{0}); }
  static std::string leader_in(const Json& info) { return info.contains("cluster") ? info["cluster"].value("leader", "") : std::string(); }
  static std::uint64_t begin_of(const Json& info) { return std::max<std::uint64_t>(number_in(info, "first_seq"), 1); }
  static std::string no_mirror_takes(const std::string& subject, const std::string& header) {
    return "messages of " + subject + " have the header " + header + ", which no mirror of this nats-server takes: publish without it";
  }
  StreamAt here(const std::string& stream) const { return {app_, stream}; }
  LeadersMessage message_of(const StreamAt& stream, std::uint64_t sequence) {
    return leaders_message(app_->handles().link()->js, stream.name, sequence, limit_, stream.domain);
  }

  /// Gives these messages as `server` has them (empty: whoever is asked), until it says false. Returns whether all could be read.
  using Give = std::function<bool(const Head&)>;
  bool read(const StreamAt& stream, const std::string& server, std::uint64_t from, std::uint64_t to, const Give& give, bool heads_only = true);
  /// Whether it was stored at this site; false: it was there already. Errors: kRetry.
  Result<bool> put(natsMsg* message, jsErrCode* error = nullptr);

  const std::shared_ptr<Connection> app_;
  const Duration still_;
  Duration limit_{};
  Clock::time_point end_{};
  RouteWork work_;
  // JetStream domains that did not answer, and until when they are not asked again: one that is frozen costs a whole limit each time.
  std::map<std::string, Clock::time_point> away_;

 private:
  std::size_t first_ = 0;  // the rule that the next call begins with
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, NodeId>, CopyView> views_;  // guarded by mutex_; by the rule's stream and the edge
};

}  // namespace daarion
