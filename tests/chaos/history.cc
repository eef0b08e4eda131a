#include "tests/chaos/history.h"

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "controlplane/node/clock.h"

namespace daarion::chaos {

History::History(const std::string& path) : path_(path), began_(node_now()) {
  std::error_code ignored;
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) std::filesystem::create_directories(folder, ignored);
  file_.open(path, std::ios::trunc);
}

void History::add(const std::string& what, const std::map<std::string, std::string>& fields) {
  nlohmann::ordered_json line{{"ms", to_ms(node_now() - began_)}, {"what", what}};
  for (const auto& [name, value] : fields) line[name] = value;
  const std::lock_guard lock(mutex_);
  file_ << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
}

void History::say(const std::string& what, const std::string& text) {
  std::printf("%7.1f s  %-9s %s\n", double(to_ms(node_now() - began_)) / 1000, what.c_str(), text.c_str());
  std::fflush(stdout);
  add(what, {{"text", text}});
}

}  // namespace daarion::chaos
