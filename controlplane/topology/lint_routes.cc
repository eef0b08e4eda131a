#include "controlplane/topology/lint_routes.h"

#include <algorithm>
#include <set>

#include "controlplane/core/resolve.h"
#include "controlplane/core/routing.h"
#include "controlplane/core/subject.h"
#include "controlplane/topology/nearest.h"

namespace daarion {
namespace {

// What is NATS's own or ours; a rule that takes of it would store protocol, or break it.
constexpr const char* kReserved[] = {"$JS.>", "$KV.>", "$OBJ.>", "$SYS.>", "_INBOX.>", "cluster.>", "_route.>"};
constexpr std::size_t kMaxRuleName = 24;  // a stream's name is a file's name with the edge's id and a suffix beside it

std::string gib(std::uint64_t bytes) { return std::to_string((bytes + (1ull << 30) - 1) >> 30) + " GiB"; }

class RouteLinter {
 public:
  explicit RouteLinter(const ClusterFile& file) : f_(file) {}

  std::vector<Finding> run() {
    for (const RouteRule& rule : f_.spec.routes) one(rule);
    overlaps();
    stream_names();
    sizes();
    read_as();
    return std::move(out_);
  }

 private:
  void say(Severity severity, std::string rule, const std::string& key, std::string message) {
    const int line = f_.line_of(key);
    out_.push_back({severity, std::move(rule), line != 0 ? line : f_.line_of("routing"), std::move(message)});
  }
  void error(std::string what, const RouteRule& rule, const std::string& message) {
    say(Severity::kError, std::move(what), "routing." + rule.name, "routing rule " + rule.name + ": " + message);
  }

  void one(const RouteRule& rule) {
    if (!is_valid_id(rule.name) || rule.name.size() > kMaxRuleName)
      error("route_name", rule, "a rule's name is lower-case letters, digits, _ and -, at most " + std::to_string(kMaxRuleName));
    if (rule.subjects.empty()) error("route_subjects", rule, "no subjects; name what it takes");
    for (const std::string& subject : rule.subjects) pattern(rule, subject);
    if (rule.cls != RouteClass::kReplicated) {
      if (rule.max_age_s != 0 || rule.max_bytes != 0 || rule.replicas != 0 || !rule.consumers.empty())
        error("route_not_stored", rule, class_text(rule.cls) + " messages are not stored; take max_age, max_bytes, replicas and consumers away");
    } else {
      stored(rule);
    }
    service(rule);
  }

  void pattern(const RouteRule& rule, const std::string& subject) {
    const std::string meant = with_node(as_prefix(subject), "node");
    if (!is_pattern(meant)) return error("route_pattern", rule, subject + " is no pattern: tokens between dots, * or a last > as whole tokens");
    if (rule.cls == RouteClass::kNodeLocal && !has_node_token(subject))
      error("route_node_token", rule, subject + " is local to a node but does not say to which; write {node_id} where its id stands");
    if (rule.cls != RouteClass::kNodeLocal && has_node_token(subject))
      error("route_node_token", rule, subject + " has {node_id}, which only node_local rules may have");
    for (const char* reserved : kReserved)
      if (overlap(meant, reserved)) return error("route_reserved", rule, subject + " would take of " + reserved + ", which is not the services'");
  }

  void stored(const RouteRule& rule) {
    const std::size_t servers = f_.spec.voters.size();
    if (rule.replicas == 2) error("route_r2", rule, "replicas: 2 refuses writes as soon as one dies; write 1 or 3");
    else if (rule.replicas > servers)
      error("route_replicas", rule, "replicas: " + std::to_string(rule.replicas) + " on " + std::to_string(servers) + " core servers; it cannot exceed them");
    if (rule.max_age_s == 0 && rule.max_bytes == 0)
      say(Severity::kWarning, "route_unbounded", "routing." + rule.name, "routing rule " + rule.name + ": neither max_age nor max_bytes; its stream fills the disk");
    for (auto at = rule.consumers.begin(); at != rule.consumers.end(); ++at) {
      const std::string filter = as_prefix(at->second);
      if (!is_valid_id(at->first)) error("route_consumer", rule, "consumer " + at->first + ": its name is lower-case letters, digits, _ and -");
      const bool within = is_pattern(filter) && std::ranges::any_of(rule.subjects, [&](const std::string& s) { return is_pattern(s) && covers(as_prefix(s), filter); });
      if (!within) error("route_consumer", rule, "consumer " + at->first + " takes " + at->second + ", which is not within the rule's subjects");
      if (within) dead_letters(rule, at->first, at->second);
      for (auto other = rule.consumers.begin(); within && other != at; ++other)
        if (is_pattern(other->second) && overlap(as_prefix(other->second), filter))
          error("route_worked_twice", rule, "consumers " + other->first + " and " + at->first + " both take " + at->second + "; each of its messages would be worked on twice");
    }
  }

  /// A consumer that takes all of a pattern takes its dead letters too, which end in dlq: each would be worked on, fail, and be put back again.
  void dead_letters(const RouteRule& rule, const std::string& name, const std::string& filter) {
    const std::string takes = as_prefix(filter);
    if (is_dead_letter(takes)) return;  // who looks after them
    for (const std::string& subject : rule.subjects) {
      const std::string meant = as_prefix(subject);
      if (!is_pattern(subject) || !covers(takes, meant) || !(meant.ends_with('>') || meant.ends_with('*'))) continue;
      const std::string begin = meant.substr(0, meant.rfind('.') + 1);
      say(Severity::kWarning, "route_dead_letters", "routing." + rule.name,
          "routing rule " + rule.name + ": consumer " + name + " takes all of " + meant + ", and its dead letters as work; name work by a token of its own, as " +
              begin + "requested.*, and dead letters under another, as " + begin + "failed.dlq");
      return;
    }
  }

  void service(const RouteRule& rule) {
    std::vector<std::string> services, capabilities;
    for (const ServiceSpec& s : f_.spec.services) services.push_back(s.name);
    for (const auto& [capability, chain] : f_.spec.capabilities) capabilities.push_back(capability);
    declared(rule, "service", rule.service, services);
    declared(rule, "capability", rule.capability, capabilities);
  }
  void declared(const RouteRule& rule, const std::string& what, const std::string& name, const std::vector<std::string>& known) {
    if (name.empty() || std::ranges::find(known, name) != known.end()) return;
    const std::string near = nearest(name, known);
    error("route_" + what, rule, what + " " + name + " is not declared" + (near.empty() ? "" : "; did you mean " + near + "?"));
  }

  /// Patterns of all rules against each other: a message has one class and one stream.
  void overlaps() {
    struct Pattern {
      const RouteRule* rule;
      std::string declared, meant;
    };
    std::vector<Pattern> all;
    for (const RouteRule& rule : f_.spec.routes)
      for (const std::string& subject : rule.subjects) all.push_back({&rule, subject, with_node(as_prefix(subject), "*")});
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        if (!is_pattern(all[i].meant) || !is_pattern(all[j].meant) || !overlap(all[i].meant, all[j].meant)) continue;
        const std::string other = all[i].rule == all[j].rule ? "its own " : "rule " + all[j].rule->name + "'s ";
        error("route_overlap", *all[i].rule, all[i].declared + " and " + other + all[j].declared + " take the same subjects; a message has one stream and one class");
      }
  }

  void stream_names() {
    std::map<std::string, std::string> names;  // of each site alike
    for (const RouteRule& rule : f_.spec.routes) {
      std::vector<std::string> own = {stream_of(rule), mirror_of(rule)};
      for (const NodeSpec& node : f_.spec.nodes) own.push_back(edge_stream_of(rule, node.id));
      for (const std::string& name : own)
        if (const auto [there, fresh] = names.emplace(name, rule.name); !fresh && rule.cls == RouteClass::kReplicated)
          return error("route_stream_twice", rule, "its stream " + name + " is rule " + there->second + "'s too; rename one");
    }
  }

  void sizes() {
    const std::uint64_t core = rule_bytes(f_), edge = rule_bytes_on_edge(f_);
    if (core > 0)
      say(Severity::kNote, "retention", "routing", std::to_string(core >> 30) + " GiB of retention on every core node" + (f_.spec.witness.empty() ? "" : " and the witness"));
    if (f_.nats_max_file == 0) return;
    const auto check = [&](std::uint64_t bytes, const char* where) {
      if (bytes <= f_.nats_max_file) return false;
      say(Severity::kError, "route_disk", "control.nats.max_file",
          "the rules keep up to " + gib(bytes) + " on " + where + ", control.nats.max_file is " + gib(f_.nats_max_file) + "; raise it or lower max_bytes");
      return true;
    };
    const bool edges = std::ranges::any_of(f_.spec.nodes, [&](const NodeSpec& n) { return !in_core(f_.spec, n.id); });
    if (!check(core, "every core server") && edges) check(edge, "an edge's server (its own messages, and the mirror)");
  }

  void read_as() {
    std::string read;
    for (const RouteRule& rule : f_.spec.routes)
      for (const std::string& subject : rule.subjects)
        if (read_otherwise(subject) && rule.cls != RouteClass::kNodeLocal) read += (read.empty() ? "" : ", ") + subject;
    if (read.empty()) return;
    const std::string first = read.substr(0, read.find(','));
    const std::string rest = first.size() == read.size() ? "" : " (so " + read.substr(first.size() + 2) + ")";
    say(Severity::kNote, "read_as_prefix", "routing", first + " is read as " + as_prefix(first) + rest);
  }

  const ClusterFile& f_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> lint_routes(const ClusterFile& file) { return RouteLinter(file).run(); }

std::vector<Finding> lint_subjects(const ClusterFile& file, const std::vector<std::string>& subjects) {
  std::vector<Finding> out;
  if (file.spec.nodes.empty()) return out;
  Resolver resolver(plan_routes(file.spec));
  for (const std::string& subject : subjects) {
    const Resolution& r = resolver.resolve(subject, file.spec.nodes.front().id);
    if (!r.covered) out.push_back({Severity::kNote, "uncovered_subject", file.line_of("routing"), subject + " is uncovered: " + r.reason});
  }
  return out;
}

std::uint64_t rule_bytes(const ClusterFile& file) {
  std::uint64_t bytes = 0;
  for (const RouteRule& rule : file.spec.routes)
    if (rule.cls == RouteClass::kReplicated) bytes += rule.max_bytes;
  return bytes;
}

std::uint64_t rule_bytes_on_edge(const ClusterFile& file) { return 2 * rule_bytes(file); }

}  // namespace daarion
