// why and why-not: a decision of the log with its whole evidence, and the same rules on this moment.
#include <CLI/CLI.hpp>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

std::string ms(std::uint64_t n) { return ms_text(static_cast<std::int64_t>(n)); }

const std::string kIndent(11, ' ');  // under the names of the parts

void add_votes(const v1::Explanation& e, Lines& out) {
  out.add("votes      " + std::to_string(e.votes_size()) + " of " + std::to_string(e.voters()) + " voters say that the promise is over; needed: " +
          std::to_string(e.voters() / 2 + 1));
  Table table({"VOTER", "OVER SINCE", "HEARD", "HIGHEST EPOCH"});
  for (const v1::VoteView& v : e.votes()) table.row({v.voter(), ms(v.over_ms()), ms(v.age_ms()) + " ago", std::to_string(v.highest_epoch())});
  if (!table.empty()) out.add(table, kIndent);
}

void add_candidates(const v1::Explanation& e, Lines& out) {
  Table table({" ", "NODE", "RULE", "DETAIL", "LAG", "ENGINE", "LAST BEAT"});
  for (const v1::CandidateVerdict& c : e.candidates())
    table.row({c.node() == e.to() ? "*" : "", c.node(), c.rule(), c.detail(), bytes_text(c.lag_bytes()) + ", " + ms(c.lag_ms()), c.engine_state(), ms(c.beat_age_ms()) + " ago"});
  out.add("candidates");
  table.empty() ? out.add(kIndent + "none") : out.add(table, kIndent);
}

void add_loss(const v1::Explanation& e, Lines& out) {
  if (e.loss_unknown()) return out.add("loss       unknown: nobody heard how far the last holder wrote");
  const std::string because = e.write_rate() == 0 ? "" : " (" + e.last_holder() + " wrote up to " + bytes_text(e.write_rate()) + "/s, last heard " + ms(e.last_position_age_ms()) + " before)";
  out.add("loss       at most " + bytes_text(e.loss_bytes()) + because);
}

bool is_of_voters(const v1::Explanation& e) { return e.kind() == "voter_set" || e.kind() == "override"; }

/// The places of a service, the providers of a capability, or the voters: `*` is where it went.
void add_places(const v1::Explanation& e, Lines& out) {
  const std::string to = " " + e.to() + " ";
  Table table({" ", e.kind() == "service" ? "NODE" : is_of_voters(e) ? "VOTER" : "PROVIDER", "RULE", "DETAIL"});
  for (const v1::CandidateVerdict& c : e.candidates()) table.row({is_of_voters(e) ? (c.eligible() ? "*" : "") : to.find(" " + c.node() + " ") == std::string::npos ? "" : "*", c.node(), c.rule(), c.detail()});
  out.add(e.kind() == "service" ? "places" : is_of_voters(e) ? "voters" : "chain");
  table.empty() ? out.add(kIndent + "none") : out.add(table, kIndent);
}

void print_why(const v1::Explanation& e) {
  const bool move = e.kind() == "service" || e.kind() == "capability" || is_of_voters(e);
  Lines out;
  out.add("event " + std::to_string(e.sequence()) + ": " + e.kind() + (is_of_voters(e) ? "" : (move ? " " : " of ") + e.resource()) + " to " + (e.to().empty() ? "nobody" : e.to()) +
          (move ? "" : ", epoch " + std::to_string(e.epoch())));
  out.add("when       " + e.time() + " (log time)");
  out.add("reason     " + e.reason());
  if (e.has_trigger()) out.add("trigger    event " + std::to_string(e.trigger().sequence()) + ", " + e.trigger().type() + ": " + e.trigger().summary() + " (" + e.trigger().reason() + ")");
  else if (e.kind() == "failover") out.add("trigger    the lease of " + (e.last_holder().empty() ? "the holder" : e.last_holder()) + " ran out");
  out.add("decider    " + e.decider() + (e.software().empty() ? "" : ", " + e.software()) + ", for " + e.actor());
  if (move) {
    add_places(e, out);
  } else {
    add_votes(e, out);
    add_candidates(e, out);
    add_loss(e, out);
  }
  out.add(e.agrees() ? "today      this software decides the same from the same evidence" : "today      this software DECIDES OTHERWISE from the same evidence");
  for (const std::string& d : e.differences()) out.add(kIndent + d);
  out.add("phases");
  Table phases({"PHASE", "AFTER", "EVENT", ""});
  for (const v1::Phase& p : e.phases()) phases.row({p.name(), "+" + ms(p.after_ms()), p.sequence() ? std::to_string(p.sequence()) : "-", p.detail()});
  out.add(phases, kIndent);
  print(out.text());
}

void print_why_not(const v1::Explanation& e) {
  Lines out;
  out.add("if the holder of " + e.resource() + " died now, " + (e.to().empty() ? "nobody" : e.to()) + " would be promoted: " + e.reason());
  out.add("epoch      " + std::to_string(e.epoch()) + " would be the next");
  add_votes(e, out);
  add_candidates(e, out);
  add_loss(e, out);
  if (!e.unblock().empty()) out.add("HINT: " + e.unblock());
  print(out.text());
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
  CLI::App* command = app.add_subcommand("why", "A decision made again from its evidence: who writes, who serves, who provides, who votes; every candidate's verdict, and what followed.");
  command->add_option("what", *decision, "A sequence of the log, or a resource, service or capability: its newest decision")->required()->type_name("SEQ|NAME");
  command->callback([decision, &globals, &code] { code = why(globals, *decision); });
  CLI::App* now = app.add_subcommand("why-not", "The same rules on this moment: who would be promoted if the holder died, and why the others would not.");
  now->add_option("resource", *resource, "Its name, as in `daarionctl resources`")->required();
  now->callback([resource, &globals, &code] { code = why_not(globals, *resource); });
}

}  // namespace daarion
