#include "tests/chaos/table.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/chaos/kind.h"

namespace daarion::chaos {
namespace {

struct Row {
  int runs = 0, violated = 0;
  double outage_ms = 0, recovery_ms = 0;
  double election_ms = 0;  // of that outage
  std::size_t promotions = 0, lost = 0;
};

std::string ms_text(double ms) { return std::to_string(static_cast<long>(ms)) + " ms"; }

/// Reads what verdict_text() wrote.
bool parse_verdict(const std::string& text, Verdict& v) {
  const auto colon = text.find(": ");
  if (colon == std::string::npos) return false;
  v.kind = text.substr(0, colon);
  if (!text.substr(colon + 2).starts_with("ok,")) v.violations = {text};
  return std::sscanf(text.c_str() + colon + 2, "%*[^,], outage %lf ms, whole %lf ms after the heal, %zu promotions, %zu rows lost, %zu strays, the log without a leader for %lf ms",
                     &v.outage_ms, &v.recovery_ms, &v.promotions, &v.lost, &v.strays, &v.election_ms) >= 5;
}

/// The verdicts of a history, and what was dealt.
Result<std::vector<Verdict>> read_history(const std::string& path, std::string& dealt) {
  std::ifstream in(path);
  if (!in) return fail(Remedy::kFixInput, "read " + path + ": it cannot be opened; it is what --history named in a run");
  std::vector<Verdict> out;
  for (std::string text; std::getline(in, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    const bool known = line.is_object() && line.contains("what");  // of a note it is empty
    const std::string what = known ? line.value("what", "") : "";
    Verdict v;
    if (!known || (what == "verdict" && !parse_verdict(line.value("text", ""), v)))
      return fail(Remedy::kFixInput, "read " + path + ": not a history of this software: " + text.substr(0, 80));
    if (what == "deal") dealt += (dealt.empty() ? "" : "; ") + line.value("text", "");
    if (what == "verdict") out.push_back(v);
    if (what == "again" && !out.empty()) out.pop_back();
  }
  return out;
}

}  // namespace

std::string verdict_text(const Verdict& v) {
  return v.kind + ": " + (v.violations.empty() ? "ok" : "VIOLATED") + ", outage " + ms_text(v.outage_ms) + ", whole " + ms_text(v.recovery_ms) + " after the heal, " +
         std::to_string(v.promotions) + " promotions, " + std::to_string(v.lost) + " rows lost, " + std::to_string(v.strays) + " strays" +
         (v.election_ms > 0 ? ", the log without a leader for " + ms_text(v.election_ms) : "");
}

Result<std::string> table_of(const std::vector<std::string>& histories) {
  std::map<std::string, Row> rows;
  std::string dealt;
  for (const std::string& path : histories) {
    const auto verdicts = read_history(path, dealt);
    if (!verdicts) return tl::unexpected(verdicts.error());
    for (const Verdict& v : *verdicts) {
      Row& row = rows[v.kind];
      ++row.runs;
      row.violated += v.violations.empty() ? 0 : 1;
      if (v.outage_ms > row.outage_ms) row.outage_ms = v.outage_ms, row.election_ms = v.election_ms;
      row.recovery_ms = std::max(row.recovery_ms, v.recovery_ms);
      row.promotions += v.promotions;
      row.lost += v.lost;
    }
  }
  std::string out = "| fault | runs | longest without a write, ms | limit | whole again after at most, s | promotions | rows lost | violations |\n|---|---|---|---|---|---|---|---|\n";
  for (const Kind& kind : kinds()) {
    const auto at = rows.find(kind.name);
    if (at == rows.end()) continue;
    char text[512];
    const std::string limit = std::to_string(static_cast<long>(kind.outage_ms)) + (at->second.election_ms > 0 && at->second.outage_ms > kind.outage_ms ? " + " + std::to_string(static_cast<long>(at->second.election_ms)) : "");
    std::snprintf(text, sizeof text, "| %s | %d | %.0f | %s | %.1f | %zu | %zu | %d |\n", kind.text.c_str(), at->second.runs, at->second.outage_ms, limit.c_str(), at->second.recovery_ms / 1000,
                  at->second.promotions, at->second.lost, at->second.violated);
    out += text;
  }
  return out + "\n" + dealt + ".\n";
}

}  // namespace daarion::chaos
