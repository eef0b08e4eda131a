// Whether one node's data may follow another's: a timeline that went on after its heir had left it has parted.
//
// Example: node1 writes timeline 2 up to 0/5000100 and dies; node2 had received 0/5000000 and opens timeline 3 there. Its history
// says "2 ended at 0/5000000". node1 comes back with a record at 0/5000000 on timeline 2: parted; it must rewind. Had node1
// stopped cleanly at 0/5000000, it could just follow.
#pragma once

#include <functional>
#include <map>

#include "controlplane/drivers/marker.h"
#include "controlplane/drivers/postgres/control.h"

namespace daarion::postgres {

/// One side. `end` is where its log surely reaches; a crashed one may reach further.
struct Lineage {
  std::string identity;
  std::uint64_t timeline = 0;
  Lsn end;
  bool writable = false;
  History history;                            // ancestors of `timeline`, oldest first
  std::map<std::uint64_t, Opening> openings;  // as far as known
  std::uint64_t checkpoint_timeline = 0;      // of the upstream: pg_rewind goes by it
};

enum class Kinship {
  kMayFollow,
  kParted,       // rewind or rebuild
  kSameNumber,   // parted, and under one timeline number: pg_rewind cannot see it, only a rebuild helps
  kOtherSystem,  // data of another cluster: a person must look
  kBehind,       // the upstream is on an older timeline: it is not the writer yet
};

struct Judgement {
  Kinship kinship = Kinship::kMayFollow;
  std::string why;
};

/// Pure. `went_past(timeline, lsn)`: whether our own WAL of that timeline has a record at lsn or later.
Judgement judge(const Lineage& own, const Lineage& upstream, const std::function<bool(std::uint64_t, Lsn)>& went_past);

}  // namespace daarion::postgres
