#include "controlplane/api/event_line.h"

#include <array>

#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

std::string clean(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;  // U+0080 to U+009F
    out += c < 32 || c == 127 || c1 ? '?' : text[i];
    i += c1 ? 1 : 0;
  }
  return out;
}

std::string event_line(const v1::EventView& e) {
  std::string time = e.time();
  if (time.size() > 10 && time[10] == 'T') time[10] = ' ';
  if (time.ends_with("Z")) time.pop_back();
  std::string about = e.resource();
  if (e.epoch() != 0) about += " e" + std::to_string(e.epoch());
  // The subject's third part names what has no resource: cluster.log.member.node2.4
  if (about.empty()) {
    const auto kind = e.subject().find('.', 8), name = e.subject().find('.', kind + 1), version = e.subject().rfind('.');
    about = kind == std::string::npos || name == std::string::npos || version <= name ? "cluster" : e.subject().substr(name + 1, version - name - 1);
  }
  const std::string sequence = e.sequence() ? std::to_string(e.sequence()) : "-";  // of a dry run: it has none
  std::array<char, 160> head{};
  std::snprintf(head.data(), head.size(), "%6.20s  %-23.23s  %-20.32s  %-14.40s  ", sequence.c_str(), time.empty() ? "-" : time.c_str(), e.type().c_str(), about.c_str());
  std::string line = head.data() + e.summary() + (e.reason().empty() ? "" : (e.summary().empty() ? "(" : "  (") + e.reason() + ")") + "  by " + e.actor();
  return clean(line) + "\n";
}

}  // namespace daarion
