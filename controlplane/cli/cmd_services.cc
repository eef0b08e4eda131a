// services and capabilities: who serves, how each place is, and who provides what.
#include <CLI/CLI.hpp>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

/// "*" where it is active, "!" what is not as it should be, "?" what nobody knows.
std::string mark_of(const v1::ServicePlaceView& p) {
  if (!p.reachable() || p.health() == "broken" || p.health() == "maintenance" || p.health() == "degraded" || p.flapping()) return "!";
  if (p.check_broken() || (p.health() == "unknown" && p.state() == "active")) return "?";
  return p.state() == "active" ? "*" : " ";
}

std::string cause_of(const v1::ServicePlaceView& p) {
  std::string out = p.cause();
  const auto add = [&](const std::string& what) { out = what + (out.empty() ? "" : "; " + out); };
  if (p.check_broken()) add("its check is broken");
  if (p.flapping()) add("flapping");
  if (p.intent() != "active") add("the node is " + p.intent());
  if (!p.reachable()) add("the node is unreachable");
  return or_dash(out);
}

void print_services(const v1::ServiceList& list) {
  Lines out;
  Table table({"SERVICE", "PORT", "NODE", "STATE", "DECLARED", "HEALTH", "CAUSE"});
  std::string hint;
  for (const v1::ServiceView& s : list.services()) {
    for (const v1::ServicePlaceView& p : s.places()) {
      if (p.declared() == "off") continue;
      table.row({s.name(), s.port() == 0 ? "-" : std::to_string(s.port()), mark_of(p) + p.node(), p.state(), p.declared(), p.health(), cause_of(p)});
      if (hint.empty() && p.check_broken()) hint = "the check of " + s.name() + " says nothing of it: mend `services." + s.name() + "` of the cluster file";
    }
    if (s.active_size() == 0 && s.name() != "gpu") hint = "nobody serves " + s.name() + ": see `daarionctl events`";
  }
  if (table.empty()) out.add("no services are declared");
  else out.add(table);
  if (!hint.empty()) out.add("HINT " + hint);
  print(out.text());
}

void print_capabilities(const v1::CapabilityList& list) {
  Lines out;
  Table table({"CAPABILITY", "AGENT", "PROVIDER", "CHAIN", "CAUSE"});
  for (const v1::CapabilityView& c : list.capabilities()) {
    std::string chain, cause;
    for (const v1::ProviderView& p : c.chain()) {
      chain += (chain.empty() ? "" : ", ") + std::string(p.provider() == c.provider() ? "*" : p.usable() ? "" : "!") + p.provider();
      if (!p.usable()) cause += (cause.empty() ? "" : "; ") + p.provider() + ": " + p.cause();
    }
    table.row({c.capability(), or_dash(c.agent()), or_dash(c.provider()), chain, or_dash(cause)});
  }
  if (table.empty()) out.add("no capabilities are declared");
  else out.add(table);
  print(out.text());
}

template <class Request, class Print>
ExitCode show(const Globals& globals, const Request& request, const Print& print) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const auto list = (*client)->call(request);
  if (!list) return say(list.error());
  if (!print_data(globals, *list)) print(*list);
  return ExitCode::kOk;
}

}  // namespace

void add_services(CLI::App& app, const Globals& globals, ExitCode& code) {
  CLI::App* services = app.add_subcommand("services", "Who serves: each service on each node, its state (* active), its health, and why.");
  services->callback([&globals, &code] { code = show(globals, v1::ListServicesRequest{}, print_services); });
  CLI::App* capabilities = app.add_subcommand("capabilities", "Who provides vision, image, llm.chat ...: the provider now (*), its chain, and what is not usable (!).");
  capabilities->callback([&globals, &code] { code = show(globals, v1::ListCapabilitiesRequest{}, print_capabilities); });
}

}  // namespace daarion
