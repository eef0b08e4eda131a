// incident: what one failure moved, in one story: who lost what, where it went, in how many seconds, and what led to what.
#include <CLI/CLI.hpp>

#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"

namespace daarion {
namespace {

/// "+2.034": seconds since the incident began.
std::string after(std::int64_t ms) {
  std::string thousandths = std::to_string(ms % 1000);
  thousandths.insert(0, 3 - std::min<std::size_t>(3, thousandths.size()), '0');
  return "+" + std::to_string(ms / 1000) + "." + thousandths;
}

std::string state_of(const v1::Incident& incident) {
  if (!incident.over()) return "goes on, so far " + ms_text(incident.duration_ms());
  return "over after " + ms_text(incident.duration_ms());
}

std::string move_text(const v1::IncidentMove& m) { return m.what() + " to " + (m.to().empty() ? "nobody" : m.to()); }

/// Of an observation the first thing that it says: who is elected. The rest is in the story.
std::string why_of(const v1::IncidentMove& m) { return m.kind() == "observed" ? m.reason().substr(0, m.reason().find("; ")) : m.reason(); }

Table moves_of(const v1::Incident& incident) {
  Table table({"WHAT", "FROM", "TO", "AFTER", "STATE", "LOSS AT MOST", "WHY"});
  for (const v1::IncidentMove& m : incident.moves())
    table.row({m.what(), m.from().empty() ? "-" : m.from(), m.to().empty() ? "nobody" : m.to(), after(m.done_ms()), m.state(),
               m.kind() != "resource" ? "-" : m.loss_unknown() ? "unknown" : bytes_text(m.loss_bytes()), why_of(m)});
  return table;
}

Table phases_of(const v1::IncidentMove& move) {
  Table table({"PHASE", "AFTER", "TOOK", "EVENT", ""});
  std::uint64_t last = 0;
  for (const v1::Phase& p : move.phases()) {
    table.row({p.name(), after(static_cast<std::int64_t>(p.after_ms())), ms_text(static_cast<std::int64_t>(p.after_ms() - std::min(last, p.after_ms()))),
               p.sequence() != 0 ? std::to_string(p.sequence()) : "-", p.detail()});
    last = p.after_ms();
  }
  return table;
}

Table candidates_of(const v1::IncidentMove& move) {
  Table table({"CANDIDATE", "RULE", "DETAIL", "LAG"});
  for (const v1::CandidateVerdict& c : move.candidates()) table.row({c.node() == move.to() ? c.node() + " *" : c.node(), c.rule(), c.detail(), bytes_text(c.lag_bytes())});
  return table;
}

/// What it says, and why; nothing twice. Of an engine that elects by itself what changed: all that was seen is in `events`.
std::string what_of(const v1::EventView& e) {
  if (e.type() == "ResourceObserved") return e.reason();
  return e.summary().find(e.reason()) != std::string::npos ? e.summary() : e.summary() + " (" + e.reason() + ")";
}

Table steps_of(const v1::Incident& incident) {
  Table table({"EVENT", "AFTER", "TYPE", "OF", "LED BY", "WHAT", "BY"});
  for (const v1::IncidentStep& s : incident.steps()) {
    const v1::EventView& e = s.event();
    const std::string led = s.led_by() == 0 ? "-" : std::to_string(s.led_by()) + (s.stated() ? "" : " ?");
    table.row({std::to_string(e.sequence()), after(s.after_ms()), e.type(), e.resource().empty() ? "-" : e.resource(), led, what_of(e), e.node()});
  }
  return table;
}

std::string text_of(const v1::Incident& incident) {
  Lines out;
  out.add(incident.title() + ": " + state_of(incident));
  out.add("began      " + incident.began() + " (log time)" + (incident.planned() ? ", asked for by an operator" : ""));
  for (const std::string& open : incident.open()) out.add("open       " + open);
  out.add("moved");
  incident.moves().empty() ? out.add("           nothing") : out.add(moves_of(incident), "           ");
  for (const v1::IncidentMove& m : incident.moves()) {
    if (m.phases().empty() && m.candidates().empty()) continue;
    out.add(move_text(m) + ", event " + std::to_string(m.sequence()));
    if (!m.phases().empty()) out.add(phases_of(m), "           ");
    if (!m.candidates().empty()) out.add(candidates_of(m), "           ");
  }
  out.add("story      (LED BY with ?: the newest event that could have)");
  out.add(steps_of(incident), "           ");
  return out.text();
}

std::string markdown_of(const v1::Incident& incident) {
  std::string out = "# Incident: " + clean(incident.title()) + "\n\nBegan " + incident.began() + " (log time); " + state_of(incident) + "." +
                    (incident.planned() ? " Asked for by an operator." : "") + "\n\n";
  for (const std::string& open : incident.open()) out += "- Still open: " + clean(open) + "\n";
  if (!incident.open().empty()) out += "\n";
  out += "## What moved\n\n" + (incident.moves().empty() ? std::string("Nothing.\n") : moves_of(incident).markdown());
  for (const v1::IncidentMove& m : incident.moves()) {
    if (m.phases().empty() && m.candidates().empty()) continue;
    out += "\n### " + clean(move_text(m)) + "\n";
    if (!m.phases().empty()) out += "\n" + phases_of(m).markdown();
    if (!m.candidates().empty())
      out += "\nWho could have had it (`daarionctl why " + std::to_string(m.sequence()) + "` makes the decision again):\n\n" + candidates_of(m).markdown();
  }
  return out + "\n## Timeline\n\nSeconds since it began. LED BY with ?: the newest event that could have led to it.\n\n" + steps_of(incident).markdown();
}

ExitCode incident(const Globals& globals, std::uint64_t sequence) {
  auto client = AdminClient::connect(globals);
  if (!client) return say(client.error());
  v1::GetIncidentRequest request;
  request.set_sequence(sequence);
  const auto found = (*client)->call(request);
  if (!found) return say(found.error());
  if (globals.form == "table") print(text_of(*found));
  else if (globals.form == "markdown") print(markdown_of(*found));
  else print_data(globals, *found);
  return ExitCode::kOk;
}

}  // namespace

void add_incident(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto sequence = std::make_shared<std::uint64_t>(0);
  CLI::App* command = app.add_subcommand("incident", "All that one failure moved, in one story: who lost what, where it went, the seconds of each phase, what led to what.\n"
                                                     "-o markdown prints it as a document to paste.");
  command->add_option("sequence", *sequence, "Any event of it, as in `daarionctl events`")->required()->type_name("SEQ")->check(wrong_sequence);
  command->callback([sequence, &globals, &code] { code = incident(globals, *sequence); });
}

}  // namespace daarion
