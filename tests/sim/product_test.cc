// The product has neither planted bugs nor marks, and is otherwise what the simulator runs: the same seeds, the same stories.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/sim/faults.h"
#include "tests/sim/world.h"

namespace daarion::sim {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The mangled names of daarion::planted(Plant) and daarion::mark(Mark).
constexpr std::array kSymbols = {"_ZN7daarion7plantedENS_5PlantE", "_ZN7daarion4markENS_4MarkE"};

TEST(Product, HasNoPlantsAndNoMarks) {
  const std::string product = bytes_of(DAARION_CORE_ARCHIVE), tool = bytes_of(DAARION_PLANTED_ARCHIVE);
  ASSERT_FALSE(product.empty());
  for (const char* symbol : kSymbols) {
    EXPECT_EQ(product.find(symbol), std::string::npos) << symbol;
    EXPECT_NE(tool.find(symbol), std::string::npos) << "the search would find it: " << symbol;
  }
}

TEST(Product, TellsTheSameStoriesAsTheTool) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    World world(seed, deal(seed), false);
    EXPECT_EQ(world.run(deal_faults(seed, deal(seed))), "");
    std::array<char, 64> want{}, line{};
    std::snprintf(want.data(), want.size(), "hash %016llx\n", static_cast<unsigned long long>(world.trace_hash()));
    std::string said;
    std::FILE* tool = popen((std::string(DAARION_SIM) + " --seed " + std::to_string(seed)).c_str(), "r");
    ASSERT_NE(tool, nullptr);
    while (std::fgets(line.data(), static_cast<int>(line.size()), tool) != nullptr) said += line.data();
    EXPECT_EQ(pclose(tool), 0);
    EXPECT_NE(said.find(want.data()), std::string::npos) << seed << ": " << said;
  }
}

}  // namespace
}  // namespace daarion::sim
