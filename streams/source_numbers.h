// What the sources of a stream passed by, as far as its own messages say: each that came by a source has its number there in Nats-Stream-Source. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace daarion {

class SourceNumbers {
 public:
  /// The stream's messages come from `next` on. What stands before is known only where that is its first message of all.
  explicit SourceNumbers(std::uint64_t next = 1) : next_(next), whole_(next <= 1) {}
  /// The next message of the stream, in its order. `origin`: the source that it came by, and `number` there; empty: by none. A number that is not above the one
  /// before begins anew: the origin was, or other replicas are read.
  void take(std::uint64_t sequence, const std::string& origin, std::uint64_t number);
  /// Where the next message is looked for.
  std::uint64_t next() const { return next_; }
  using Gaps = std::map<std::uint64_t, std::uint64_t>;  // an origin's numbers that did not come: the first of them -> the last
  /// Of each origin. What was deleted from the stream leaves a hole in the stream's own numbers too, and is none: it is to stay deleted.
  const std::map<std::string, Gaps>& gaps() const { return gaps_; }
  /// The one that begins there is closed, or was none.
  void forget(const std::string& origin, std::uint64_t first);

 private:
  struct Newest {
    std::uint64_t number = 0, holes = 0;  // holes_ then
  };
  std::uint64_t next_, holes_ = 0;        // holes_: numbers of the stream itself that it has not
  bool whole_;
  std::map<std::string, Newest> newest_;
  std::map<std::string, Gaps> gaps_;
};

}  // namespace daarion
