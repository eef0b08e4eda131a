// A service that is none: answers GET /health on each of its ports with what stands in a file, or as a healthy one where there is none.
//   daarion-stand-in ADDRESS FOLDER PORT...      the file is FOLDER/<port>.json
#include <httplib.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "daarion-stand-in ADDRESS FOLDER PORT...\n");
    return 2;
  }
  std::vector<std::unique_ptr<httplib::Server>> servers;
  std::vector<std::thread> threads;
  for (int i = 3; i < argc; ++i) {
    const std::string file = std::string(argv[2]) + "/" + argv[i] + ".json";
    auto server = std::make_unique<httplib::Server>();
    server->new_task_queue = [] { return new httplib::ThreadPool(2); };
    server->set_keep_alive_max_count(1);  // else a proxy's idle connections hold both
    server->Get("/health", [file](const httplib::Request&, httplib::Response& res) {
      std::ifstream in(file);
      std::stringstream text;
      text << in.rdbuf();
      res.set_content(text.str().empty() ? R"({"status":"healthy","nats_connected":true})" : text.str(), "application/json");
    });
    if (!server->bind_to_port(argv[1], std::stoi(argv[i]))) {
      std::fprintf(stderr, "daarion-stand-in: %s:%s is taken\n", argv[1], argv[i]);
      return 1;
    }
    threads.emplace_back([s = server.get()] { s->listen_after_bind(); });
    servers.push_back(std::move(server));
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}
