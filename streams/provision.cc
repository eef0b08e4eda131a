#include "streams/provision.h"

#include <algorithm>

#include "controlplane/core/subject.h"
#include "streams/js_request.h"

namespace daarion {
namespace {

using Json = nlohmann::json;

constexpr int kNoSpace = 10047;       // what its max_bytes would reserve is more than a server may keep
constexpr int kOverlaps = 10065;      // another stream captures some of its subjects
constexpr int kNoPeerHasSpace = 10005; // the same, said by a cluster; also: too few servers are there

/// The settings of ours that the stream does not have, as one line; empty: none.
std::string difference(const Json& wanted, const Json& found) {
  std::string out;
  for (const auto& [key, value] : wanted.items()) {
    const bool unset = value == false || value == 0 || (value.is_array() && value.empty());
    if (!found.contains(key) ? !unset : found[key] != value)
      out += (out.empty() ? "" : ", ") + key + " is " + (found.contains(key) ? found[key].dump() : "unset") + ", wanted " + value.dump();
  }
  return out;
}

/// A mirror that is made while its origin cannot be reached is tried again by the server after 30 s only (2.15): make it when it can.
Result<void> origin_answers(Connection& connection, const Json& mirror, Duration limit) {
  const std::string name = mirror.at("name"), api = mirror.at("external").at("api");
  const auto info = js_request(connection, api + ".STREAM.INFO." + name, nullptr, limit);
  if (info && info->contains("config")) return {};
  return fail(Remedy::kRetry, "reach stream " + name + " over the leaf link: " + (info ? js_error_text(*info) : info.error().message));
}

std::string hint(Connection& connection, const Json& wanted, const Json& answer, Duration limit) {
  const int code = js_error_code(answer);
  if (code == kOverlaps) {
    std::string out;
    const auto others = captured_by_others(connection, {}, wanted.value("subjects", std::vector<std::string>{}), {wanted.at("name")}, limit);
    for (const std::string& other : others.value_or(std::vector<std::string>{})) out += (out.empty() ? ": " : ", ") + other;
    return out + "; delete that one, or take its subjects out of the rule";
  }
  return code == kNoSpace || code == kNoPeerHasSpace ? "; raise control.nats.max_file where the disk has room, or lower max_bytes" : "";
}

}  // namespace

Json external_of(const std::string& domain, const std::string& deliver) { return {{"api", js_api(domain)}, {"deliver", deliver}}; }

Result<std::vector<std::string>> captured_by_others(Connection& connection, const std::string& domain, const std::vector<std::string>& subjects, const std::set<std::string>& own,
                                                    Duration limit, std::chrono::steady_clock::time_point end) {
  const auto ask = [&](const std::string& what, const Json& body) {
    return std::chrono::steady_clock::now() > end ? fail(Remedy::kRetry, "the time for it is over") : js_request(connection, js_api(domain) + what, body, limit);
  };
  std::vector<std::string> others, out;
  std::size_t seen = 0;
  for (std::size_t total = 1; seen < total;) {
    const auto page = ask(".STREAM.NAMES", {{"offset", seen}});
    if (!page) return tl::unexpected(page.error());
    if (page->contains("error")) return fail(Remedy::kRetry, "list streams: " + js_error_text(*page));
    if (!page->contains("streams") || !(*page)["streams"].is_array() || (*page)["streams"].empty()) break;
    total = page->value("total", std::size_t{0});
    for (const Json& name : (*page)["streams"])
      if (++seen; name.is_string() && !own.contains(name)) others.push_back(name);
  }
  for (const std::string& name : others) {
    const auto info = ask(".STREAM.INFO." + name, nullptr);
    if (!info) return tl::unexpected(info.error());
    if (js_error_code(*info) == kNoSuchStream) continue;  // it was deleted meanwhile
    if (!info->contains("config")) return fail(Remedy::kRetry, "look at stream " + name + ": " + js_error_text(*info));
    std::string captures;
    for (const std::string& theirs : (*info)["config"].value("subjects", std::vector<std::string>{}))
      if (std::ranges::any_of(subjects, [&](const std::string& subject) { return overlap(theirs, subject); })) captures += (captures.empty() ? "" : ", ") + theirs;
    if (!captures.empty()) out.push_back(name + " captures " + captures);
  }
  return out;
}

Result<std::string> provision_stream(Connection& connection, const Json& wanted, const char* if_refused, Duration limit) {
  const std::string name = wanted.at("name");
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + name, nullptr, limit);
  if (!info) return tl::unexpected(info.error());
  if (js_error_code(*info) == kNoSuchStream) {
    if (wanted.contains("mirror"))
      if (const auto reached = origin_answers(connection, wanted["mirror"], limit); !reached) return tl::unexpected(reached.error());
    const auto made = js_request(connection, "$JS.API.STREAM.CREATE." + name, wanted, limit);
    if (!made) return tl::unexpected(made.error());
    if (made->contains("error")) return fail(Remedy::kRetry, "create stream " + name + ": " + js_error_text(*made) + hint(connection, wanted, *made, limit));
    return "made stream " + name;
  }
  if (info->contains("error")) return fail(Remedy::kRetry, "look at stream " + name + ": " + js_error_text(*info));
  Json config = info->at("config");
  const std::string differs = difference(wanted, config);
  if (differs.empty()) return std::string();
  if (info->contains("cluster") && (*info)["cluster"].value("leader", "").empty()) return fail(Remedy::kRetry, "mend stream " + name + ": nobody leads it");
  config.update(wanted);
  const auto mended = js_request(connection, "$JS.API.STREAM.UPDATE." + name, config, limit);
  if (!mended) return tl::unexpected(mended.error());
  if (!mended->contains("error")) return "mended stream " + name + " (" + differs + ")";
  const std::string text = "mend stream " + name + " (" + differs + "): " + js_error_text(*mended) + hint(connection, wanted, *mended, limit);
  return js_error_passes(*mended) ? fail(Remedy::kRetry, text) : fail(Remedy::kFixInput, text + "; " + if_refused);
}

}  // namespace daarion
