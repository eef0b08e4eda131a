// The nats-servers of this node, looked at from outside. One that stands still is lost to the log like one that is down, and no supervisor notices:
// its process lives and its ports accept. nats-server 2.9.10 comes to that after its disk was full: its file store waits for a lock that it
// holds itself, at some later write (docs/failure-modes.md). Newer ones turn their JetStream off, and leave it off when there is room again.
//
// What helps is a restart: by the command of `control.nats.restart`, and by a person where there is none, who reads of it in `status`. Its
// last word is the server's name. A server that refuses connections is left to whatever supervises it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/types.h"
#include "controlplane/topology/cluster_file.h"
#include "controlplane/topology/render.h"

namespace daarion {

/// What one look at a server found.
struct ServerLook {
  enum class Answer { kWell, kRefused, kSilent, kOff };  // kSilent: accepts and says nothing. kOff: its JetStream is disabled
  Answer answer = Answer::kWell;
  std::optional<std::uint64_t> free_bytes;  // for its store; nothing: it is not seen from here
  std::uint64_t disk_bytes = 0;             // of its file system, without what is kept for root; 0: as above
};

/// Whether a server is to be restarted, from looks that are a few seconds apart. Pure.
class ServerJudge {
 public:
  explicit ServerJudge(Duration after) : after_(after) {}
  /// Why it is to be restarted now, in words; empty: it is not.
  std::string look(const ServerLook& seen, Instant now);
  /// The command was run: for what is ill the next is due after a pause that doubles. What is wrong stands on if it failed.
  void ran(bool ok, Instant now);
  /// What is wrong, for `status`; empty: nothing, or not for long enough.
  const std::string& trouble() const { return trouble_; }
  /// That the disk of its store is nearly full, for `status`; empty: it is not. A server whose disk is full stands still.
  const std::string& room() const { return room_; }

 private:
  const Duration after_;
  std::optional<Instant> since_;  // it is silent or off
  Instant looked_{}, run_{}, next_{}, next_room_{};
  Duration pause_{};
  bool was_full_ = false;
  std::string trouble_, room_;
};

class ServerKeeper {
 public:
  /// `own`: the servers of this node. Without a command it looks all the same.
  ServerKeeper(NatsRestartSpec spec, std::vector<NatsServerPlan> own);
  ~ServerKeeper();
  /// For `status`. Threads: any.
  std::vector<std::string> warnings() const;

 private:
  struct Server;
  void run(Server& server);

  const NatsRestartSpec spec_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::vector<std::unique_ptr<Server>> servers_;
};

}  // namespace daarion
