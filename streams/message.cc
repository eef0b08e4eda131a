#include "streams/message.h"

#include <charconv>
#include <vector>

namespace daarion {
namespace {

constexpr std::string_view kLog = "cluster.log.";

tl::unexpected<Error> not_a_log_subject(std::string_view subject, const char* why) {
  return fail(Remedy::kStop, "read subject " + std::string(subject) + ": " + why + "; it is not cluster.log.<kind>.<aggregate>.<version>");
}

}  // namespace

std::string log_subject(const Aggregate& aggregate, Version version) {
  return std::string(kLog) + aggregate.kind + "." + aggregate.name + "." + std::to_string(version.value);
}

Result<std::pair<Aggregate, Version>> parse_log_subject(std::string_view subject) {
  if (!subject.starts_with(kLog)) return not_a_log_subject(subject, "another prefix");
  const std::string_view rest = subject.substr(kLog.size());
  const std::size_t kind_end = rest.find('.');
  const std::size_t name_end = rest.rfind('.');
  if (kind_end == std::string_view::npos || name_end <= kind_end) return not_a_log_subject(subject, "too few tokens");
  const std::string_view digits = rest.substr(name_end + 1);
  Version version;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), version.value);
  if (error != std::errc() || end != digits.data() + digits.size() || version.value == 0 || digits.front() == '0')
    return not_a_log_subject(subject, "its version is no number from 1 on");
  Aggregate aggregate{std::string(rest.substr(0, kind_end)), std::string(rest.substr(kind_end + 1, name_end - kind_end - 1))};
  if (aggregate.kind.empty() || aggregate.name.empty()) return not_a_log_subject(subject, "an empty token");
  return std::pair{std::move(aggregate), version};
}

std::string telemetry_subject(const Payload& payload, const ResourceId& resource) {
  if (const auto* lag = std::get_if<ReplicaLagReported>(&payload)) return "cluster.telemetry.lag." + resource.value + "." + lag->node.value;
  if (const auto* health = std::get_if<HealthReported>(&payload)) return "cluster.telemetry.health." + health->node.value + "." + health->what;
  return {};
}

}  // namespace daarion
