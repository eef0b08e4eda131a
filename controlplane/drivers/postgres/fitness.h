// What the data of this node need of its host, and the host does not have: a standby would serve its users worse than its primary did, or could
// not be started again. The catalogs are the primary's, replicated; files and programs are the host's own.
//
//   programs     `postgres` of the data's major version can be run: a package that was removed or replaced under a running server
//   libraries    shared_preload_libraries, and those that functions are in, are where the server would look for them
//   extensions   those that were created in a database have their control files
//
// Beside it, what is for people alone: settings that wait for a restart.
//
// Seldom, a piece at a time, over connections of its own: a hanging disk costs one observation its time, and no question that a lease depends on.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/control.h"

namespace daarion::postgres {

class Fitness {
 public:
  /// Does the next piece, if it is time: one connection and one question, or one run of a program; at most 300 ms, or 1 s for the program.
  /// What cannot be asked now stays as it was and is asked again a second later, a few times; of another incarnation of the engine nothing waits for
  /// a restart. Source: pg_settings, pg_database, pg_extension, pg_available_extensions, pg_proc, pg_stat_file().
  void step(std::uint64_t incarnation, const Target& server, const Tools& tools, const std::string& data_dir);

  /// At most 16, in an order that is the same on every node.
  std::vector<std::string> lacks() const;
  std::vector<std::string> problems() const;

 private:
  enum class Piece { kPrograms, kServer, kDatabase };
  struct Next {
    Piece piece = Piece::kPrograms;
    std::string database = {};
    int asked = 0;  // in vain
  };
  // Whether there was an answer.
  bool look_at_programs(const Tools& tools, const std::string& data_dir);
  bool look_at_server(const Target& server);
  bool look_at_database(const Target& server, const std::string& database);

  std::deque<Next> left_;  // of this round
  std::chrono::steady_clock::time_point next_piece_{};
  std::chrono::steady_clock::time_point next_round_{};
  std::uint64_t incarnation_ = 0;
  std::string programs_;                // what is wrong with them
  std::vector<std::string> preloaded_;  // libraries of shared_preload_libraries that are missing
  std::map<std::string, std::vector<std::string>> databases_;  // what is missing in each
  std::vector<std::string> restart_for_;                       // settings
};

}  // namespace daarion::postgres
