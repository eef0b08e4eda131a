#include "streams/route_copies.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <unordered_set>
#include <utility>

#include "streams/copy_handles.h"
#include "streams/source_numbers.h"

namespace daarion {
namespace {

constexpr std::uint64_t kNear = 32;        // newest messages asked for one by one: a consumer is a decision of the whole cluster
constexpr std::uint64_t kScan = 50'000;    // messages whose headers are read in one go
constexpr std::size_t kCarry = 500;        // messages put by hand in one call
constexpr int kSourceHeaderRefused = 10227;
constexpr std::uint64_t kFirstLook = 10'000;  // newest messages whose replicas are compared after a start: what happened before it, nobody saw
constexpr std::uint64_t kCountOtherwise = 1'000;  // by how much replicas may count otherwise
constexpr Duration kCompareEvery = std::chrono::hours(1);  // of replicas, where nothing was seen to happen
constexpr int kGapsEvery = 4;              // times what counts as standing still, between two looks at what sources passed by
constexpr Duration kClocks = std::chrono::seconds(5);  // by how much the servers' may differ

/// As nats-server names a source of another domain where it writes down what came from it.
std::string source_index(const std::string& origin, const std::string& domain) {
  static constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr std::size_t kLength = 8;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  const std::string api = js_api(domain);
  std::size_t size = 0;
  EVP_Q_digest(nullptr, "SHA256", nullptr, api.data(), api.size(), digest.data(), &size);
  std::string out = origin + ":";
  for (std::size_t i = 0; i < kLength; ++i) out += kDigits[digest[i] % kDigits.size()];
  return out;
}

/// "MESSAGE_node3:n1VdnVvB 20", and more after it with later servers.
std::optional<std::pair<std::string, std::uint64_t>> source_in(const std::string& header) {
  const std::size_t colon = header.find(':'), space = header.find(' ');
  if (colon == std::string::npos || space == std::string::npos || colon > space) return std::nullopt;
  return std::pair(header.substr(0, colon), std::strtoull(header.c_str() + space + 1, nullptr, 10));
}

class SourceCopies final : public Copies {
 public:
  SourceCopies(std::shared_ptr<Connection> app, NodeId self, Duration still) : Copies(std::move(app), still), self_(std::move(self)) {}

 private:
  /// What is known of a stream's messages by their headers: from which to which, and where each source is.
  struct Scanned {
    std::string created;
    std::uint64_t from = 0, to = 0;
    std::map<std::string, std::uint64_t> at;
  };
  struct Source {
    Progress progress;
    std::string created;         // of the origin, as it was seen last
    std::uint64_t seen = 0;      // its last message then
    std::uint64_t here = 0;      // up to this one all of it is here
    bool doubtful = false;       // it was made anew, or lost its newest, since then
    bool was_away = false;       // it did not answer when it was asked last
  };

  void look(const RoutePlan& plan, const RouteRule& rule) override {
    const std::string name = stream_of(rule);
    const auto info = ask(info_of(here(name)));
    if (!info || !info->contains("state") || !in_touch(*info)) {
      replicas_[name].seen.clear();
      return saw_nothing(name);
    }
    leader_ = leader_in(*info);
    tend_replicas(*info, name, mine(plan, *info));
    if (!mine(plan, *info)) {
      scanned_.erase(name);
      passed_.erase(name);
      std::erase_if(sources_, [&](const auto& source) { return source.first.first == name; });
      return saw_nothing(name);
    }
    for (const NodeId& edge : plan.edges)
      if (Clock::now() < end_) one(*info, name, edge);
    for (const NodeId& edge : plan.edges)
      if (Clock::now() < end_ && !away_.contains(edge.value)) push(*info, rule, edge);
    if (Clock::now() < end_) tend_gaps(*info, name, plan);
  }

  /// The leader's node looks after a stream; where the witness leads, which no application can ask, the first node that has a replica in step.
  bool mine(const RoutePlan& plan, const Json& info) const {
    if (leader_.empty() || leader_ == self_.value) return true;
    if (plan.is_member(NodeId(leader_))) return false;
    for (const NodeId& node : plan.core)
      for (const Json& replica : info["cluster"].value("replicas", Json::array()))
        if (replica.value("name", "") == node.value && replica.value("current", false) && !replica.value("offline", false)) return node == self_;
    return false;
  }

  void one(const Json& info, const std::string& name, const NodeId& edge) {
    CopyView view{.stream = name, .origin = edge_stream_of(name, edge), .edge = edge, .behind = {}};
    // What the core has is known first: what its origin has then is as much, or more.
    const auto origin = away_.contains(edge.value) ? fail(Remedy::kRetry, "away") : ask(info_of({app_, view.origin, edge.value}));
    Source& source = sources_[{name, edge}];
    if (!origin || !origin->contains("state")) {
      if (!origin) away_.try_emplace(edge.value, Clock::now() + still_ / 2);
      source.progress = {};
      source.was_away = true;
      return saw(name, view);
    }
    if (std::exchange(source.was_away, false)) look_for_gaps_soon(name);
    const std::uint64_t first = number_in(*origin, "first_seq"), last = number_in(*origin, "last_seq");
    const std::string created = origin->value("created", "");
    source.doubtful |= (!source.created.empty() && source.created != created) || last < source.seen;
    if (source.doubtful) source.here = 0;
    source.created = created;
    source.seen = last;
    view.behind = 0;
    if (last == 0 || source.here == last) {
      source.progress = {};
      return saw(name, view);
    }
    auto at = position(info, name, view.origin);
    if (at && (source.doubtful || *at > last)) {
      source.doubtful = true;
      at = common(info, view, first, last);
      if (at && *at == last) source.doubtful = false;
    }
    if (!at) {
      view.behind.reset();
      return saw(name, view);
    }
    view.behind = last - *at;
    if (*at == last) source.here = last;
    view.stands_still = source.progress.stands_still(*at, *at == last, still_) || source.doubtful;
    // What came by another way, and was refused as a repeat, has no number here.
    if (const auto known = view.stands_still ? common(info, view, std::max(first, *at + 1), last) : std::nullopt; known && *known == last) {
      source.here = last;
      source.doubtful = false;
      view.behind = 0;
      view.stands_still = false;
    }
    saw(name, view);
    if (view.stands_still && Clock::now() >= source.progress.again) mend(info, source, view, *origin, *at);
  }

  /// The newest message that came of it. Nothing: not known, or not yet.
  std::optional<std::uint64_t> position(const Json& info, const std::string& name, const std::string& origin) {
    for (const Json& source : info.value("sources", Json::array()))
      if (source.value("name", "") == origin && source.contains("seq")) return source["seq"].get<std::uint64_t>();
    const std::uint64_t first = number_in(info, "first_seq"), last = number_in(info, "last_seq");
    for (std::uint64_t back = 0; back < std::min(kNear, last); ++back) {
      const LeadersMessage near = message_of(here(name), last - back);
      const auto source = near.message ? source_in(header_of(near.message.get(), kSourceHeader)) : std::nullopt;
      if (source && source->first == origin) return source->second;
    }
    Scanned& known = scanned_[name];
    if (known.created != info.value("created", "") || known.to > last || last - known.to > kScan)
      known = {.created = info.value("created", ""), .from = last + 1, .to = last, .at = {}};
    if (known.to < last) {
      if (!read_sources(name, known.to + 1, last, known.at)) return std::nullopt;
      known.to = last;
    }
    while (!known.at.contains(origin) && known.from > std::max<std::uint64_t>(first, 1) && Clock::now() < end_) {
      const std::uint64_t from = std::max(first, known.from > kScan ? known.from - kScan : 1);
      std::map<std::string, std::uint64_t> older;
      if (!read_sources(name, from, known.from - 1, older)) return std::nullopt;
      known.at.merge(older);
      known.from = from;
    }
    if (const auto at = known.at.find(origin); at != known.at.end()) return at->second;
    // Nothing came of it, if nothing was let go: where it is then, nobody can say.
    return known.from <= 1 && first <= 1 ? std::optional<std::uint64_t>(0) : std::nullopt;
  }

  /// Before the first message that it has now and that is not here, by ids: of what it had before it was made anew, or lost its newest, nothing
  /// counts. What has no id is taken to be here if something of its number came without one.
  std::optional<std::uint64_t> common(const Json& info, const CopyView& view, std::uint64_t first, std::uint64_t last) {
    Ids ids;
    std::unordered_set<std::uint64_t> without;
    const bool ours = read_ids(info, view.stream, ids, [&](const Head& head) {
      if (const auto source = source_in(header_of(head.message, kSourceHeader)); source && source->first == view.origin) without.insert(source->second);
    });
    std::uint64_t missing = last + 1;
    const bool theirs = ours && read({app_, view.origin, view.edge.value}, {}, std::max<std::uint64_t>(first, 1), last, [&](const Head& head) {
      const std::string id = header_of(head.message, kId);
      if (id.empty() ? !without.contains(head.sequence) : !ids.contains(hash_of(id))) missing = head.sequence;
      return missing > last;
    });
    return theirs ? std::optional(missing - 1) : std::nullopt;
  }

  using Ids = std::unordered_set<std::size_t>;  // hashed: of all that a stream holds
  static std::size_t hash_of(const std::string& id) { return std::hash<std::string>{}(id); }
  /// The ids that the stream has at its leader; `nameless` is given what has none.
  bool read_ids(const Json& info, const std::string& name, Ids& ids, const std::function<void(const Head&)>& nameless = [](const Head&) {}) {
    return read(here(name), leader_, begin_of(info), number_in(info, "last_seq"), [&](const Head& head) {
      if (const std::string id = header_of(head.message, kId); !id.empty()) ids.insert(hash_of(id));
      else nameless(head);
      return true;
    });
  }

  /// The sources that these messages of ours came of.
  bool read_sources(const std::string& name, std::uint64_t from, std::uint64_t to, std::map<std::string, std::uint64_t>& out) {
    return read(here(name), leader_, from, to, [&](const Head& head) {
      if (const auto source = source_in(header_of(head.message, kSourceHeader))) out[source->first] = source->second;
      return true;
    });
  }

  /// Puts by hand what keeps it, and has the server begin anew behind that.
  void mend(const Json& info, Source& source, const CopyView& view, const Json& origin, std::uint64_t at) {
    const std::uint64_t first = number_in(origin, "first_seq"), last = number_in(origin, "last_seq");
    bool force = source.doubtful || source.progress.mends > 0;  // to begin anew alone does not help, or did not
    std::uint64_t n = std::max(at + 1, first);
    std::string header, subject;
    std::size_t put = 0, repeats = 0;
    for (; n <= last && put + repeats < kCarry && Clock::now() < end_; ++n) {
      const LeadersMessage next = message_of({app_, view.origin, view.edge.value}, n);
      if (static_cast<int>(next.error) == kNoMessage) continue;
      if (!next.message) return;
      const std::string obstacle = obstacle_in(next.message.get());
      if (obstacle.empty() && !force) break;
      const auto carried = carry(next.message.get(), view, n, origin);
      if (!carried && carried.error().remedy == Remedy::kFixInput) break;  // this server does by itself what it can
      if (!carried) return left(carried.error());
      if (!obstacle.empty()) header = obstacle, subject = natsMsg_GetSubject(next.message.get());
      ++(*carried ? put : repeats);
      force = put == 0;  // a repeat was not stored, so it says nothing of where the source is
    }
    if (n > last && put == 0 && repeats > 0) {  // all of it is here
      source.here = last;
      return;
    }
    const std::string why = header.empty() ? source.doubtful ? view.origin + " was made anew, or lost its newest messages" : "it stood still"
                                           : "messages of " + subject + " have the header " + header + ", which a source cannot take: publish without it";
    if (!begin_anew(info, view)) return;
    const std::string by_hand = put > 0 ? "; " + std::to_string(put) + " messages were put by hand" : "";
    done(view.stream + " takes in " + view.origin + " again from " + std::to_string(n) + ": " + why + by_hand);
    source.doubtful = false;
    source.progress.at = at;
    source.progress.mended(still_);
    scanned_.erase(view.stream);
  }

  /// Whether it was stored; false: it was there already. Errors: kFixInput: the server does not let anybody say where a message came from.
  Result<bool> carry(natsMsg* from, const CopyView& view, std::uint64_t n, const Json& origin) {
    // So that a second try is no second message.
    const MsgPtr message = copy_of(from, view.origin + "." + origin.value("created", "") + "." + std::to_string(n), natsMsg_GetTime(from));
    if (!message) return fail(Remedy::kRetry, "carry a message: no memory");
    natsMsg* const raw = message.get();
    natsMsgHeader_Set(raw, kSourceHeader, (source_index(view.origin, view.edge.value) + " " + std::to_string(n)).c_str());
    jsErrCode error{};
    const auto stored = put(raw, &error);
    if (static_cast<int>(error) == kSourceHeaderRefused) return fail(Remedy::kFixInput, "refused");
    return stored;
  }

  /// The source is taken out, and in again.
  bool begin_anew(const Json& info, const CopyView& view) {
    const Json config = info.at("config");
    Json without = config;
    without["sources"] = Json::array();
    for (const Json& one : config.value("sources", Json::array()))
      if (one.value("name", "") != view.origin) without["sources"].push_back(one);
    for (const Json* to : {&std::as_const(without), &config}) {
      const auto updated = ask(js_api({}) + ".STREAM.UPDATE." + view.stream, *to);
      if (updated && !updated->contains("error")) continue;
      left({Remedy::kRetry, Effect::kMaybe, "begin to source " + view.origin + " anew: " + (updated ? js_error_text(*updated) : updated.error().message)});
      return false;  // what is missing of the sources is put back with the plan
    }
    return true;
  }

  /// A source that has been begun anew is one that may have passed messages by. By then it goes on.
  void look_for_gaps_soon(const std::string& name) {
    Clock::time_point& due = passed_[name].due;
    due = std::min(due, Clock::now() + still_);
  }

  /// A source may pass messages by (seen with 2.9.10 where it had been begun anew). The number of the newest says nothing of that.
  void tend_gaps(const Json& info, const std::string& name, const RoutePlan& plan) {
    const std::uint64_t last = number_in(info, "last_seq");
    const std::string created = info.value("created", "");
    Passed& passed = passed_[name];
    if (passed.created != created || passed.numbers.next() > last + 1)
      passed = {.created = created, .leader = leader_, .numbers = SourceNumbers(last > kFirstLook ? last - kFirstLook : 1), .due = Clock::now() + still_};
    if (passed.leader != leader_) {
      const std::uint64_t next = passed.numbers.next();
      passed.numbers = SourceNumbers(next > kCountOtherwise ? next - kCountOtherwise : 1);
      passed.leader = leader_;
      passed.due = Clock::now() + still_;
    }
    if (Clock::now() < passed.due) return;
    passed.due = Clock::now() + kGapsEvery * still_;
    const std::uint64_t next = passed.numbers.next();
    const bool all = read(here(name), leader_, next, std::min(last, next + kScan), [&](const Head& head) {
      const auto source = source_in(header_of(head.message, kSourceHeader));
      passed.numbers.take(head.sequence, source ? source->first : "", source ? source->second : 0);
      return true;
    });
    if (!all || passed.numbers.gaps().empty()) return;
    Ids ids;
    if (!read_ids(info, name, ids)) return;
    for (const NodeId& edge : plan.edges)
      if (Clock::now() < end_ && !away_.contains(edge.value)) fill_gaps(name, edge, passed.numbers, ids);
  }

  /// Puts what the origin still has of it, and what is not here by its id.
  void fill_gaps(const std::string& name, const NodeId& edge, SourceNumbers& numbers, const Ids& ids) {
    const StreamAt origin{app_, edge_stream_of(name, edge), edge.value};
    const auto of_it = numbers.gaps().find(origin.name);
    if (of_it == numbers.gaps().end()) return;
    const auto info = ask(info_of(origin));
    if (!info || !info->contains("state")) return;
    std::size_t filled = 0;
    for (const auto& [gap, gap_end] : std::map(of_it->second)) {
      const std::uint64_t first = std::max(gap, begin_of(*info)), last = std::min(gap_end, number_in(*info, "last_seq"));
      std::vector<std::uint64_t> missing;
      const auto note = [&](const Head& head) {
        const std::string id = header_of(head.message, kId);
        if (!id.empty() && !ids.contains(hash_of(id))) missing.push_back(head.sequence);
        return missing.size() + filled < kCarry;
      };
      if (!read(origin, {}, first, last, note)) break;
      bool all = missing.size() + filled < kCarry;
      for (const std::uint64_t n : missing) {
        const LeadersMessage lost = message_of(origin, n);
        if (static_cast<int>(lost.error) == kNoMessage) continue;
        const MsgPtr message = lost.message ? copy_of(lost.message.get(), "", natsMsg_GetTime(lost.message.get())) : nullptr;
        const auto stored = message ? put(message.get()) : Result<bool>(false);
        if (!stored) left(stored.error());
        // Refused as a repeat of what is not here: it is taken once it is older.
        all &= stored.value_or(false);
        filled += stored.value_or(false) ? 1 : 0;
        if (!stored || Clock::now() > end_) break;
      }
      if (all && Clock::now() <= end_) numbers.forget(origin.name, gap);
      else break;
    }
    if (filled > 0) done(name + ": put " + std::to_string(filled) + " messages of " + origin.name + " that it had passed by");
  }

  /// A mirror that stands still before a message that it cannot take: the message is put again without its header, once nobody would take that for a
  /// repeat, and then deleted in its old place, which the mirror passes by.
  void push(const Json& info, const RouteRule& rule, const NodeId& edge) {
    const std::string name = stream_of(rule);
    const auto mirror = ask(info_of({app_, mirror_of(rule), edge.value}));
    if (!mirror || !mirror->contains("state")) return;
    const std::uint64_t last = number_in(info, "last_seq"), at = number_in(*mirror, "last_seq");
    if (!mirrors_[{name, edge}].stands_still(at, at >= last, still_) || at >= last) return;
    const LeadersMessage next = message_of(here(name), at + 1);
    if (!next.message || obstacle_in(next.message.get()).empty()) return;
    const Duration window(info["config"].value("duplicate_window", std::int64_t{0}));
    std::vector<std::uint64_t> obstacles;
    if (!read(here(name), leader_, at + 1, last, [&](const Head& head) {
          if (!obstacle_in(head.message).empty()) obstacles.push_back(head.sequence);
          return head.stored_ns <= old_enough_ns(window) && obstacles.size() < kCarry;
        })) return;
    std::size_t put_again = 0;
    for (const std::uint64_t sequence : obstacles) {
      const LeadersMessage old = message_of(here(name), sequence);
      if (!old.message || natsMsg_GetTime(old.message.get()) > old_enough_ns(window) || Clock::now() > end_) break;
      if (!same_everywhere(info, name, sequence, header_of(old.message.get(), kId))) break;
      const MsgPtr message = copy_of(old.message.get(), name + "." + std::to_string(sequence), natsMsg_GetTime(old.message.get()));
      const auto stored = message ? put(message.get()) : Result<bool>(false);
      if (!stored) return left(stored.error());
      if (!*stored) break;
      const auto gone = ask(js_api({}) + ".STREAM.MSG.DELETE." + name, {{"seq", sequence}, {"no_erase", true}});
      if (!gone) return left(gone.error());
      if (gone->contains("error")) return left({Remedy::kRetry, Effect::kNone, "delete message " + std::to_string(sequence) + " of " + name + ": " + js_error_text(*gone)});
      ++put_again;
    }
    const std::string what = no_mirror_takes(natsMsg_GetSubject(next.message.get()), obstacle_in(next.message.get()));
    const std::string many = std::to_string(put_again) + " messages";
    if (put_again > 0) return done(name + ": put again " + many + " at which the mirror of " + edge.value + " stood still: " + what);
    const std::string until = " until what stops it is old enough to be put again: ";
    left({Remedy::kFixInput, Effect::kNone, "the mirror of " + name + " on " + edge.value + " stands still at " + std::to_string(at) + until + what});
  }

  std::int64_t old_enough_ns(Duration window) const {
    return (std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()) - window - kClocks).count();
  }

  /// A message is deleted by its number: that is the same message at every replica.
  bool same_everywhere(const Json& info, const std::string& name, std::uint64_t sequence, const std::string& id) {
    if (!info.contains("cluster")) return true;
    for (const Json& replica : info["cluster"].value("replicas", Json::array())) {
      std::optional<std::string> there;
      const auto note = [&](const Head& head) { return there = header_of(head.message, kId), true; };
      if (!read(here(name), replica.value("name", ""), sequence, sequence, note) || there != id) return false;
    }
    return true;
  }

  /// When who leads or who is in step has changed, what came about then is compared, once nobody would take it for a repeat any more.
  void tend_replicas(const Json& info, const std::string& name, bool mine) {
    if (!info.contains("cluster") || !info["cluster"].contains("replicas")) return;
    std::set<std::string> servers = {leader_}, in_step;
    for (const Json& replica : info["cluster"]["replicas"]) {
      servers.insert(replica.value("name", ""));
      if (replica.value("current", false) && !replica.value("offline", false)) in_step.insert(replica.value("name", ""));
    }
    std::string seen = leader_ + ":";
    for (const std::string& server : in_step) seen += " " + server;
    Replicas& replicas = replicas_[name];
    const std::uint64_t last = number_in(info, "last_seq");
    const Duration window(info["config"].value("duplicate_window", std::int64_t{0}));
    if (seen != replicas.seen || Clock::now() > replicas.compared + kCompareEvery) {
      const std::uint64_t margin = replicas.quiet == 0 ? kFirstLook : kCountOtherwise, end = replicas.quiet == 0 ? last : replicas.quiet;
      const std::uint64_t from = end > margin ? end - margin : 1;
      replicas.from = replicas.from == 0 ? from : std::min(replicas.from, from);
      replicas.due = Clock::now() + window + kClocks + 2 * still_;
      replicas.compared = Clock::now();
      replicas.seen = std::move(seen);
      return;
    }
    if (replicas.from != 0) {
      if (Clock::now() < replicas.due || in_step.size() + 1 < servers.size()) return;
      const auto put_again = mine ? compare(name, servers, replicas.from, window) : 0;
      if (!put_again) return;
      // What came about together may not all have been old enough.
      if (*put_again > 0) return void(replicas.due = Clock::now() + window + kClocks + still_);
      replicas.from = 0;
    }
    replicas.quiet = last;
  }

  /// Puts again what not every replica has, with its id: each has it then, and who had it has it twice. Nothing is taken away. Returns how many; nothing:
  /// not all could be read, or put.
  /// What is younger than the window for repeats would be taken for one, by those who have it.
  std::optional<std::size_t> compare(const std::string& name, const std::set<std::string>& servers, std::uint64_t from, Duration window) {
    const std::int64_t until_ns = old_enough_ns(window);
    std::map<std::string, std::map<std::string, std::uint64_t>> held;  // server -> id -> sequence there
    std::map<std::string, std::int64_t> stored;                        // id -> when
    std::int64_t begin_ns = 0;  // what is older may stand before what was read of some replica
    for (const std::string& server : servers) {
      std::int64_t first_ns = 0;
      const bool all = read(here(name), server, from, std::numeric_limits<std::uint64_t>::max(), [&](const Head& head) {
        if (head.stored_ns > until_ns) return false;
        if (first_ns == 0) first_ns = head.stored_ns;
        if (const std::string id = header_of(head.message, kId); !id.empty()) held[server].emplace(id, head.sequence), stored.emplace(id, head.stored_ns);
        return true;
      });
      if (!all) return std::nullopt;
      begin_ns = std::max(begin_ns, first_ns);
    }
    std::vector<std::pair<std::int64_t, std::string>> missing;
    for (const auto& [id, ns] : stored)
      if (ns > begin_ns && std::ranges::any_of(servers, [&](const std::string& server) { return !held[server].contains(id); })) missing.emplace_back(ns, id);
    std::ranges::sort(missing);
    std::size_t put_again = 0;
    for (const auto& [ns, id] : missing) {
      const auto has = [&](const std::string& server) { return held[server].contains(id); };
      const std::string& server = has(leader_) ? leader_ : *std::ranges::find_if(servers, has);
      MsgPtr message;
      const std::uint64_t at = held[server].at(id);
      const auto take = [&](const Head& head) { return message = copy_of(head.message, id, head.stored_ns), true; };
      if (!read(here(name), server, at, at, take, false) || !message) return std::nullopt;
      const auto stored_again = put(message.get());
      if (!stored_again) return left(stored_again.error()), std::nullopt;
      put_again += *stored_again ? 1 : 0;
    }
    if (put_again > 0) done(name + ": put again " + std::to_string(put_again) + " messages that not every replica had");
    return put_again;
  }

  struct Passed {
    std::string created, leader;  // of the stream, when its messages were read
    SourceNumbers numbers;
    Clock::time_point due{};
  };
  struct Replicas {
    std::string seen;         // who led and who was in step at the last look
    std::uint64_t quiet = 0;  // the stream's end then; 0: none yet
    std::uint64_t from = 0;   // from where on replicas are to be compared; 0: they are not
    Clock::time_point due{}, compared = Clock::now();
  };

  const NodeId self_;
  std::string leader_;  // of the stream that is looked at
  std::map<std::string, Replicas> replicas_;
  std::map<std::pair<std::string, NodeId>, Progress> mirrors_;  // of the edges
  std::map<std::string, Scanned> scanned_;
  std::map<std::string, Passed> passed_;
  std::map<std::pair<std::string, NodeId>, Source> sources_;
};

}  // namespace

std::unique_ptr<CopyKeeper> make_source_copies(std::shared_ptr<Connection> app, NodeId self, Duration still) {
  return std::make_unique<SourceCopies>(std::move(app), std::move(self), still);
}

}  // namespace daarion
