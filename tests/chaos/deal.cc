#include "tests/chaos/deal.h"

namespace daarion::chaos {
namespace {

std::uint64_t mixed(std::uint64_t seed, const std::string& name, std::size_t round) {
  std::uint64_t h = 1469598103934665603ULL ^ seed;  // FNV-1a
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return (h ^ round) * 1099511628211ULL;
}

template <class T>
void shuffle(std::vector<T>& cards, Chance& chance) {
  for (std::size_t i = cards.size(); i > 1; --i) std::swap(cards[i - 1], cards[chance.below(i)]);
}

}  // namespace

Chance::Chance(std::uint64_t seed, const std::string& name, std::size_t round) : next_(mixed(seed, name, round)) {}

std::vector<std::string> deal(const std::vector<Kind>& kinds, std::uint64_t seed, double minutes) {
  Chance chance(seed);
  std::vector<const Kind*> quick, rest;
  for (const Kind& k : kinds)
    if (k.not_yet.empty()) (k.quick ? quick : rest).push_back(&k);
  double all = 0;
  for (const auto& deck : {quick, rest})
    for (const Kind* k : deck) all += k->cost_s;
  double left = minutes * 60;
  std::vector<std::string> out;
  if (all > left) {
    shuffle(quick, chance);
    shuffle(rest, chance);
    quick.insert(quick.end(), rest.begin(), rest.end());
    for (const Kind* k : quick) {
      if (k->cost_s > left) continue;
      left -= k->cost_s;
      out.push_back(k->name);
    }
    return out;
  }
  quick.insert(quick.end(), rest.begin(), rest.end());
  for (bool first = true, more = !quick.empty(); more; first = false) {
    more = false;
    shuffle(quick, chance);
    for (const Kind* k : quick) {
      if (!first && k->cost_s > left) continue;
      left -= k->cost_s;
      out.push_back(k->name);
      more = true;
    }
  }
  return out;
}

}  // namespace daarion::chaos
