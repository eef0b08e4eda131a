#include "controlplane/core/sync_set.h"

#include <algorithm>
#include <iterator>

#include "controlplane/core/plant.h"

namespace daarion {

SyncStep plan_sync(const SyncView& v) {
  const Confirmers known = v.logged.value_or(v.declared);
  Confirmers next{{}, std::max(v.declared.needed, known.needed)};
  std::ranges::set_intersection(known.members, v.present, std::back_inserter(next.members));
  if (next.members.size() < next.needed) next.members = known.members;
  if (v.in_force != next) {
    if (!is_within(next, v.in_force) && v.under_way) return {.tell = {}, .append = known};
    return {.tell = next, .append = {}};
  }
  if (v.logged != next) {
    if (!v.confirmed_all && !PLANTED(kSyncLeavesAtOnce)) return {};
    MARK_IF(kSyncSmaller, next.members.size() < known.members.size());
    return {.tell = {}, .append = next};
  }
  Confirmers more{{}, v.declared.needed};
  std::ranges::set_union(next.members, v.present, std::back_inserter(more.members));
  if (more == next) return {};
  MARK(kSyncLarger);
  return {.tell = {}, .append = more};
}

std::string text_of(const Confirmers& c) {
  std::string names;
  for (const NodeId& node : c.members) names += (names.empty() ? "" : ", ") + node.value;
  return std::to_string(c.needed) + " of " + names;
}

bool is_within(const Confirmers& a, const Confirmers& b) { return a.needed >= b.needed && std::ranges::includes(b.members, a.members); }

}  // namespace daarion
