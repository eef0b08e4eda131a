// CHECK: an invariant of our own code. On in production: a broken invariant stops the process before it acts on it.
#pragma once

#include <cstdio>
#include <cstdlib>

#define DAARION_CHECK(condition, what)                                                                          \
  do {                                                                                                          \
    if (!(condition)) {                                                                                         \
      std::fprintf(stderr, "broken invariant at %s:%d: %s (%s)\n", __FILE__, __LINE__, what, #condition);       \
      std::abort();                                                                                             \
    }                                                                                                           \
  } while (false)
