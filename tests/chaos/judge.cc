#include "tests/chaos/judge.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <sstream>

namespace daarion::chaos {
namespace {
constexpr std::chrono::milliseconds kRounding{5};  // between the log's clock and the writers'
}

Strays strays_of(const std::vector<NodeWrites>& writes, const NodeId& holder, const std::vector<Promoted>& promoted) {
  struct One {
    Instant at;
    const NodeId* node;
    std::uint64_t n;
  };
  std::vector<One> all;
  for (const NodeWrites& w : writes)
    for (const dev::ProbeWrite& write : w.writes) all.push_back({write.at, &w.node, write.n});
  std::ranges::stable_sort(all, {}, &One::at);
  Strays out;
  NodeId now = holder;
  std::size_t next = 0;
  for (const One& one : all) {
    if (*one.node == now) continue;
    const auto to = std::ranges::find(promoted.begin() + static_cast<std::ptrdiff_t>(next), promoted.end(), *one.node, &Promoted::to);
    if (to != promoted.end() && to->at <= one.at + kRounding) {
      next = static_cast<std::size_t>(to - promoted.begin()) + 1;
      now = *one.node;
      continue;
    }
    if (out.count == 0) {
      out.node = *one.node;
      out.first = one.at;
    }
    out.last = one.at;
    out.numbers.push_back(one.n);
    ++out.count;
  }
  return out;
}

namespace {
constexpr std::int64_t kLateNs = 10'000'000'000;  // a completion may come so late after its decision

/// Epochs of decisions that the log says it has lost: lines of "41 PromotionDecided lease.postgres.12 epoch 7 <id>".
std::map<std::string, Epoch> lost_decisions(const std::vector<LogEvent>& events) {
  std::map<std::string, Epoch> out;
  for (const LogEvent& e : events) {
    const auto* regressed = std::get_if<LogRegressed>(&e.event.payload);
    std::istringstream lines(regressed ? regressed->known_lost : "");
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string sequence, type, subject, epoch, id;
      std::uint64_t number = 0;
      if (words >> sequence >> type >> subject >> epoch >> number >> id && type == "PromotionDecided") out.emplace(id, Epoch{number});
    }
  }
  for (const LogEvent& e : events) out.erase(to_text(e.event.header.id));  // known all the same
  return out;
}
}  // namespace

Promotions promotions_of(const std::vector<LogEvent>& events, std::int64_t zero_ns) {
  Promotions out;
  for (const LogEvent& e : events)
    if (const auto* decided = std::get_if<PromotionDecided>(&e.event.payload)) {
      if (decided->kind == DecisionKind::kKeep) continue;
      out.to.push_back({decided->to, Instant(Duration(e.stored_ns - zero_ns))});
      ++out.decided;
      out.loss_bytes += decided->loss_bytes;
      out.loss_unknown = out.loss_unknown || decided->evidence.end_unknown;
    }
  for (const auto& [id, epoch] : lost_decisions(events)) {
    const auto completed = std::ranges::find_if(events, [&](const LogEvent& e) { return e.event.header.epoch == epoch && std::holds_alternative<PromotionCompleted>(e.event.payload); });
    if (completed == events.end()) continue;
    out.to.push_back({completed->event.header.node, Instant(Duration(completed->stored_ns - kLateNs - zero_ns))});
    ++out.decided;
    out.loss_unknown = true;
  }
  std::ranges::stable_sort(out.to, {}, &Promoted::at);
  return out;
}

std::vector<std::string> epochs_given_again(const std::vector<LogEvent>& fresh, const std::vector<LogEvent>& lost) {
  std::set<SessionId> completed;
  for (const auto* events : {&fresh, &lost})
    for (const LogEvent& e : *events)
      if (const auto* done = std::get_if<PromotionCompleted>(&e.event.payload)) completed.insert(done->session);
  Epoch used;
  std::int64_t newest = 0;
  std::set<std::pair<Epoch, SessionId>> given;
  for (const LogEvent& e : lost) {
    newest = std::max(newest, e.stored_ns);
    const auto* decided = std::get_if<PromotionDecided>(&e.event.payload);
    if (decided != nullptr) given.emplace(e.event.header.epoch, decided->session);
    if (decided == nullptr || completed.contains(decided->session)) used = std::max(used, e.event.header.epoch);
  }
  std::vector<std::string> out;
  for (const LogEvent& e : fresh) {
    const auto* decided = std::get_if<PromotionDecided>(&e.event.payload);
    const Epoch epoch = e.event.header.epoch;
    if (decided == nullptr || epoch > used || e.stored_ns <= newest || given.contains({epoch, decided->session})) continue;
    out.push_back("event " + std::to_string(e.sequence.value) + " decides epoch " + std::to_string(epoch.value) + ", and the log has lost one of " + std::to_string(used.value));
  }
  return out;
}

std::string summary_of(const std::vector<LogEvent>& events) {
  std::map<std::string, int> count;
  for (const LogEvent& e : events) ++count[payload_name(e.event.payload)];
  std::string out;
  for (const auto& [name, n] : count) out += (out.empty() ? "" : ", ") + name + (n > 1 ? " x" + std::to_string(n) : "");
  return out.empty() ? "nothing" : out;
}

std::string each_of(const std::vector<LogEvent>& events) {
  std::string out;
  for (const LogEvent& e : events) out += " " + std::to_string(e.sequence.value) + " " + payload_name(e.event.payload) + " " + to_text(e.event.header.id);
  return events.empty() ? " nothing" : out;
}

}  // namespace daarion::chaos
