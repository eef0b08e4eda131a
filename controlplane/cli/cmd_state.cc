// state: everything that the log said up to a sequence or a time, folded again on the server.
#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return "-";
  const std::string text = at->is_string() ? at->get<std::string>() : at->dump();
  return text.empty() ? "-" : text;
}

std::uint64_t number_of(const Json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

void print_state(const v1::StateAt& at, const Json& state) {
  Lines out;
  out.add("state at sequence " + std::to_string(at.sequence()) + ", " + at.time() + " (log time)");
  out.add("cluster " + text_of(state["log"], "cluster") + "  log " + text_of(state["log"], "log"));
  out.add("digest  " + at.digest());
  out.add("chain   " + at.chain());
  out.add("");
  const auto add = [&](const Table& table) {
    if (table.empty()) return;
    out.add(table);
    out.add("");
  };
  Table members({"NODE", "ROLE", "REACHABLE", "INTENT", "CHANGED AT", "SOFTWARE", "REGION"});
  for (const auto& [id, m] : state["members"].items())
    members.row({id, text_of(m, "role"), m.value("reachable", false) ? "yes" : "no", text_of(m, "intent"), text_of(m, "changed"), text_of(m, "software"), text_of(m, "region")});
  add(members);
  Table leases({"RESOURCE", "EPOCH", "NAMED", "PHASE", "BY", "DECIDED AT", "LAST COMPLETED", "PAUSED"});
  for (const auto& [id, l] : state["leases"].items()) {
    const Json& done = l["completed"];
    bool paused = false;
    for (const char* about : {"cluster", id.c_str()})
      if (const auto o = state["operators"].find(about); o != state["operators"].end()) paused = paused || number_of(*o, "paused") > number_of(*o, "resumed");
    leases.row({id, text_of(l, "epoch"), text_of(l, "holder"), text_of(l, "phase"), text_of(l, "kind"), text_of(l, "decided"),
                done.is_object() && number_of(done, "epoch") ? text_of(done, "node") + " e" + text_of(done, "epoch") : "-", paused ? "yes" : "no"});
  }
  add(leases);
  Table replicas({"REPLICA", "STATUS", "METHOD", "SOURCE", "CHANGED AT"});
  for (const auto& [id, r] : state["replicas"].items()) replicas.row({id, text_of(r, "status"), text_of(r, "method"), text_of(r, "source"), text_of(r, "changed")});
  add(replicas);
  out.add("HINT: daarionctl state --at " + std::to_string(at.sequence()) + " -o json");
  print(out.text());
}

ExitCode run_state_at(const Globals& globals, const std::string& at) {
  v1::GetStateRequest request;
  if (at.find_first_not_of("0123456789") != std::string::npos) request.set_time(at);
  else if (at.size() > 19) return say({ExitCode::kUsage, "\"" + at + "\" is no sequence of the log"});
  else if (!at.empty()) request.set_sequence(std::stoull(at));
  if (!at.empty() && request.time().empty() && request.sequence() == 0) return say({ExitCode::kUsage, "sequences of the log begin at 1; see `daarionctl events`"});
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const auto answer = (*client)->call(request);
  if (!answer) return say(answer.error());
  const Json state = Json::parse(answer->state());
  if (globals.form == "table") {
    print_state(*answer, state);
    return ExitCode::kOk;
  }
  const Json out = {{"schema_version", 1}, {"sequence", answer->sequence()}, {"time", answer->time()}, {"digest", answer->digest()}, {"chain", answer->chain()}, {"state", state}};
  print_data(globals, out.dump());
  return ExitCode::kOk;
}

}  // namespace

void add_state(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto at = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("state", "Everything the log said up to a moment: folded again from its first event. -o json shows all of it.");
  command->add_option("--at", *at, "A sequence, or a log time like 2026-11-24T01:02:03Z; default: now")->type_name("SEQ|TIME");
  command->callback([at, &globals, &code] { code = run_state_at(globals, *at); });
}

}  // namespace daarion
