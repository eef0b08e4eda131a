#include "clients/cpp/daarion_client.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "controlplane/core/subject.h"

namespace daarion::client {
namespace {

using Json = nlohmann::json;

Json list_of(const Json& table, const char* name) {
  const auto at = table.find(name);
  return at != table.end() && at->is_array() ? *at : Json::array();
}

/// Passes by what is not asked for.
class LettersReader final : public SiteReader {
 public:
  LettersReader(std::unique_ptr<SiteReader> all, Letters letters) : all_(std::move(all)), dead_(letters == Letters::kDead) {}
  Result<std::optional<SiteMessage>> next(Duration limit) override {
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
      auto message = all_->next(std::max(Duration{}, std::chrono::duration_cast<Duration>(end - std::chrono::steady_clock::now())));
      if (!message || !*message || is_dead_letter((*message)->subject) == dead_) return message;
    }
  }
  SitePosition position() const override { return all_->position(); }

 private:
  const std::unique_ptr<SiteReader> all_;
  const bool dead_;
};

}  // namespace

Result<Table> Table::parse(const std::string& text) try {
  const Json json = Json::parse(text);
  Table out;
  out.updated_ = json.at("updated").get<std::uint64_t>();
  for (const Json& node : list_of(json, "nodes")) out.nodes_.push_back({node.at("id"), node.at("site") != "core"});
  for (const Json& rule : list_of(json, "rules"))
    out.rules_.push_back({rule.at("rule"), rule.at("class"), rule.value("stream", ""), rule.value("mirror", ""), rule.value("service", ""), rule.value("capability", ""),
                          rule.at("subjects").get<std::vector<std::string>>()});
  for (const Json& service : list_of(json, "services")) out.services_.emplace_back(service.at("name"), service.at("active").get<std::vector<std::string>>());
  for (const Json& one : list_of(json, "capabilities")) out.providers_.push_back({one.at("capability"), one.value("agent", ""), one.value("provider", "")});
  return out;
} catch (const Json::exception& e) {
  return fail(Remedy::kFixInput, std::string("read a route table: ") + e.what());
}

const Table::Node* Table::node(std::string_view id) const {
  const auto at = std::ranges::find(nodes_, id, &Node::id);
  return at == nodes_.end() ? nullptr : &*at;
}

/// The rule has one pattern for each member: the node's own differs from each of the others' in the node's token alone.
bool Table::is_local_to(const Rule& rule, const std::string& pattern, std::string_view id) const {
  const std::vector<std::string_view> tokens = tokens_of(pattern);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] != id) continue;
    const bool everybody = std::ranges::all_of(nodes_, [&](const Node& other) {
      std::string theirs;
      for (std::size_t k = 0; k < tokens.size(); ++k) theirs.append(k == 0 ? "" : ".").append(k == i ? std::string_view(other.id) : tokens[k]);
      return std::ranges::find(rule.subjects, theirs) != rule.subjects.end();
    });
    if (everybody) return true;
  }
  return false;
}

Route Table::resolve(std::string_view subject, std::string_view from) const {
  Route out;
  const Node* const origin = node(from);
  if (origin == nullptr || !is_subject(subject)) return out;
  for (const Rule& rule : rules_) {
    const auto pattern = std::ranges::find_if(rule.subjects, [&](const std::string& p) { return matches(p, subject); });
    if (pattern == rule.subjects.end()) continue;
    out.cls = rule.cls;
    out.rule = rule.name;
    out.dead_letter = is_dead_letter(subject);
    out.service = rule.service;
    if (!rule.service.empty()) out.service_nodes = active(rule.service);
    out.capability = rule.capability;
    if (!rule.capability.empty()) out.provider = provider(rule.capability);
    const bool replicated = rule.cls == "replicated", local = rule.cls == "node_local";
    if (replicated) out.stream = origin->edge ? rule.stream + "_" + origin->id : rule.stream;
    if (replicated && origin->edge) out.mirror = rule.mirror;
    if (local && is_local_to(rule, *pattern, from)) out.nodes.push_back(origin->id);
    // The core's first, as everywhere.
    for (const bool edges : {false, true})
      for (const Node& n : nodes_)
        if (!local && n.edge == edges && (replicated || (origin->edge ? n.id == origin->id : !n.edge))) out.nodes.push_back(n.id);
    return out;
  }
  return out;
}

std::vector<std::string> Table::streams(std::string_view rule, std::string_view at) const {
  const auto found = std::ranges::find(rules_, rule, &Rule::name);
  const Node* const where = node(at);
  if (found == rules_.end() || where == nullptr || found->stream.empty()) return {};
  return where->edge ? std::vector{found->stream + "_" + where->id, found->mirror} : std::vector{found->stream};
}

std::vector<std::string> Table::active(std::string_view service) const {
  for (const auto& [name, nodes] : services_)
    if (name == service) return nodes;
  return {};
}

std::string Table::provider(std::string_view capability, std::string_view agent) const {
  const auto of = [&](std::string_view whose) {
    return std::ranges::find_if(providers_, [&](const Provider& p) { return p.capability == capability && p.agent == whose; });
  };
  auto at = agent.empty() ? providers_.end() : of(agent);
  if (at == providers_.end()) at = of("");
  return at == providers_.end() ? std::string() : at->provider;
}

Result<std::unique_ptr<Client>> Client::connect(const NatsEndpoint& own_server, std::string node, Duration limit) {
  auto app = Connection::open(own_server);
  if (!app) return tl::unexpected(app.error());
  const auto begun = std::chrono::steady_clock::now();
  if (auto up = (*app)->wait_connected(limit); !up) return tl::unexpected(up.error());
  std::unique_ptr<Client> out(new Client(*app, std::move(node)));
  std::unique_lock lock(out->mutex_);
  if (!out->came_.wait_until(lock, begun + limit, [&] { return out->table_ != nullptr; }))
    return fail(Remedy::kRetry, "wait for the cluster's route table: none came; see `daarionctl routes`");
  lock.unlock();
  return out;
}

Client::Client(std::shared_ptr<Connection> app, std::string node) : app_(std::move(app)), node_(std::move(node)) {
  follower_ = follow_table(app_, [this](const std::string& text) { take(text); });
}

void Client::take(const std::string& text) {
  auto parsed = Table::parse(text);
  if (!parsed) return;  // of software that is to come: the one that is here stands
  const std::lock_guard lock(mutex_);
  table_ = std::make_shared<const Table>(std::move(*parsed));
  came_.notify_all();
}

std::shared_ptr<const Table> Client::table() const {
  const std::lock_guard lock(mutex_);
  return table_;
}

bool Client::await_table_after(std::uint64_t updated, Duration limit) const {
  std::unique_lock lock(mutex_);
  return came_.wait_for(lock, limit, [&] { return table_ && table_->updated() > updated; });
}

std::unique_ptr<SiteReader> Client::read(std::string_view rule, SitePosition from, Letters letters) const {
  std::vector<std::string> streams = table()->streams(rule, node_);
  return streams.empty() ? nullptr : std::make_unique<LettersReader>(read_site(app_, std::move(streams), std::move(from)), letters);
}

}  // namespace daarion::client
