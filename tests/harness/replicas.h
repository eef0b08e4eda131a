// What each replica of a stream holds, by the ids of its messages.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>

#include "controlplane/core/types.h"
#include "streams/connection.h"

namespace daarion::test {

/// The ids that one replica of a stream has, or a reader was given, in their order. Ids are those of Publisher.
struct Tally {
  std::set<std::string> seen;
  std::set<std::string> out_of_order;  // that first came behind a later one of their origin
  std::set<std::string> put_again;     // by a keeper of copies, as their header says; of what was read from a replica
  int repeats = 0;
  std::string note;                    // of the first that was out of order
  void take(const std::string& id);

 private:
  std::map<std::string, int> newest_;  // number, by origin and subject
};

/// From which to which number each origin's are lacking, in words; empty: none is.
std::string lacking_in(const std::set<std::string>& sent, const std::set<std::string>& seen);

/// Every replica of the stream by its server's name, or those that could be read within the limit.
std::map<std::string, Tally> read_each_replica(Connection& connection, const std::string& stream, std::size_t replicas, Duration limit = std::chrono::seconds(60));

}  // namespace daarion::test
