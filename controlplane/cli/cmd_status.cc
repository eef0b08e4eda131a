// status, nodes, resources, resource: what is, and what would be.
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <thread>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"
#include "controlplane/core/helper_role.h"

namespace daarion {
namespace {

std::string mark_of(const v1::NodeStatus& n) { return n.state() != "reachable" ? "?" : n.intent() != "active" ? "!" : ""; }

Table nodes_table(const v1::Status& s) {
  Table table({" ", "NODE", "ROLE", "STATE", "INTENT", "LAST HEARD", "REGION", "ADDRESS"});
  for (const v1::NodeStatus& n : s.nodes())
    table.row({mark_of(n), n.id(), n.role(), n.state(), n.intent(), n.id() == s.node() ? "itself" : n.state() == "unheard" ? "never" : ms_text(n.age_ms()) + " ago",
               n.region().empty() ? "-" : n.region(), n.address().empty() ? "-" : n.address()});
  return table;
}

bool is_reachable(const v1::Status& s, const std::string& node) {
  const auto at = std::ranges::find(s.nodes(), node, [](const v1::NodeStatus& n) { return n.id(); });
  return at == s.nodes().end() || at->state() == "reachable";
}

/// Of one whose engine elects by itself: its primary or leader, then every other process.
void add_observed_rows(const v1::Status& s, const v1::ResourceStatus& r, Table& table) {
  const std::string election = r.election() == 0 ? "-" : std::to_string(r.election());
  const bool heard = r.has_holder() && is_reachable(s, r.holder());
  if (!r.has_holder()) table.row({"!", r.id(), r.engine(), election, "-", "nobody is its primary", "-", "-", ""});
  else if (r.writable() || !r.holder_health().empty()) {
    const std::string role = r.holder_role().empty() ? "primary" : r.holder_role();
    table.row({!heard ? "*?" : r.holder_health().empty() ? "*" : "*!", r.id(), r.engine(), election, r.holder(), role + (r.paused() ? ", paused" : ""), "-", "-", r.holder_health()});
  }
  for (const v1::ReplicaView& v : r.replicas()) {
    const std::string mark = r.has_holder() && v.node() == r.holder() && !is_helper(v.role()) ? "*" : "";
    const bool well = v.health().empty();
    const std::string role = v.role() == kDumpRole ? v.role() + (v.identity().empty() ? "" : " of " + v.identity()) : well ? v.role() : v.role() + ", " + v.state();
    const char* counted = r.engine() == "nats" ? " msg" : r.engine() == "qdrant" ? " op" : " txn";
    const std::string distance = v.has_lag_transactions() ? std::to_string(v.lag_transactions()) + counted : bytes_text(v.lag_bytes());
    table.row({!is_reachable(s, v.node()) ? mark + "?" : well ? mark : mark + "!", r.id(), r.engine(), election, v.node(), role,
               v.lag_known() ? distance + ", " + ms_text(static_cast<std::int64_t>(v.lag_ms())) : "-", "-", v.health()});
  }
}

void add_rows(const v1::Status& s, const v1::ResourceStatus& r, Table& table) {
  if (!r.elected_by().empty()) return add_observed_rows(s, r, table);
  const std::string epoch = std::to_string(r.epoch());
  if (!r.has_holder()) {
    table.row({"!", r.id(), r.engine(), epoch, "-", "nobody holds it", "-", "-", ""});
  } else {
    const bool heard = is_reachable(s, r.holder());
    const std::string state = r.writable() ? "writable" : heard ? "not writable" : "unreachable";
    table.row({heard && !(r.writable() && r.holder_health().empty()) ? "*!" : heard ? "*" : "*?", r.id(), r.engine(), epoch, r.holder(), r.paused() ? state + ", paused" : state, "-", "-", r.holder_health()});
  }
  for (const v1::ReplicaView& v : r.replicas()) {
    const bool heard = is_reachable(s, v.node());
    const bool unexpected = v.state() == "primary" || v.state() == "foreign" || v.verdict().starts_with("diverged");
    table.row({!heard ? "?" : unexpected || !v.health().empty() ? "!" : "", r.id(), r.engine(), epoch, v.node(), heard ? v.state() : "unreachable",
               heard ? bytes_text(v.lag_bytes()) + ", " + ms_text(static_cast<std::int64_t>(v.lag_ms())) : "unknown", v.candidate() ? "yes" : "no",
               v.health().empty() ? v.verdict() : v.verdict() + "; " + v.health()});
  }
}

const std::vector<std::string> kResourceHeadings = {" ", "RESOURCE", "ENGINE", "EPOCH", "NODE", "STATE", "LAG", "CANDIDATE", "VERDICT"};

/// What the engines themselves say of what they are.
Table engines_table(const v1::ResourceStatus& r) {
  Table table({"NODE", "ROLE", "VERSION", "POSITION", "IDENTITY"});
  const auto add = [&](const std::string& node, const std::string& role, const std::string& version, const std::string& position, const std::string& identity) {
    const auto known = [](const std::string& text) { return text.empty() ? std::string("-") : text; };
    if (!(version + position + identity).empty()) table.row({node, known(role), known(version), known(position), known(identity)});
  };
  if (r.has_holder()) add(r.holder(), r.holder_role(), r.holder_version(), r.holder_position(), r.holder_identity());
  for (const v1::ReplicaView& v : r.replicas()) add(v.node(), v.role(), v.version(), v.position(), v.identity());
  return table;
}

Table resources_table(const v1::Status& s) {
  Table table(kResourceHeadings);
  for (const v1::ResourceStatus& r : s.resources()) add_rows(s, r, table);
  return table;
}

const std::string kNobody = "nobody can be promoted: ";  // how the decider's reason begins

/// "if node1 dies now: node2 in about 2.3 s, loss <= 4 kB; tolerates 1 more failure"
std::string what_if(const v1::Status& s, const v1::ResourceStatus& r) {
  if (!r.elected_by().empty())
    return r.id() + ": " + r.elected_by() + " decides who takes over; as " + r.observer() + " saw it at " + r.observed_at() + (r.source().empty() ? "" : " (" + r.source() + ")");
  const v1::IfHolderDies& d = r.if_holder_dies();
  const std::string who = r.has_holder() ? "if " + r.holder() + " dies now: " : r.id() + ", which nobody holds: ";
  const std::uint32_t more = s.quorum().failure_tolerance();
  std::string tolerance = more == 0 ? "tolerates no more failure" : "tolerates " + std::to_string(more) + " more failure" + (more > 1 ? "s" : "");
  if (r.paused() && d.has_to()) tolerance = "paused, so not before `daarionctl resume`; " + tolerance;
  const std::string prefix = s.resources_size() > 1 ? r.id() + ": " : "";
  const std::string reason = d.reason().starts_with(kNobody) ? d.reason().substr(kNobody.size()) : d.reason();
  if (!d.has_to()) return prefix + who + "nobody (" + reason + "); then: " + d.unblock() + "; " + tolerance;
  return prefix + who + d.to() + " in about " + ms_text(d.expected_ms()) + (d.loss_unknown() ? ", loss unknown; " : ", loss <= " + bytes_text(d.loss_bytes()) + "; ") + tolerance;
}

/// The next command, where there is one; the gravest thing first.
std::string hint(const v1::Status& s) {
  for (const v1::WaitStatus& w : s.waits())
    if (!w.unblock().empty()) return w.unblock();
  for (const v1::ResourceStatus& r : s.resources())
    if (r.elected_by().empty() && (!r.has_holder() || (!r.if_holder_dies().has_to() && !r.paused()))) return "daarionctl why-not " + r.id();
  if (!s.disagreeing().empty()) return "daarionctl replay";
  for (const v1::NodeStatus& n : s.nodes())
    if (n.state() != "reachable" && n.intent() != "retired") return "see why " + n.id() + " is silent: is daariond running there, does it reach its nats-servers?";
  for (const v1::ResourceStatus& r : s.resources())
    if (r.paused()) return "daarionctl resume --reason \"...\"";
  for (const v1::NodeStatus& n : s.nodes())
    if (n.intent() == "draining") return "daarionctl undrain " + n.id() + " --reason \"...\"";
  return {};
}

std::string status_text(const v1::Status& s) {
  Lines out;
  out.add("cluster " + s.cluster() + "  log " + s.log_id().substr(0, 8) + "  sequence " + std::to_string(s.sequence()) + "  digest " + s.digest().substr(0, 8) +
          "  quorum " + std::to_string(s.quorum().reachable()) + "/" + std::to_string(s.quorum().voters()) + "  status " + s.status() + "  (as " + s.node() +
          " sees it)");
  out.add("");
  out.add(nodes_table(s));
  out.add("");
  const Table resources = resources_table(s);
  resources.empty() ? out.add("no resource is led or observed by this control plane") : out.add(resources);
  out.add("");
  for (const v1::ResourceStatus& r : s.resources()) out.add(what_if(s, r));
  for (const v1::WaitStatus& w : s.waits())
    out.add("wait: " + (w.node().empty() || w.node() == s.node() ? "" : w.node() + ": ") + (w.resource().empty() ? "" : w.resource() + ": ") + w.what() + ", since " + w.since() + (w.unblock().empty() ? "" : "; unblock: " + w.unblock()));
  for (const std::string& w : s.warnings()) out.add("warning: " + w);
  for (const std::string& r : s.not_ready()) out.add("not ready: " + r);
  for (const std::string& n : s.notes()) out.add("note: " + n);
  if (const std::string next = hint(s); !next.empty()) out.add("HINT: " + next);
  return out.text();
}

ExitCode code_of(const v1::Status& s) { return s.status() == "degraded" ? ExitCode::kDegraded : ExitCode::kOk; }

enum class View { kStatus, kNodes, kResources, kResource };

ExitCode show(const Globals& globals, View view, const std::string& name, AdminClient& client, const v1::Status& s) {
  switch (view) {
    case View::kStatus:
      if (!print_data(globals, s)) print(status_text(s));
      return code_of(s);
    case View::kNodes: {
      v1::ListNodesResponse list;
      *list.mutable_nodes() = s.nodes();
      if (!print_data(globals, list)) print(nodes_table(s).text());
      return ExitCode::kOk;
    }
    case View::kResources: {
      v1::ListResourcesResponse list;
      *list.mutable_resources() = s.resources();
      if (!print_data(globals, list)) print(s.resources().empty() ? "no resource is led or observed by this control plane\n" : resources_table(s).text());
      return ExitCode::kOk;
    }
    case View::kResource: break;
  }
  v1::GetResourceRequest request;
  request.set_resource(name);
  const auto resource = client.call(request);
  if (!resource) return say(resource.error());
  if (!print_data(globals, *resource)) {
    Table table(kResourceHeadings);
    add_rows(s, *resource, table);
    std::string problems;
    for (const std::string& problem : resource->problems()) problems += "problem: " + clean(problem) + "\n";
    const Table engines = engines_table(*resource);
    print(table.text() + "\n" + (engines.empty() ? "" : engines.text() + "\n") + clean(what_if(s, *resource)) + "\n" + problems);
  }
  return ExitCode::kOk;
}

ExitCode once(const Globals& globals, View view, const std::string& name) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  return show(globals, view, name, **client, (*client)->first_status());
}

/// Again and again, also through a time without any server; ends with the process.
[[noreturn]] void watch(const Globals& globals, View view, const std::string& name, double every_s) {
  const bool terminal = isatty(STDOUT_FILENO) && globals.form == "table";
  for (bool first = true;; first = false) {
    if (terminal) print("\033[H\033[2J");
    else if (!first && globals.form != "json") print(globals.form == "yaml" ? "---\n" : "\n");
    once(globals, view, name);
    std::this_thread::sleep_for(std::chrono::duration<double>(every_s));
  }
}

void add_view(CLI::App& app, const Globals& globals, ExitCode& code, View view, const char* name, const char* help) {
  struct Options {
    std::string resource;
    double every_s = 2;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(name, help);
  if (view == View::kResource) command->add_option("resource", options->resource, "Its name, as in `daarionctl resources`")->required();
  CLI::Option* watching = command->add_option("-w,--watch", options->every_s, "Repeat every SEC seconds (2)")->expected(0, 1)->type_name("[SEC]")->check(CLI::Range(0.1, 3600.0));
  command->callback([options, watching, &globals, &code, view] {
    if (watching->count() > 0) watch(globals, view, options->resource, options->every_s);
    code = once(globals, view, options->resource);
  });
}

}  // namespace

void add_status(CLI::App& app, const Globals& globals, ExitCode& code) {
  add_view(app, globals, code, View::kStatus, "status",
           "The cluster: nodes, resources, what would happen if a holder died, what is waited for. Exit code 4 if it is degraded.\n"
           "Marks: * holder, ! unexpected, ? not heard.");
  add_view(app, globals, code, View::kNodes, "nodes", "The nodes: role, state, intent.");
  add_view(app, globals, code, View::kResources, "resources", "The resources: holder, replicas with lag, and whether each could be promoted.");
  add_view(app, globals, code, View::kResource, "resource", "One resource.");
}

}  // namespace daarion
