// What the processes of a stand-in share: one file, changed under a lock, and who of them lives. See qdrant.cc, neo4j.cc.
#pragma once

#include <fcntl.h>
#include <httplib.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>

namespace daarion::standin {

using Json = nlohmann::json;
using std::chrono::milliseconds;
namespace fs = std::filesystem;

constexpr int kSilentMs = 2000;  // one that is stopped is dead to the others after this

inline std::atomic<bool> g_ending = false;

inline std::int64_t now_ms() { return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }
inline std::string env(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value && *value ? value : otherwise;
}
inline Json read_json(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const Json out = Json::parse(text.str(), nullptr, false);
  return out.is_object() ? out : Json::object();
}
inline void write_json(const std::string& path, const Json& value) {
  const std::string next = path + "." + std::to_string(getpid());
  std::ofstream(next) << value;
  fs::rename(next, path);
}
/// Listens there until SIGTERM. Returns false, with a line on stderr, if the place is taken.
inline bool listen_at(httplib::Server& server, const char* what, const std::string& host, int port) {
  static httplib::Server* listening = nullptr;
  listening = &server;
  signal(SIGTERM, [](int) {
    g_ending = true;
    listening->stop();
  });
  server.new_task_queue = [] { return new httplib::ThreadPool(32); };  // late answers hold one each
  if (server.bind_to_port(host.c_str(), port)) return true;
  std::cerr << "a stand-in for " << what << ": " << host << ":" << port << " is taken\n";
  return false;
}

/// Late, as it was told to be.
inline void linger(std::int64_t ms) {
  for (const auto end = now_ms() + ms; now_ms() < end && !g_ending;) std::this_thread::sleep_for(milliseconds(20));
}

/// Threads: any.
class SharedFile {
 public:
  SharedFile(std::string folder, std::string file, Json initial) : folder_(std::move(folder)), file_(folder_ + "/" + file), initial_(std::move(initial)) {
    fs::create_directories(folder_);
  }
  /// Under the lock. What `change` did is kept if it returns true.
  bool with(const std::function<bool(Json&)>& change) {
    const std::lock_guard mine(mutex_);
    const int lock = open((folder_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    flock(lock, LOCK_EX);
    Json state = read_json(file_);
    if (state.empty()) state = initial_;
    bool changed = false;
    try {
      changed = change(state);
      if (changed) write_json(file_, state);
    } catch (...) {
      close(lock);
      throw;
    }
    close(lock);
    return changed;
  }
  Json look() {
    Json out;
    with([&](Json& s) { return out = s, false; });
    return out;
  }

  /// This process is `name` from now on: it lives while it holds the lock on its own file and has touched it lately, so that SIGKILL and SIGSTOP are both seen.
  void live(const std::string& name) {
    if (life_ >= 0) return;
    me_ = name;
    life_ = open(path_of(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    flock(life_, LOCK_EX);
    touch();
  }
  void touch() const { futimens(life_, nullptr); }
  bool lives(const std::string& name) const {
    if (name == me_) return true;
    struct stat st {};
    const std::string path = path_of(name);
    if (stat(path.c_str(), &st) != 0 || now_ms() - (st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1'000'000) > kSilentMs) return false;
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    const bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return held;
  }

 private:
  std::string path_of(const std::string& name) const { return folder_ + "/" + name + ".life"; }
  const std::string folder_, file_;
  const Json initial_;
  std::string me_;
  int life_ = -1;
  std::mutex mutex_;
};

}  // namespace daarion::standin
