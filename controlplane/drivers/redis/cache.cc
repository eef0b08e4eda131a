// Redis, `mode: cache`: instances that are each their own, as an edge has them. Nobody is elected and nothing is lost with one; what is looked after is
// that each answers, follows nobody, and is bounded.
#include <cstdlib>
#include <thread>

#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/redis/sentinel.h"

namespace daarion {
namespace redis {
namespace {

class CacheObserver final : public Observer {
 public:
  CacheObserver(ObserverConfig config, std::string password) : config_(std::move(config)), password_(std::move(password)) {}

  ResourceView observe() override {
    ResourceView out{.primary = {}, .elected_by = "nobody, as each cache is its own,", .election = 0, .members = {}, .problems = {}, .repairs = {}, .source = "redis"};
    for (const PeerAddress& at : config_.peers) look(at, out);
    return out;
  }
  bool await_word(Duration limit) override {
    std::this_thread::sleep_for(limit);
    return false;
  }
  Result<std::string> act(const ObservedAction&) override { return fail(Remedy::kStepDown, "a cache is not switched over: each is its own"); }

 private:
  void look(const PeerAddress& at, ResourceView& out) {
    MemberView m;
    m.seen = {.node = at.node, .role = "cache", .state = EngineState::kUnresponsive, .identity = {}, .version = {}, .health = {}};
    const std::string node = at.node.value;
    const Target target{.host = at.host, .port = at.port, .user = {}, .password = password_};
    const auto said = kept_.ask(target, {{"INFO"}, {"CONFIG", "GET", "maxmemory", "maxmemory-policy"}}, kConnectLimit, kAskLimit);
    if (!said) {
      m.seen.health = "no answer: " + said.error().message;
    } else {
      const Info info = parse_info(said->front().text);
      const bool open = field(info, "role") == "master";
      m.seen.state = field(info, "loading") == "1" ? EngineState::kStarting : open ? EngineState::kPrimary : EngineState::kStandby;
      m.seen.version = field(info, "redis_version");
      if (!open) m.seen.health = "it follows " + field(info, "master_host") + " and takes no writes: redis-cli REPLICAOF NO ONE";
      else if (out.primary.empty()) out.primary = at.node;
      Info config;
      const Reply& pairs = (*said)[1];
      for (std::size_t i = 0; i + 1 < pairs.list.size(); i += 2) config[pairs.list[i].text] = pairs.list[i + 1].text;
      if (config.contains("maxmemory") && number(config, "maxmemory") == 0)
        out.problems.push_back("the cache of " + node + " has no maxmemory: it grows until the machine has no memory; set maxmemory, and maxmemory-policy allkeys-lru");
      else if (field(config, "maxmemory-policy") == "noeviction")
        out.problems.push_back("the cache of " + node + " has maxmemory-policy noeviction: once it is full it refuses writes; set allkeys-lru");
    }
    out.members.push_back(std::move(m));
  }

  const ObserverConfig config_;
  const std::string password_;
  KeptConnections kept_;
};

}  // namespace

Result<std::unique_ptr<Observer>> make_cache_with(const ObserverConfig& config, const std::string& password) {
  return std::unique_ptr<Observer>(std::make_unique<CacheObserver>(config, password));
}

}  // namespace redis

Result<std::unique_ptr<Observer>> make_cache_observer(const ObserverConfig& config) {
  const char* password = std::getenv("REDIS_PASSWORD");
  return redis::make_cache_with(config, password == nullptr ? "" : password);
}

}  // namespace daarion
