// why and why-not: a decision of the log with its whole evidence, and the same rules on this moment.
#include <CLI/CLI.hpp>

#include <sstream>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

std::string ms(std::uint64_t n) { return ms_text(static_cast<std::int64_t>(n)); }

std::string votes_text(const v1::Explanation& e) {
  std::string out = "votes      " + std::to_string(e.votes_size()) + " of " + std::to_string(e.voters()) + " voters say that the promise is over; needed: " +
                    std::to_string(e.voters() / 2 + 1) + "\n";
  Table table({"VOTER", "OVER SINCE", "HEARD", "HIGHEST EPOCH"});
  for (const v1::VoteView& v : e.votes()) table.row({v.voter(), ms(v.over_ms()), ms(v.age_ms()) + " ago", std::to_string(v.highest_epoch())});
  return table.empty() ? out : out + table.text("           ");
}

std::string candidates_text(const v1::Explanation& e) {
  Table table({" ", "NODE", "RULE", "DETAIL", "LAG", "ENGINE", "LAST BEAT"});
  for (const v1::CandidateVerdict& c : e.candidates())
    table.row({c.node() == e.to() ? "*" : "", c.node(), c.rule(), c.detail(), bytes_text(c.lag_bytes()) + ", " + ms(c.lag_ms()), c.engine_state(), ms(c.beat_age_ms()) + " ago"});
  return "candidates\n" + (table.empty() ? "           none\n" : table.text("           "));
}

/// Every line of it once cleaned: reasons are text of strangers.
void print_lines(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) print(clean(line) + "\n");
}

std::string loss_text(const v1::Explanation& e) {
  std::string out = "loss       at most " + bytes_text(e.loss_bytes());
  if (e.write_rate() > 0) out += " (" + e.last_holder() + " wrote " + bytes_text(e.write_rate()) + "/s, last heard " + ms(e.last_position_age_ms()) + " before)";
  return out + "\n";
}

void print_why(const v1::Explanation& e) {
  std::string out = "event " + std::to_string(e.sequence()) + ": " + e.kind() + " of " + e.resource() + " to " + e.to() + ", epoch " + std::to_string(e.epoch()) + "\n";
  out += "when       " + e.time() + " (log time)\nreason     " + e.reason() + "\n";
  if (e.has_trigger()) out += "trigger    event " + std::to_string(e.trigger().sequence()) + ", " + e.trigger().type() + ": " + e.trigger().summary() + " (" + e.trigger().reason() + ")\n";
  else if (e.kind() == "failover") out += "trigger    the lease of " + (e.last_holder().empty() ? "the holder" : e.last_holder()) + " ran out\n";
  out += "decider    " + e.decider() + ", " + e.software() + ", for " + e.actor() + "\n" + votes_text(e) + candidates_text(e) + loss_text(e);
  out += e.agrees() ? "today      this software decides the same from the same evidence\n" : "today      this software DECIDES OTHERWISE from the same evidence\n";
  for (const std::string& d : e.differences()) out += "           " + d + "\n";
  out += "phases\n";
  Table phases({"PHASE", "AFTER", "EVENT", ""});
  for (const v1::Phase& p : e.phases()) phases.row({p.name(), "+" + ms(p.after_ms()), p.sequence() ? std::to_string(p.sequence()) : "-", p.detail()});
  print_lines(out + phases.text("           "));
}

void print_why_not(const v1::Explanation& e) {
  std::string out = e.to().empty() ? "if the holder of " + e.resource() + " died now, nobody would be promoted: " + e.reason() + "\n"
                                   : "if the holder of " + e.resource() + " died now, " + e.to() + " would be promoted: " + e.reason() + "\n";
  out += "epoch      " + std::to_string(e.epoch()) + " would be the next\n" + votes_text(e) + candidates_text(e) + loss_text(e);
  if (!e.unblock().empty()) out += "HINT: " + e.unblock() + "\n";
  print_lines(out);
}

ExitCode why(const Globals& globals, const std::string& what) {
  v1::ExplainRequest request;
  if (what.find_first_not_of("0123456789") != std::string::npos) request.set_resource(what);
  else if (what.size() > 19 || what.empty()) return say({ExitCode::kUsage, "\"" + what + "\" is no sequence of the log, nor a resource"});
  else request.set_sequence(std::stoull(what));
  if (request.resource().empty() && request.sequence() == 0) return say({ExitCode::kUsage, "sequences of the log begin at 1; see `daarionctl events`"});
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  const auto explanation = (*client)->call(request);
  if (!explanation) return say(explanation.error());
  if (!print_data(globals, *explanation)) print_why(*explanation);
  return ExitCode::kOk;
}

ExitCode why_not(const Globals& globals, const std::string& resource) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  v1::ExplainNowRequest request;
  request.set_resource(resource);
  const auto explanation = (*client)->call(request);
  if (!explanation) return say(explanation.error());
  if (!print_data(globals, *explanation)) print_why_not(*explanation);
  return ExitCode::kOk;
}

}  // namespace

void add_why(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto decision = std::make_shared<std::string>(), resource = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("why", "A decision made again from its evidence: votes, every candidate's verdict, loss, and what followed.");
  command->add_option("what", *decision, "A sequence of the log, or a resource: its newest decision")->required()->type_name("SEQ|RESOURCE");
  command->callback([decision, &globals, &code] { code = why(globals, *decision); });
  CLI::App* now = app.add_subcommand("why-not", "The same rules on this moment: who would be promoted if the holder died, and why the others would not.");
  now->add_option("resource", *resource, "Its name, as in `daarionctl resources`")->required();
  now->callback([resource, &globals, &code] { code = why_not(globals, *resource); });
}

}  // namespace daarion
