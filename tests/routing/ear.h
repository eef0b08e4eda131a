// Who hears all that a server's clients can hear, and when connections were made again: what is not kept by a stream may be lost then, and never else.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "streams/connection.h"

namespace daarion::test {

/// When one connection was made again: by its server's end, or since a server that got no time looked frozen.
class Remakings {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// To be asked more often than the connection can be lost twice.
  void look(const std::shared_ptr<Link>& link);
  /// How long before `at` the last one was seen, in seconds; one that was seen within the second after it is the same moment: 0. Without one: a day.
  double since(Time at) const;

 private:
  std::shared_ptr<Link> link_;
  std::uint64_t of_link_ = 0;
  mutable std::mutex mutex_;  // guards when_
  std::vector<Time> when_;
};

/// Everything that one server's clients can hear, counted by subject; it never runs out of room. Subjects that are used once (answers) are left out.
class Ear {
 public:
  explicit Ear(const NatsEndpoint& as);
  ~Ear();
  std::map<std::string, int> heard() const;
  /// Numbers that were passed over, and when a later one came.
  struct Gap {
    int from, to;
    Remakings::Time at;
  };
  /// Of a subject whose payloads count up. repeats: how many had come before. gaps: what has not come since either; in which order they come is not asked:
  /// what was published while its connection was made again is sent late.
  struct Count {
    int newest = -1, came = 0, repeats = 0;
    std::vector<Gap> gaps;
  };
  Count count(const std::string& subject) const;
  const Remakings& remakings() const { return remakings_; }

 private:
  void run();
  void take(const std::string& subject, int number);  // mutex_ is held
  std::shared_ptr<Connection> connection_;
  std::atomic<bool> closed_ = false;
  Remakings remakings_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, int> heard_;
  struct Counted {
    Count count;
    std::vector<bool> came;  // by number
  };
  std::map<std::string, Counted> counts_;
  std::thread thread_;
};

}  // namespace daarion::test
