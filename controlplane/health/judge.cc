#include "controlplane/health/judge.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace daarion {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kShown = 120;
constexpr int kNotRunnable = 126, kNoCommand = 127;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return text;
}

/// What `status` and the like say; nothing for a word that is not known.
std::optional<Health> health_said(const std::string& word) {
  static const std::map<std::string, Health> kWords = {
      {"ok", Health::kHealthy},          {"healthy", Health::kHealthy},   {"up", Health::kHealthy},        {"pass", Health::kHealthy},
      {"passing", Health::kHealthy},     {"running", Health::kHealthy},   {"ready", Health::kHealthy},     {"green", Health::kHealthy},
      {"degraded", Health::kDegraded},   {"warn", Health::kDegraded},     {"warning", Health::kDegraded},  {"partial", Health::kDegraded},
      {"yellow", Health::kDegraded},     {"starting", Health::kDegraded}, {"initializing", Health::kDegraded}, {"not_ready", Health::kDegraded},
      {"maintenance", Health::kMaintenance}, {"draining", Health::kMaintenance}, {"drained", Health::kMaintenance},
      {"down", Health::kBroken},         {"error", Health::kBroken},      {"fail", Health::kBroken},       {"failed", Health::kBroken},
      {"failing", Health::kBroken},      {"unhealthy", Health::kBroken},  {"critical", Health::kBroken},   {"red", Health::kBroken}};
  const auto at = kWords.find(lower(word));
  return at == kWords.end() ? std::nullopt : std::optional(at->second);
}

bool says_lost(const std::string& word) {
  static const std::set<std::string> kWords = {"disconnected", "unreachable", "unavailable", "down", "error", "failed", "unhealthy"};
  return kWords.contains(lower(word));
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// The worst of what was found, with all causes.
class Findings {
 public:
  void add(Health health, const std::string& cause) {
    if (rank_of(health) > rank_of(verdict_.health)) verdict_.health = health;
    verdict_.cause += (verdict_.cause.empty() ? "" : "; ") + cause;
  }
  HealthVerdict verdict() && {
    verdict_.cause = shown(std::move(verdict_.cause));
    return std::move(verdict_);
  }

 private:
  HealthVerdict verdict_{.health = Health::kHealthy};
};

/// What a body says by itself. Fields of `judged` are judged by what is expected of them.
class SelfReport {
 public:
  SelfReport(const std::map<std::string, std::string>& judged, Findings& findings) : judged_(judged), findings_(findings) {}

  void read(const Json& body) {
    for (const auto& [name, value] : body.items()) {
      if (judged_.contains(name) || judged_.contains("/" + name)) continue;
      if (name == "status" || name == "readiness_status") word(name, value);
      else if (name == "ok" || name == "healthy") flag(name, value, Health::kBroken);
      else if (name == "ready") flag(name, value, Health::kDegraded);
      else if (name == "providers") providers(value);
      else if (name == "loaded_models") models(value);
      else link(name, value);
    }
  }

 private:
  void word(const std::string& name, const Json& value) {
    if (!value.is_string()) return;
    const std::string text = value.get<std::string>();
    if (const auto health = health_said(text); health && *health != Health::kHealthy) findings_.add(*health, name + "=" + text);
  }
  void flag(const std::string& name, const Json& value, Health health) {
    if (value.is_boolean() && !value.get<bool>()) findings_.add(health, name + "=false");
  }
  void providers(const Json& value) {
    if (!value.is_array()) return;
    const bool real = std::ranges::any_of(value, [](const Json& provider) { return provider != "echo"; });
    if (!real) findings_.add(Health::kDegraded, "no real provider: " + value.dump());
  }
  void models(const Json& value) {
    if ((value.is_number() && value == 0) || (value.is_array() && value.empty())) findings_.add(Health::kDegraded, "no model loaded");
  }
  /// nats_connected, matrix_reachable; database: {connected: false}; dependencies: {database: "disconnected"}.
  void link(const std::string& name, const Json& value) {
    if (name.ends_with("connected") || name.ends_with("reachable")) return flag(name, value, Health::kDegraded);
    if (!value.is_object()) return;
    for (const auto& [key, inner] : value.items()) {
      const std::string called = name + "." + key;
      if (judged_.contains(called) || judged_.contains("/" + name + "/" + key)) continue;
      if (key.ends_with("connected") || key.ends_with("reachable")) flag(called, inner, Health::kDegraded);
      else if (name == "dependencies" && inner.is_string() && says_lost(inner.get<std::string>())) findings_.add(Health::kDegraded, called + "=" + inner.get<std::string>());
    }
  }

  const std::map<std::string, std::string>& judged_;
  Findings& findings_;
};

/// "nats_connected", "database.connected" or "/database/connected"; null: there is none.
const Json* field_of(const Json& body, const std::string& field) {
  if (const auto at = body.find(field); at != body.end()) return &*at;
  std::string path = field.starts_with('/') ? field.substr(1) : field;
  const char separator = field.starts_with('/') ? '/' : '.';
  const Json* at = &body;
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t to = std::min(path.find(separator, from), path.size());
    const std::string key = path.substr(from, to - from);
    if (at->is_array()) {
      const bool digits = !key.empty() && key.size() < 6 && std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
      if (!digits || std::stoul(key) >= at->size()) return nullptr;
      at = &(*at)[std::stoul(key)];
    } else {
      const auto next = at->is_object() ? at->find(key) : at->end();
      if (!at->is_object() || next == at->end()) return nullptr;
      at = &*next;
    }
    from = to + 1;
  }
  return at;
}

std::optional<double> number_of(const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_array()) return static_cast<double>(value.size());
  return std::nullopt;
}

void judge_expectations(const ServiceCheck& check, const Json& body, Findings& findings) {
  for (const auto& [field, text] : check.expect) {
    const auto expected = parse_expectation(text);
    const Json* value = field_of(body, field);
    if (!expected) continue;  // lint refused the file
    if (value == nullptr) {
      findings.add(Health::kDegraded, "no field " + field + ", expected " + text);
      continue;
    }
    bool kept = keeps(*expected, text_of(*value), number_of(*value));
    if (value->is_array() && !kept) kept = std::ranges::any_of(*value, [&](const Json& one) { return keeps(*expected, text_of(one), std::nullopt); });
    if (!kept) findings.add(Health::kDegraded, field + "=" + text_of(*value) + ", expected " + text);
  }
}

/// Nothing: the code lets the body speak.
std::optional<HealthVerdict> judge_status(const ServiceCheck& check, const HttpAnswer& a) {
  const std::string code = std::to_string(a.status);
  const bool expected = check.status != 0 ? a.status == static_cast<int>(check.status) : a.status / 100 == 2;
  if (expected) return std::nullopt;
  if (a.status == 404 || a.status == 405 || a.status == 410) return check_broken(code + ": there is no " + check.target + " to GET");
  if (a.status == 401 || a.status == 403) return check_broken(code + ": " + check.target + " may not be asked");
  if (a.status / 100 == 3) return check_broken(code + ": " + check.target + " is at " + (a.location.empty() ? "another place" : a.location));
  if (a.status == 429) return HealthVerdict{.health = Health::kDegraded, .cause = "429: it is asked too often"};
  if (a.status / 100 == 5) {
    // Many say 503 of a maintenance that they name in the body.
    const Json body = Json::parse(a.body, nullptr, false);
    if (body.is_object() && body.contains("status") && body["status"].is_string() && health_said(body["status"].get<std::string>()) == Health::kMaintenance)
      return HealthVerdict{.health = Health::kMaintenance, .cause = shown("status=" + body["status"].get<std::string>())};
    return service_broken(code);
  }
  if (check.status != 0) return service_broken(code + ", expected " + std::to_string(check.status));
  return check_broken(code + ": it does not take the question");
}

bool is_html(const HttpAnswer& a) {
  const std::string begin = lower(a.body.substr(0, 64));
  return lower(a.content_type).starts_with("text/html") || begin.starts_with("<!doctype html") || begin.starts_with("<html");
}

}  // namespace

std::string shown(std::string text) {
  if (text.size() > kShown) text = text.substr(0, kShown - 3) + "...";
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

HealthVerdict service_broken(std::string cause) { return {.health = Health::kBroken, .check_broken = false, .cause = shown(std::move(cause))}; }
HealthVerdict check_broken(std::string cause) { return {.health = Health::kUnknown, .check_broken = true, .cause = shown(std::move(cause))}; }

HealthVerdict judge_http(const ServiceCheck& check, const HttpAnswer& a) {
  if (auto by_status = judge_status(check, a)) return std::move(*by_status);
  Findings findings;
  if (!check.text.empty() && a.body.find(check.text) == std::string::npos) findings.add(Health::kDegraded, "its answer does not contain \"" + check.text + "\"");
  const Json body = Json::parse(a.body, nullptr, false);
  const bool says_json = lower(a.content_type).find("json") != std::string::npos;
  if (!body.is_object()) {
    if (!check.expect.empty() || (says_json && body.is_discarded())) return check_broken("no JSON object where one is expected: " + a.body.substr(0, 40));
    // Some servers answer any path with their front page.
    if (check.text.empty() && is_html(a)) return check_broken("an HTML page: " + check.target + " may be no health path at all");
    return std::move(findings).verdict();
  }
  SelfReport(check.expect, findings).read(body);
  judge_expectations(check, body, findings);
  return std::move(findings).verdict();
}

HealthVerdict judge_command(const ServiceCheck& check, int exit_code, const std::string& output, const std::string& errors) {
  if (exit_code == kNotRunnable || exit_code == kNoCommand) return check_broken("exit code " + std::to_string(exit_code) + (errors.empty() ? "" : ": " + errors));
  if (exit_code != 0) return service_broken("exit code " + std::to_string(exit_code) + (errors.empty() ? "" : ": " + errors));
  if (!check.text.empty() && output.find(check.text) == std::string::npos)
    return {.health = Health::kDegraded, .check_broken = false, .cause = shown("its output does not contain \"" + check.text + "\"")};
  return {.health = Health::kHealthy};
}

}  // namespace daarion
