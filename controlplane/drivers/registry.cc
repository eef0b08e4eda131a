#include "controlplane/drivers/registry.h"

#include <map>

#include "controlplane/drivers/postgres/postgres_driver.h"

namespace daarion {
namespace {

using Factory = Result<std::unique_ptr<Driver>> (*)(const DriverConfig&, EngineHost&);

const std::map<std::string, Factory>& factories() {
  static const std::map<std::string, Factory> all{
      {"postgresql", make_postgres_driver},
  };
  return all;
}

}  // namespace

Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) {
  const auto it = factories().find(config.resource.engine);
  if (it != factories().end()) return it->second(config, host);
  std::string known;
  for (const std::string& name : known_engines()) known += (known.empty() ? "" : ", ") + name;
  return fail(Remedy::kFixInput,
              "make a driver for " + config.resource.id.value + ": no engine '" + config.resource.engine + "'; known: " + known);
}

std::vector<std::string> known_engines() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories()) names.push_back(name);
  return names;
}

}  // namespace daarion
