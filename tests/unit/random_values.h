// Random values of every struct that has a describe(): no field is left at its default, so a field that is not carried shows.
#pragma once

#include "consumers/describe_state.h"
#include "streams/describe.h"
#include "streams/wire.h"

namespace daarion::test {

/// An archive that fills instead of copying.
class Filler {
 public:
  explicit Filler(std::uint64_t seed) : state_(seed * 2 + 1) {}

  template <class T>
  void operator()(int, T& value) { fill(value); }

  template <class T>
  T make() {
    T value{};
    describe(*this, value);
    return value;
  }

  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

 private:
  template <class T>
  void fill(T& v) {
    if constexpr (std::is_same_v<T, bool>) v = true;
    else if constexpr (std::is_enum_v<T>) v = static_cast<T>(1 + next() % 2);  // every enum of ours has three values or more
    else if constexpr (std::is_same_v<T, std::uint32_t>) v = static_cast<std::uint32_t>(next() | 1);
    else if constexpr (std::is_same_v<T, std::int32_t>) v = -static_cast<std::int32_t>(1 + next() % 1000);
    else if constexpr (std::is_same_v<T, std::uint64_t>) v = next() | 1;
    else if constexpr (std::is_same_v<T, std::int64_t>) v = static_cast<std::int64_t>(next() >> 2) | 1;
    else if constexpr (std::is_same_v<T, Duration>) v = Duration(static_cast<std::int64_t>(next() >> 20) | 1);
    else if constexpr (std::is_same_v<T, std::string>) v = "s" + std::to_string(next() % 1000);
    else if constexpr (wire::IsStrongString<T>::value) v.value = "n" + std::to_string(next() % 1000);
    else if constexpr (wire::IsStrongNumber<T>::value) v.value = next() | 1;
    else if constexpr (wire::IsStrongId<T>::value) v = T{next() | 1, next()};
    else if constexpr (wire::IsVector<T>::value) {
      v.resize(1 + next() % 3);
      for (auto& e : v) fill(e);
    } else if constexpr (wire::IsMap<T>::value) {
      for (std::uint64_t i = 0; i < 1 + next() % 3; ++i) {
        typename T::key_type key;
        fill(key);
        fill(v[key]);
      }
    } else {
      describe(*this, v);
    }
  }

  std::uint64_t state_;
};

}  // namespace daarion::test
