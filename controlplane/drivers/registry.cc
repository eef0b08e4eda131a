#include "controlplane/drivers/registry.h"

#include <map>

#include "controlplane/drivers/nats/nats_observer.h"
#include "controlplane/drivers/neo4j/neo4j_observer.h"
#include "controlplane/drivers/postgres/postgres_driver.h"
#include "controlplane/drivers/qdrant/qdrant_observer.h"
#include "controlplane/drivers/redis/redis_driver.h"
#include "controlplane/drivers/redis/sentinel.h"

namespace daarion {
namespace {

using Factory = Result<std::unique_ptr<Driver>> (*)(const DriverConfig&, EngineHost&);

struct Entry {
  Factory make;
  const char* user;
};

const std::map<std::string, Entry>& factories() {
  static const std::map<std::string, Entry> all{
      {"postgresql", {make_postgres_driver, "postgres"}},
      {"redis", {make_redis_driver, "redis"}},
  };
  return all;
}

using ObserverFactory = Result<std::unique_ptr<Observer>> (*)(const ObserverConfig&);

const std::map<std::pair<std::string, std::string>, ObserverFactory>& observers() {
  static const std::map<std::pair<std::string, std::string>, ObserverFactory> all{
      {{"redis", "cache"}, make_cache_observer},
      {{"nats", "supercluster"}, make_nats_observer},
      {{"neo4j", "causal-cluster"}, make_neo4j_observer},
      {{"neo4j", "single"}, make_neo4j_observer},
      {{"qdrant", "sharded"}, make_qdrant_observer},
      {{"redis", "sentinel"}, make_sentinel_observer},
  };
  return all;
}

}  // namespace

Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) {
  const auto it = factories().find(config.resource.engine);
  if (it != factories().end()) return it->second.make(config, host);
  std::string known;
  for (const std::string& name : known_engines()) known += (known.empty() ? "" : ", ") + name;
  return fail(Remedy::kFixInput,
              "make a driver for " + config.resource.id.value + ": no engine '" + config.resource.engine + "'; known: " + known);
}

bool is_observed(const std::string& engine, const std::string& mode) { return observers().contains({engine, mode}); }

Result<std::unique_ptr<Observer>> make_observer(const ObserverConfig& config) { return observers().at({config.resource.engine, config.mode})(config); }

std::string system_user_of(const std::string& engine) {
  const auto it = factories().find(engine);
  return it == factories().end() ? "" : it->second.user;
}

std::vector<std::string> known_engines() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : factories()) names.push_back(name);
  return names;
}

}  // namespace daarion
