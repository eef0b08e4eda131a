// What a PostgreSQL committed, read from its WAL: also when the engine is dead, and whatever its clients heard.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace daarion::bench {

/// Long enough to be in the middle of it whenever a kill comes: a commit per row of daarion_busy, without asking a client. The kill ends it.
inline constexpr const char* kBusy = "do $$ begin for i in 1..100000000 loop insert into daarion_busy values (i); commit; end loop; end $$";

/// Times (ns since 1970, of this host) of all commits in the data's WAL from `start` ("0/3000148") on. Source: pg_waldump, which ends at the
/// first record that is none.
std::vector<std::int64_t> commits_in_wal(const std::string& data_dir, const std::string& start, std::uint64_t timeline);

}  // namespace daarion::bench
