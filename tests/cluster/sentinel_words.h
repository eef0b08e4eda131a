// What Sentinel says.
#pragma once

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/node/clock.h"
#include "tests/cluster/kit.h"

namespace daarion::test {

/// What a sentinel says, and when it was heard here. Threads: an own one listens; the rest may be called from any.
class SentinelWords {
 public:
  explicit SentinelWords(redis::Target at)
      : listener_([this, at] {
          auto c = redis::Connection::open(at, std::chrono::seconds(5));
          if (!c || !(*c)->ask({"PSUBSCRIBE", "*"}, std::chrono::seconds(5))) return;
          listening_ = true;
          while (!ending_) {
            const auto word = (*c)->listen(std::chrono::milliseconds(100));
            if (!word) return;
            if (!*word || (*word)->list.size() < 4) continue;
            const std::lock_guard lock(mutex_);
            heard_.push_back({(*word)->list[2].text, (*word)->list[3].text, wall_of(node_now())});
          }
        }) {}
  ~SentinelWords() {
    ending_ = true;
    listener_.join();
  }
  bool listening() const { return listening_; }
  /// The newest one until then, both the wall's ns; 0: none.
  std::int64_t newest(const std::string& channel, std::int64_t until) const {
    const std::lock_guard lock(mutex_);
    std::int64_t out = 0;
    for (const Word& word : heard_)
      if (word.channel == channel && word.at <= until) out = word.at;
    return out;
  }
  /// The first "+switch-master" to this server: a move before it may be told as late as with a sentinel's next hello. The wall's ns; 0: not heard.
  std::int64_t moved_to(const redis::Target& server) const {
    const std::string ending = " " + server.host + " " + std::to_string(server.port);
    const std::lock_guard lock(mutex_);
    const auto at = std::ranges::find_if(heard_, [&](const Word& word) { return word.channel == "+switch-master" && word.text.ends_with(ending); });
    return at == heard_.end() ? 0 : at->at;
  }

 private:
  struct Word {
    std::string channel, text;
    std::int64_t at = 0;
  };
  std::atomic<bool> ending_ = false, listening_ = false;
  mutable std::mutex mutex_;
  std::vector<Word> heard_;  // guarded by mutex_
  std::thread listener_;
};

}  // namespace daarion::test
