#include "tests/sim/plants.h"

#include <array>
#include <utility>

namespace daarion {
namespace {
Plant the_plant = Plant::kNone;
thread_local std::array<std::uint64_t, static_cast<std::size_t>(Mark::kCount)> the_marks{};
}  // namespace

bool planted(Plant plant) { return the_plant == plant; }
void mark(Mark mark) { ++the_marks[static_cast<std::size_t>(mark)]; }

namespace sim {

#define DAARION_TEXT(constant, name, what) {name, what},
std::vector<PlantText> plants() { return {DAARION_PLANTS(DAARION_TEXT)}; }
std::vector<MarkText> marks() { return {DAARION_MARKS(DAARION_TEXT)}; }
#undef DAARION_TEXT

bool plant(const std::string& name) {
  the_plant = Plant::kNone;
  const std::vector<PlantText> all = plants();
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].name == name) the_plant = static_cast<Plant>(i + 1);
  return name.empty() || the_plant != Plant::kNone;
}

std::vector<std::uint64_t> take_marks() {
  std::vector<std::uint64_t> out(the_marks.begin(), the_marks.end());
  the_marks = {};
  return out;
}

}  // namespace sim
}  // namespace daarion
