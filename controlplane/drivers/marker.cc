#include "controlplane/drivers/marker.h"

#include <nlohmann/json.hpp>

namespace daarion {
namespace {

constexpr int kSchema = 1;
// Openings that are kept: a data directory that was promoted more often has long left the older timelines behind.
constexpr std::size_t kMaxOpenings = 256;

}  // namespace

std::optional<Marker> parse_marker(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  try {
    if (json.at("schema").get<int>() != kSchema) return std::nullopt;
    Marker m{NodeId(json.at("node").get<std::string>()),
             ResourceId(json.at("resource").get<std::string>()),
             json.at("system_identifier").get<std::string>(),
             {}};
    for (const nlohmann::json& o : json.at("openings")) {
      Opening opening{{}, {o.at("epoch").get<std::uint64_t>()}, NodeId(o.at("node").get<std::string>()), {o.value("start", std::uint64_t{0})},
                      o.value("replid", std::string())};
      if (!parse_id_text(o.at("session").get<std::string>(), opening.session.hi, opening.session.lo)) return std::nullopt;
      m.openings[o.at("timeline").get<std::uint64_t>()] = opening;
    }
    return m;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

std::string to_text(const Marker& marker) {
  nlohmann::ordered_json openings = nlohmann::ordered_json::array();
  std::size_t skip = marker.openings.size() > kMaxOpenings ? marker.openings.size() - kMaxOpenings : 0;
  for (const auto& [timeline, o] : marker.openings) {
    if (skip > 0) {
      --skip;
      continue;
    }
    openings.push_back(
        {{"timeline", timeline}, {"session", daarion::to_text(o.session)}, {"epoch", o.epoch.value}, {"node", o.node.value}});
    if (o.start.value != 0) openings.back()["start"] = o.start.value;
    if (!o.replid.empty()) openings.back()["replid"] = o.replid;
  }
  const nlohmann::ordered_json json{{"schema", kSchema},
                                    {"node", marker.node.value},
                                    {"resource", marker.resource.value},
                                    {"system_identifier", marker.identity},
                                    {"openings", openings}};
  return json.dump(2) + "\n";
}

Result<void> write_marker(const std::string& data_dir, const Marker& marker, const SystemUser& owner) {
  return write_file(data_dir + "/" + kMarkerFile, to_text(marker), 0600, owner);
}

std::optional<Marker> read_marker(const std::string& data_dir) {
  const auto text = read_file(data_dir + "/" + kMarkerFile);
  return text ? parse_marker(*text) : std::nullopt;
}

}  // namespace daarion
