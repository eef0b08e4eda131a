// Whether one node's data may follow another's: Redis itself does not ask. A replica takes whatever its master has, and a master that
// came back empty makes its replicas empty; so it is looked at before REPLICAOF is said.
//
// Example: node1 writes timeline 4 (opened under epoch 4) up to 900 and dies; node2 had received 880 and opens timeline 5 there. node1
// comes back with what it had saved at 600: it may follow, and gets the rest. Had it saved at 900: parted, since 880 to 900 are
// of nobody's history; it takes a whole copy. A server at 10 that says it writes timeline 4 was restarted without its data: nobody at 880
// follows it.
#pragma once

#include <map>
#include <string>

#include "controlplane/drivers/marker.h"

namespace daarion::redis {

struct Lineage {
  std::string identity;          // empty: no data of any resource
  std::uint64_t timeline = 0;    // 0: none was ever opened in these data
  Lsn end;
  bool writable = false;
  std::map<std::uint64_t, Opening> openings;  // by timeline, as these data say
};

enum class Kinship {
  kMayFollow,
  kParted,       // a whole copy is needed
  kOtherSystem,  // data of another cluster: a person must look
  kNotYet,       // it is not the writer of these data, or not yet
  kWentBack,     // it lacks what it once had: a person must look
};

struct Judgement {
  Kinship kinship = Kinship::kMayFollow;
  std::string why;
};

/// Pure. `own` without data may follow any writer of the same identity.
Judgement judge(const Lineage& own, const Lineage& upstream);

}  // namespace daarion::redis
