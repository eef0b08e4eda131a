// A bounded queue between threads. push() never blocks: what a full queue does is the caller's to know.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "controlplane/core/types.h"

namespace daarion {

template <class T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t bound) : bound_(bound) {}

  /// Returns false if it is full or closed, and drops `item`.
  bool push(T item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= bound_) return false;
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
    return true;
  }

  /// As push(), but a full queue drops its oldest item instead: for what is stale when it is late. Returns false if one was dropped.
  bool push_fresh(T item) {
    bool room = true;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      room = items_.size() < bound_;
      if (!room) items_.pop_front();
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
    return room;
  }

  /// The next item, or nothing after `wait` or once closed and empty.
  std::optional<T> pop(Duration wait) {
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, wait, [&] { return closed_ || !items_.empty(); });
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    filled_.notify_all();
  }

  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  const std::size_t bound_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace daarion
