// resolve and routes: where a subject goes and why, the route table, and what another cluster file would change of it.
#include <CLI/CLI.hpp>

#include <fstream>
#include <sstream>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

template <class Texts>
std::string joined(const Texts& texts, const std::string& none = "-") {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out.empty() ? none : out;
}

void print_resolution(const v1::Resolution& r) {
  Lines out;
  out.add("subject  " + r.subject() + ", published on " + r.from());
  out.add("class    " + r.class_() + (r.dead_letter() ? ", a dead letter" : ""));
  if (r.class_() != "uncovered") {
    out.add("rule     " + r.rule());
    out.add("stream   " + or_dash(r.stream()) + (r.mirror().empty() ? "" : ", and its mirror " + r.mirror()));
    out.add("nodes    " + joined(r.nodes(), "none"));
    out.add("service  " + or_dash(r.service()) + (r.service_nodes_size() == 0 ? "" : ", active on " + joined(r.service_nodes())) +
            (r.service_readers_size() > r.service_nodes_size() ? ", read on " + joined(r.service_readers()) : ""));
    if (!r.capability().empty()) out.add("provider " + (r.provider().empty() ? "nobody" : r.provider()) + ", of " + r.capability());
  }
  out.add("why      " + r.reason());
  print(out.text());
}

ExitCode resolve(const Globals& globals, const std::string& subject, const std::string& from) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  v1::ResolveRequest request;
  request.set_subject(subject);
  request.set_from(from);
  const auto answer = (*client)->call(request);
  if (!answer) return say(answer.error());
  if (!print_data(globals, *answer)) print_resolution(*answer);
  return ExitCode::kOk;
}

void print_table(const v1::RouteTable& table) {
  Lines out;
  const std::string stands = "route table " + std::to_string(table.version()) + ", event " + std::to_string(table.sequence());
  out.add(table.version() == 0 ? "no route table in the log yet" : stands);
  Table rules({"RULE", "CLASS", "STREAM", "SERVICE", "SUBJECTS"});
  for (const v1::RouteEntry& r : table.rules()) rules.row({r.rule(), r.class_(), or_dash(r.stream()), or_dash(r.service()), joined(r.subjects())});
  if (!rules.empty()) out.add(rules);
  Table nodes({"NODE", "SITE", "REGION"});
  for (const v1::RouteNode& n : table.nodes()) nodes.row({n.id(), n.site(), n.region()});
  if (!nodes.empty()) out.add(nodes);
  print(out.text());
}

ExitCode routes(const Globals& globals) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const auto table = (*client)->call(v1::GetRoutesRequest{});
  if (!table) return say(table.error());
  if (!print_data(globals, *table)) print_table(*table);
  return ExitCode::kOk;
}

ExitCode plan(const Globals& globals, const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return say({ExitCode::kUsage, "read " + path + ": no such file or no right to read it; --plan names a cluster file"});
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  v1::PlanRoutesRequest request;
  request.set_text(text.str());
  const auto plan = (*client)->call(request);
  if (!plan) return say(plan.error());
  if (plan->findings_size() > 0)
    return say({ExitCode::kUsage, path + " has " + std::to_string(plan->findings_size()) + " errors, the first: " + plan->findings(0).message() +
                                      "; see `daarionctl lint " + path + "`"});
  if (print_data(globals, *plan)) return ExitCode::kOk;
  Lines out;
  for (const std::string& line : plan->changes()) out.add(line);
  if (plan->changes_size() == 0) out.add("no change of the routes");
  print(out.text());
  return ExitCode::kOk;
}

}  // namespace

void add_routes(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto subject = std::make_shared<std::string>(), from = std::make_shared<std::string>(), file = std::make_shared<std::string>();
  CLI::App* one = app.add_subcommand("resolve", "Where a subject goes when a node publishes it: class, stream, nodes, service, rule, and why.");
  one->add_option("subject", *subject, "As it is published: message.created")->required()->type_name("SUBJECT");
  one->add_option("--from", *from, "The node that publishes it; default: the node that is asked")->type_name("NODE");
  one->callback([subject, from, &globals, &code] { code = resolve(globals, *subject, *from); });
  CLI::App* all = app.add_subcommand("routes", "The route table of the log. With --plan: what a cluster file would change of it, and what stands in its way. Changes nothing.");
  all->add_option("--plan", *file, "A cluster file")->type_name("FILE");
  all->callback([file, &globals, &code] { code = file->empty() ? routes(globals) : plan(globals, *file); });
}

}  // namespace daarion
