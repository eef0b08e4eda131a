// The inner guard: the engine's parent, and the keeper of session and deadline.
//
// Between two guards and a daemon, who may do what:
//   keeper   starts the engine, takes and retires sessions, fences at the deadline, when its watcher dies, when told to
//   watcher  its parent: if the keeper dies, or the deadline has passed and the keeper does not act, it ends the keeper and everything
//            below, until nothing is left (watcher.h)
//   daemon   may only move a deadline that has not passed, or end a session. If it dies, hangs or is stopped, the deadline stays
//            where it is, and passes.
//
// One thread, and nothing in it that may block for long but the fence itself: what it has to say goes to the daemon, not to a disk.
#pragma once

#include <sys/types.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/node/guard/page.h"
#include "controlplane/node/guard/protocol.h"

namespace daarion::guard {

struct Setup {
  std::string socket;    // path to listen on
  std::string data_dir;  // of the engine: strays are known by it
  std::string cgroup;    // empty: none
};

/// A file of the guard's beside the data directory, which changes hands as a whole: "<data_dir>.guard.<what>".
std::string beside_data(const std::string& data_dir, const std::string& what);
/// The program of the last started engine, written down before it was started, for whoever must find strays of a lost guard. Empty: none
/// ever was.
std::string noted_program(const std::string& data_dir);
bool note_program(const std::string& data_dir, const std::string& program);

class Keeper {
 public:
  Keeper(Setup setup, Page& page, pid_t watcher) : setup_(std::move(setup)), page_(page), watcher_(watcher) {}

  /// Serves until told to quit, or until its watcher dies. Returns the exit code. Pre: subreaper, SIGCHLD blocked.
  int serve();

 private:
  bool open_all();
  void hear_client();
  void take(const Fields& message);
  void take(const GuardCommand& command);
  void start_engine(const Fields& message);
  void signal_engine(const Fields& message);
  void take_ends();
  void fence(std::optional<EndCause> cause);
  void empty();
  void end_taken(EndCause cause);
  void end_next();
  void set_alarm();
  void report();
  void answer(const std::string& id, const std::string& error);
  bool send_to_client(const Fields& fields);
  void drop_client();
  void say(const std::string& line);

  Setup setup_;
  Page& page_;
  pid_t watcher_;
  int listener_ = -1, client_ = -1, signals_ = -1, alarm_ = -1, watcher_fd_ = -1;
  SessionId next_;
  std::optional<TakenSession> taken_;
  std::vector<SessionEnd> ended_;
  std::uint64_t incarnation_ = 0;
  pid_t engine_ = 0;            // the first process; 0: none
  bool reaped_ = false;         // its end was taken: the pid may be another's
  bool end_announced_ = false;  // a signal was sent on request: its end is no crash
  bool fencing_ = false;
  bool owes_report_ = false;    // the client's buffer was full
  bool quit_ = false;
  std::deque<std::string> unsaid_;  // lines for a daemon that is not there, or does not read
};

}  // namespace daarion::guard
