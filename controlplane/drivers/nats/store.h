// A nats-server's files, before it starts.
//
// Its raft groups write a snapshot at times; the meta group does whenever a consumer ends. On a full disk that leaves a file that is too short
// (measured with 2.9.10: empty). A server that starts takes the newest snapshot, deletes the others, and then finds that it is too short and deletes that
// too. Its meta group goes on with what its log has after the last good one: it does not know its streams, and no later restart mends that. The
// log of the cluster then has one replica less for ever (seen in chaos). So what is too short goes first, and the server takes the one before. Where
// there is none, the meta group's folder is set aside: the others send it all that it lacks, and the streams' own files are taken up (measured).
#pragma once

#include <string>

#include "controlplane/core/result.h"

namespace daarion {

/// Pre: no server runs on it. `store_dir`: as in its configuration. Returns what was done, for people; empty: nothing.
/// Errors: kFixInput: it cannot be read, or written.
Result<std::string> mend_nats_store(const std::string& store_dir);

}  // namespace daarion
