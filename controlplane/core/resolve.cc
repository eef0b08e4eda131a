#include "controlplane/core/resolve.h"

#include <algorithm>
#include <cstring>

#include "controlplane/core/subject.h"

namespace daarion {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);
enum Kind { kPlain, kDeadLetter, kNoSubject, kNoMember, kNoRule };

std::uint64_t mixed(std::uint64_t h) {
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 29);
}

/// Only spreads; both texts are compared.
std::uint64_t hash_of(std::string_view a, std::string_view b) {
  std::uint64_t h = a.size() * 31 + b.size();
  for (std::string_view text : {a, b}) {
    for (; text.size() >= 8; text.remove_prefix(8)) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data(), 8);
      h = mixed(h ^ word);
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, text.data(), text.size());
    h = mixed(h ^ rest);
  }
  return h | 1;  // 0: an empty slot
}

}  // namespace

std::string class_text(RouteClass cls) {
  return cls == RouteClass::kReplicated ? "replicated" : cls == RouteClass::kNodeLocal ? "node_local" : "edge_local";
}
std::string class_text(const Resolution& r) { return r.covered ? class_text(r.cls) : "uncovered"; }

Resolver::Resolver(RoutePlan plan) : plan_(std::move(plan)), branches_(1), slots_(kSlots) {
  for (const NodeId& node : plan_.core) members_[node.value] = false;
  for (const NodeId& node : plan_.edges) members_[node.value] = true;
  std::size_t local = 0;  // patterns of {node_id} stand in the plan in the rules' order
  for (std::size_t i = 0; i < plan_.table.size(); ++i) {
    const RouteRule& rule = plan_.table[i];
    if (rule.cls != RouteClass::kNodeLocal) {
      for (const std::string& pattern : rule.subjects) add(i, pattern, {});
      continue;
    }
    const std::size_t patterns = members_.empty() ? 0 : rule.subjects.size() / members_.size();
    for (std::size_t p = 0; p < patterns && local < plan_.local.size(); ++p, ++local)
      for (const auto& [node, edge] : members_) add(i, with_node(plan_.local[local], node), NodeId(node));
  }
}

void Resolver::add(std::size_t rule, std::string pattern, NodeId node) {
  const std::size_t entry = entries_.size();
  std::size_t at = 0;
  bool tail = false;
  for (const std::string_view token : tokens_of(pattern)) {
    if (token == ">") {
      tail = true;
      break;
    }
    std::optional<std::size_t> next;
    if (token == "*") {
      next = branches_[at].star;
    } else if (const auto there = branches_[at].literals.find(token); there != branches_[at].literals.end()) {
      next = there->second;
    }
    if (!next) {
      next = branches_.size();
      branches_.emplace_back();
      if (token == "*") branches_[at].star = next;
      else branches_[at].literals.emplace(token, *next);
    }
    at = *next;
    if (!branches_[at].nearest) branches_[at].nearest = entry;
  }
  // The first rule of the file keeps a pattern that stands twice.
  std::optional<std::size_t>& leaf = tail ? branches_[at].tail : branches_[at].end;
  if (!leaf) leaf = entry;
  entries_.push_back({rule, std::move(pattern), std::move(node)});
}

/// Of all patterns that take the subject, the one of the first rule.
void Resolver::walk(std::size_t branch, const std::vector<std::string_view>& tokens, std::size_t at, Found& found) const {
  const Branch& b = branches_[branch];
  const auto take = [&](const std::optional<std::size_t>& entry) {
    if (entry && (!found.entry || entries_[*entry].rule < entries_[*found.entry].rule)) found.entry = entry;
  };
  if (b.nearest) found.nearest = b.nearest;
  if (at == tokens.size()) return take(b.end);
  take(b.tail);
  if (b.star) walk(*b.star, tokens, at + 1, found);
  if (const auto next = b.literals.find(tokens[at]); next != b.literals.end()) walk(next->second, tokens, at + 1, found);
}

Resolver::Found Resolver::find(std::string_view subject) const {
  Found found;
  walk(0, tokens_of(subject), 0, found);
  return found;
}

const Resolution& Resolver::resolve(std::string_view subject, const NodeId& origin) {
  const std::uint64_t hash = hash_of(subject, origin.value);
  Slot* to = nullptr;
  for (std::size_t i = 0; i < kProbes; ++i) {
    Slot& slot = slots_[(hash + i) & (kSlots - 1)];
    if (slot.hash == hash && slot.subject == subject && slot.origin == origin.value) return *slot.found;
    if (slot.hash == 0) {
      to = &slot;
      break;
    }
  }
  // All of the subject's places are taken: the first one goes to it.
  if (to == nullptr) to = &slots_[hash & (kSlots - 1)];
  const Resolution& found = outcome(subject, origin);
  *to = {hash, std::string(subject), origin.value, &found};
  return found;
}

const Resolution& Resolver::outcome(std::string_view subject, const NodeId& origin) {
  const auto kept = [&](std::size_t entry, const std::string& node, int kind, const auto& make) -> const Resolution& {
    std::unique_ptr<Resolution>& there = outcomes_[{entry, node, kind}];
    if (!there) there = std::make_unique<Resolution>(make());
    return *there;
  };
  if (!is_subject(subject))
    return kept(kNone, "", kNoSubject, [&] { return uncovered("no message can be published under it: a subject has no empty token, no white space and no wildcard"); });
  if (!members_.contains(origin.value)) return kept(kNone, "", kNoMember, [&] { return uncovered("it is published on no member of the cluster"); });
  const Found found = find(subject);
  if (!found.entry) {
    const std::size_t nearest = found.nearest.value_or(kNone);
    return kept(nearest, "", kNoRule, [&] {
      if (nearest == kNone) return uncovered("no rule covers it");
      const Entry& near = entries_[nearest];
      return uncovered("no rule covers it; the nearest is " + near.pattern + " of rule " + plan_.table[near.rule].name);
    });
  }
  const bool dead_letter = is_dead_letter(subject);
  return kept(*found.entry, origin.value, dead_letter ? kDeadLetter : kPlain, [&] { return covered(entries_[*found.entry], origin, dead_letter); });
}

Resolution Resolver::uncovered(std::string why) const {
  Resolution out;
  out.reason = std::move(why);
  return out;
}

Resolution Resolver::covered(const Entry& entry, const NodeId& origin, bool dead_letter) const {
  const RouteRule& rule = plan_.table[entry.rule];
  const bool on_edge = members_.find(origin.value)->second;
  Resolution out{.covered = true, .cls = rule.cls, .rule = rule.name, .stream = {}, .mirror = {}, .nodes = {}, .service = rule.service, .capability = rule.capability,
                 .dead_letter = dead_letter, .reason = "rule " + rule.name + " takes " + entry.pattern + ": "};
  switch (rule.cls) {
    case RouteClass::kReplicated:
      out.stream = on_edge ? edge_stream_of(rule, origin) : stream_of(rule);
      if (on_edge) out.mirror = mirror_of(rule);
      out.nodes = plan_.core;
      out.nodes.insert(out.nodes.end(), plan_.edges.begin(), plan_.edges.end());
      out.reason += on_edge ? "captured by " + out.stream + " on " + origin.value + ", taken in by " + stream_of(rule) + " of the core"
                            : "captured by " + out.stream + " in the core";
      out.reason += plan_.edges.empty() ? "" : ", mirrored by every edge";
      break;
    case RouteClass::kNodeLocal:
      if (entry.node == origin) out.nodes = {origin};
      out.reason += entry.node == origin ? "it stays on " + origin.value : "local to " + entry.node.value + ": " + origin.value + " may not publish it";
      break;
    case RouteClass::kEdgeLocal:
      out.nodes = on_edge ? std::vector{origin} : plan_.core;
      out.reason += "it stays in " + (on_edge ? origin.value : std::string("the core")) + ", no leaf link passes it";
      break;
  }
  if (dead_letter) out.reason += "; a dead letter, kept and never taken for work";
  return out;
}

}  // namespace daarion
