// The planted bug of this process, and what its threads marked. With the product's core only the world around it can have either.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controlplane/core/plant.h"

namespace daarion::sim {

struct PlantText {
  std::string name;
  std::string what;
};
/// Every bug that can be planted.
std::vector<PlantText> plants();
/// Plants one for the whole process, none for an empty name. Pre: no simulation runs. Errors: false if there is none of that name.
bool plant(const std::string& name);

struct MarkText {
  std::string text;
  std::uint64_t from_seeds = 0;  // a batch of that many seeds must have hit it
};
std::vector<MarkText> marks();
/// What this thread marked since it last asked, in the order of marks().
std::vector<std::uint64_t> take_marks();

}  // namespace daarion::sim
