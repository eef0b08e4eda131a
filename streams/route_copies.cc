#include "streams/copy_handles.h"

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <unordered_set>

#include "streams/delivery.h"
#include "streams/log_stream.h"
#include "streams/provision.h"

namespace daarion {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kBudget = seconds(5);            // of one call: the plan's streams wait meanwhile
constexpr Duration kAsideLimit = seconds(20);       // until what a mirror alone has is kept aside; else again at the next call
constexpr int kMends = 6;                           // what was mended without any progress is mended again after twice as long each time, up to half an hour
constexpr int kTriesForServer = 20;                 // consumers made to have one at the server that is asked for, of three
constexpr std::uint64_t kOverlap = 4096;            // of a mirror that counts otherwise: messages before, where ids are looked for too
// A mirror that stands still is made again, which copies all of it once more. nats-server from 2.10 on tries again by itself less and less often, every 2 minutes
// in the end: a large one is left to that for longer.
constexpr std::uint64_t kCheapCopy = 16 << 20;
constexpr int kPatience = 6;
constexpr const char* kExpected = "Nats-Expected-";

std::vector<std::string> header_names(natsMsg* message) {
  const char** keys = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &keys, &count) != NATS_OK) return {};
  std::vector<std::string> out(keys, keys + count);
  free(keys);
  return out;
}

// ---- an edge's mirrors
class MirrorCopies final : public Copies {
 public:
  MirrorCopies(std::shared_ptr<Connection> app, NodeId self, std::string core_domain, Duration still)
      : Copies(std::move(app), still), self_(std::move(self)), core_domain_(std::move(core_domain)) {}

 private:
  struct Mirror {
    CopyJudge judge;
    Progress progress;
    std::uint64_t compared = 0, compared_here = 0;  // up to this message of the origin, and of its own, it was held against the origin by ids
    std::int64_t shift = 0;                         // how many more the origin counts, where all of it is here
  };

  StreamAt there(const std::string& stream) const { return {app_, stream, core_domain_}; }

  void look(const RoutePlan&, const RouteRule& rule) override {
    const std::string name = mirror_of(rule), origin = stream_of(rule);
    const auto info = ask(info_of(here(name)));
    if (!info || !info->contains("state")) return saw_nothing(origin);  // it is being made
    const std::uint64_t last = number_in(*info, "last_seq");
    CopyView view{.stream = name, .origin = origin, .edge = self_, .behind = {}};
    const auto range = away_.contains(core_domain_) ? fail(Remedy::kRetry, "away") : range_in_touch(*app_, origin, limit_, {}, core_domain_);
    if (!range) {
      away_.try_emplace(core_domain_, Clock::now() + still_ / 2);
      if (const auto mirror = mirrors_.find(name); mirror != mirrors_.end()) mirror->second.progress = {}, mirror->second.judge.forget();
      return saw(origin, view);
    }
    Mirror& mirror = mirrors_.try_emplace(name, Mirror{CopyJudge(here(name), there(origin)), {}}).first->second;
    view.behind = static_cast<std::uint64_t>(std::max<std::int64_t>(0, static_cast<std::int64_t>(range->last - last) - mirror.shift));
    view.stands_still = mirror.progress.stands_still(last, view.behind == 0u, still_ * (number_in(*info, "bytes") > kCheapCopy ? kPatience : 1));
    (void)mirror.judge.is_copy(last, limit_);
    saw(origin, view);
    if ((view.stands_still || mirror.judge.other()) && Clock::now() >= mirror.progress.again) mend(mirror, view, number_in(*info, "first_seq"), last);
  }

  void mend(Mirror& mirror, const CopyView& view, std::uint64_t first, std::uint64_t last) {
    if (mirror.judge.other()) {
      if (mirror.compared != 0 && !was_made_anew(view, last).value_or(true)) return fill_up(mirror, view, last, last);
      const auto differs = first_difference(mirror, first, last);
      const auto anew = differs ? was_made_anew(view, *differs) : Result<bool>(tl::unexpected(differs.error()));
      if (!anew) return;
      if (!*anew) return fill_up(mirror, view, *differs, last);
      if (!keep_aside(view.stream, *differs, last)) return;
      return remove(mirror, view, "from " + std::to_string(*differs) + " on it is another than " + view.origin + ", which was made anew", last);
    }
    // A new mirror would have to take the same message.
    if (const LeadersMessage next = message_of(there(view.origin), last + 1); next.message)
      if (const std::string header = obstacle_in(next.message.get()); !header.empty()) {
        mirror.progress.again = Clock::now() + still_;  // once it is gone, the server goes on by itself
        const std::string where = view.stream + " stands still before message " + std::to_string(last + 1) + " of " + view.origin + ": ";
        const std::string then = "; the core puts it again once it is too old to be taken for a repeat";
        return left({Remedy::kFixInput, Effect::kNone, where + no_mirror_takes(natsMsg_GetSubject(next.message.get()), header) + then});
      }
    remove(mirror, view, "it stood still at " + std::to_string(last) + ", " + std::to_string(*view.behind) + " behind " + view.origin, last);
  }

  void remove(Mirror& mirror, const CopyView& view, const std::string& why, std::uint64_t last) {
    const auto gone = ask(js_api({}) + ".STREAM.DELETE." + view.stream);
    if (!gone) return left(gone.error());
    if (gone->contains("error")) return left({Remedy::kRetry, Effect::kNone, "delete the mirror " + view.stream + ": " + js_error_text(*gone)});
    done("deleted " + view.stream + " to make it again: " + why);
    mirror.judge.forget();
    mirror.compared = mirror.compared_here = 0;
    mirror.shift = 0;
    mirror.progress.at = last;
    mirror.progress.mended(still_);
  }

  /// Whether the origin is younger than what the mirror has of it there. A mirror's messages have their origin's time.
  Result<bool> was_made_anew(const CopyView& view, std::uint64_t at) {
    const auto info = ask(info_of(there(view.origin)));
    const LeadersMessage message = message_of(here(view.stream), at);
    if (!info || !info->contains("created") || !message.message) return fail(Remedy::kRetry, "nobody can tell");
    return server_time_ns(info->value("created", "")) > natsMsg_GetTime(message.message.get());
  }

  /// It goes on, and counts otherwise than its origin: it passed by a message, or its origin's leader counts otherwise than the one before. What it lacks
  /// by its ids is published on this edge, where the edge's readers find it, once each.
  void fill_up(Mirror& mirror, const CopyView& view, std::uint64_t differs, std::uint64_t last) {
    const auto info = ask(info_of(there(view.origin)));
    if (!info || !info->contains("state")) return;
    const bool again = mirror.compared != 0;
    const std::uint64_t begin = again ? mirror.compared_here : differs, end = number_in(*info, "last_seq");
    std::unordered_set<std::string> known;
    const auto know = [&](const Head& head) { return known.insert(header_of(head.message, kId)), true; };
    if (!read(here(view.stream), {}, begin > kOverlap ? begin - kOverlap : 1, last, know)) return;
    // What was published here before stays a lack of the mirror.
    const std::string own = edge_stream_of(view.origin, self_);
    const auto own_info = ask(info_of(here(own)));
    if (!own_info || !own_info->contains("state")) return;
    if (!read(here(own), {}, begin_of(*own_info), number_in(*own_info, "last_seq"), know)) return;
    const auto id_of = [&](std::uint64_t at) { return view.origin + "." + std::to_string(at); };
    std::map<std::uint64_t, std::string> missing;
    std::uint64_t common = 0;  // behind it all may be on its way
    const std::uint64_t from = std::max({again ? mirror.compared + 1 : differs, number_in(*info, "first_seq"), std::uint64_t{1}});
    if (!read(there(view.origin), leader_in(*info), from, end, [&](const Head& head) {
          const std::string id = header_of(head.message, kId);
          const bool lacks = id.empty() ? !obstacle_in(head.message).empty() && !known.contains(id_of(head.sequence)) : !known.contains(id);
          if (lacks) missing[head.sequence] = obstacle_in(head.message);
          else common = head.sequence;
          return true;
        })) return;
    missing.erase(missing.lower_bound(common), missing.end());
    std::string header, subject;
    for (const auto& [at, obstacle] : missing) {
      const LeadersMessage lost = message_of(there(view.origin), at);
      if (!lost.message) continue;
      const MsgPtr message = copy_of(lost.message.get(), id_of(at), natsMsg_GetTime(lost.message.get()));
      if (const auto stored = message ? put(message.get()) : Result<bool>(false); !stored) return left(stored.error());
      if (!obstacle.empty()) header = obstacle, subject = natsMsg_GetSubject(lost.message.get());
    }
    mirror.compared = std::max(common, mirror.compared);
    mirror.compared_here = last;
    if (common == end) mirror.shift = static_cast<std::int64_t>(end - last);
    if (!header.empty()) left({Remedy::kFixInput, Effect::kNone, no_mirror_takes(subject, header)});
    if (missing.empty()) return;
    const std::string which = std::to_string(missing.size()) + " from message " + std::to_string(missing.begin()->first) + " on";
    done("published on " + self_.value + " what " + view.stream + " lacks of " + view.origin + ": " + which);
  }

  /// By halves: a mirror that is another from somewhere on. `last` if it is the only one.
  Result<std::uint64_t> first_difference(const Mirror& mirror, std::uint64_t first, std::uint64_t last) {
    std::uint64_t same = first == 0 ? 0 : first - 1, other = last;
    while (same + 1 < other) {
      const std::uint64_t middle = same + (other - same) / 2;
      const auto is_same = mirror.judge.same_at(middle, limit_);
      if (!is_same) return is_same.map([](bool) { return std::uint64_t{0}; });
      (*is_same ? same : other) = middle;
    }
    return other;
  }

  /// Copies the mirror from there on into a stream of its own on this edge.
  bool keep_aside(const std::string& mirror, std::uint64_t from, std::uint64_t last) {
    const auto info = ask(info_of(here(mirror)));
    if (!info || !info->contains("config")) return false;
    const auto now = std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const std::string name = mirror + "_ASIDE_" + std::to_string(now);
    const Json wanted = {{"name", name}, {"storage", "file"}, {"num_replicas", 1}, {"retention", "limits"}, {"discard", "old"},
                         {"max_age", (*info)["config"].value("max_age", std::int64_t{0})},
                         {"sources", Json::array({Json{{"name", mirror}, {"opt_start_seq", from}}})}};
    const auto made = ask(js_api({}) + ".STREAM.CREATE." + name, wanted);
    if (!made || made->contains("error")) {
      left({Remedy::kRetry, Effect::kNone, "keep aside what only " + mirror + " has: " + (made ? js_error_text(*made) : made.error().message)});
      return false;
    }
    for (const auto end = Clock::now() + kAsideLimit; Clock::now() < end; std::this_thread::sleep_for(milliseconds(100))) {
      const auto there = ask(info_of(here(name)));
      if (!there || !there->contains("state") || number_in(*there, "messages") == 0) continue;
      const LeadersMessage newest = message_of(here(name), number_in(*there, "last_seq"));
      const LeadersMessage wanted_last = message_of(here(mirror), last);
      if (!newest.message || !wanted_last.message) continue;
      if (data_of(newest.message.get()) == data_of(wanted_last.message.get()) &&
          header_of(newest.message.get(), kId) == header_of(wanted_last.message.get(), kId)) {
        done("kept " + mirror + " from " + std::to_string(from) + " on as " + name);
        return true;
      }
    }
    (void)ask(js_api({}) + ".STREAM.DELETE." + name);
    left({Remedy::kRetry, Effect::kNone, "keep aside what only " + mirror + " has: not all of it came into " + name + " in time"});
    return false;
  }

  const NodeId self_;
  const std::string core_domain_;
  std::map<std::string, Mirror> mirrors_;
};

}  // namespace

std::string obstacle_in(natsMsg* message) {
  for (const std::string& name : header_names(message))
    if (name.starts_with(kExpected)) return name;
  return {};
}

MsgPtr copy_of(natsMsg* from, const std::string& id, std::int64_t stored_ns) {
  natsMsg* raw = nullptr;
  if (natsMsg_Create(&raw, natsMsg_GetSubject(from), nullptr, natsMsg_GetData(from), natsMsg_GetDataLength(from)) != NATS_OK) return nullptr;
  MsgPtr message(raw);
  for (const std::string& name : header_names(from)) {
    if (name.starts_with(kExpected) || name == kSourceHeader) continue;
    const char** values = nullptr;
    int count = 0;
    if (natsMsgHeader_Values(from, name.c_str(), &values, &count) != NATS_OK) continue;
    for (int i = 0; i < count; ++i) natsMsgHeader_Add(raw, name.c_str(), values[i]);
    free(values);
  }
  const bool nameless = header_of(raw, kId).empty();
  if (nameless) natsMsgHeader_Set(raw, kId, id.c_str());
  if (header_of(raw, kFirstStored).empty()) natsMsgHeader_Set(raw, kFirstStored, std::to_string(nameless ? 0 : stored_ns).c_str());
  return message;
}

bool Copies::Progress::stands_still(std::uint64_t now_at, bool all_there, Duration still) {
  if (now_at != at) mends = 0;
  if (now_at != at || all_there) at = now_at, since = Clock::now();
  return Clock::now() >= since + still;
}

void Copies::Progress::mended(Duration still) {
  mends = std::min(mends + 1, kMends);
  since = Clock::now();
  again = since + still * (1 << mends);
}

RouteWork Copies::tend(const RoutePlan& plan, Duration limit) {
  end_ = Clock::now() + kBudget;
  limit_ = limit;
  work_ = {};
  std::erase_if(away_, [](const auto& away) { return Clock::now() >= away.second; });
  std::vector<const RouteRule*> rules;
  for (const RouteRule& rule : plan.table)
    if (rule.cls == RouteClass::kReplicated) rules.push_back(&rule);
  for (std::size_t n = 0; n < rules.size() && app_->connected(); ++n) {
    const std::size_t at = (first_ + n) % rules.size();
    if (Clock::now() > end_) {
      first_ = at;
      break;
    }
    look(plan, *rules[at]);
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(views_, [&](const auto& view) { return std::ranges::none_of(rules, [&](const RouteRule* r) { return stream_of(*r) == view.first.first; }); });
  return std::move(work_);
}

std::vector<CopyView> Copies::views() const {
  const std::lock_guard lock(mutex_);
  std::vector<CopyView> out;
  for (const auto& [key, view] : views_) out.push_back(view);
  return out;
}

void Copies::saw(const std::string& rule_stream, CopyView view) {
  const std::lock_guard lock(mutex_);
  views_[{rule_stream, view.edge}] = std::move(view);
}

void Copies::saw_nothing(const std::string& rule_stream) {
  const std::lock_guard lock(mutex_);
  std::erase_if(views_, [&](const auto& view) { return view.first.first == rule_stream; });
}

void Copies::left(Error error) {
  if (work_.left) work_.left = tl::unexpected(std::move(error));
}

bool Copies::read(const StreamAt& stream, const std::string& server, std::uint64_t from, std::uint64_t to, const Give& give, bool heads_only) {
  if (from > to) return true;
  const auto take = [&](natsSubscription* subscription) {
    for (;;) {
      natsMsg* raw = nullptr;
      if (natsSubscription_NextMsg(&raw, subscription, to_wait_ms(limit_)) != NATS_OK) return false;
      const MsgPtr message(raw);
      const auto delivery = parse_ack_subject(natsMsg_GetReply(raw));
      if (!delivery) return false;
      if (delivery->sequence > to || !give({delivery->sequence, delivery->stored_ns, raw}) || delivery->sequence == to || delivery->pending == 0) return true;
    }
  };
  const auto link = app_->handles().link();
  for (int i = 0; i < kTriesForServer; ++i) {
    const std::string inbox = new_inbox();
    natsSubscription* raw = nullptr;
    if (natsConnection_SubscribeSync(&raw, link->nc, inbox.c_str()) != NATS_OK) return false;
    natsSubscription_SetPendingLimits(raw, -1, -1);
    Subscription subscription;
    subscription.take(link, raw);
    const Json config = {{"deliver_subject", inbox}, {"deliver_policy", "by_start_sequence"}, {"opt_start_seq", from}, {"ack_policy", "none"},
                         {"headers_only", heads_only}, {"mem_storage", true}, {"num_replicas", 1}, {"inactive_threshold", 5 * kNs}};
    const auto made = ask(js_api(stream.domain) + ".CONSUMER.CREATE." + stream.name, {{"stream_name", stream.name}, {"config", config}});
    if (!made || made->contains("error")) return false;
    const bool right = server.empty() || leader_in(*made).empty() || leader_in(*made) == server;
    const bool all = right && (made->value("num_pending", std::uint64_t{1}) == 0 || take(subscription.get()));
    (void)ask(js_api(stream.domain) + ".CONSUMER.DELETE." + stream.name + "." + made->value("name", ""));
    if (right) return all;
  }
  return false;
}

Result<bool> Copies::put(natsMsg* message, jsErrCode* error) {
  jsPubOptions options{};
  jsPubOptions_Init(&options);
  options.MaxWait = to_wait_ms(limit_);
  jsPubAck* raw_ack = nullptr;
  const auto link = app_->handles().link();
  const natsStatus s = js_PublishMsg(&raw_ack, link->js, message, &options, error);
  const PubAckPtr ack(raw_ack);
  if (s != NATS_OK)
    return fail(Remedy::kRetry, std::string("put a message of ") + natsMsg_GetSubject(message) + " by hand: " + natsStatus_GetText(s), Effect::kMaybe);
  return !ack->Duplicate;
}

std::unique_ptr<CopyKeeper> make_mirror_copies(std::shared_ptr<Connection> app, NodeId self, std::string core_domain, Duration still) {
  return std::make_unique<MirrorCopies>(std::move(app), std::move(self), std::move(core_domain), still);
}

}  // namespace daarion
