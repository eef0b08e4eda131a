#include "tests/routing/route_judge.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <limits>

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kTendEvery(500);
constexpr Duration kStill = seconds(2);
constexpr double kLateS = 5;  // what was said while a connection was away is known to be lost within this after it was made again

std::vector<std::string> own_subjects(const std::string& node) { return {"node." + node + ".local.gpu.temp", "cache.invalidate." + node}; }

}  // namespace

Whisperer::Whisperer(RouteRig& rig, milliseconds pace) {
  for (const int i : rig.nodes()) {
    names_.push_back(rig.servers.name(i));
    links_.push_back(connect(rig.servers, {i}, NatsServers::Account::kApp));
    remakings_[names_.back()];
  }
  thread_ = std::thread([this, pace] { run(pace); });
}

Whisperer::~Whisperer() {
  closed_ = true;
  thread_.join();
}

void Whisperer::run(milliseconds pace) {
  while (!closed_) {
    const std::string number = std::to_string(said_);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const auto link = links_[i]->handles().link();
      for (const std::string& subject : {"node." + names_[i] + ".local.gpu.temp", "cache.invalidate." + names_[i], "node.other.local." + names_[i]})
        natsConnection_PublishString(link->nc, subject.c_str(), number.c_str());
      remakings_.at(names_[i]).look(link);
    }
    ++said_;
    std::this_thread::sleep_for(pace);
  }
  nats_ReleaseThreadMemory();
}

Ears::Ears(const RouteRig& rig) : rig_(rig) {
  for (const int i : rig.nodes())
    for (const auto account : {NatsServers::Account::kApp, NatsServers::Account::kRoutes})
      at_[i].push_back(std::make_unique<Ear>(rig.servers.endpoint({i}, "ear", account)));
}

int Ears::newest(int node) const {
  int newest = std::numeric_limits<int>::max();
  for (const auto& ear : at_.at(node))
    for (const std::string& subject : own_subjects(rig_.servers.name(node))) newest = std::min(newest, ear->count(subject).newest);
  return newest;
}

int Ears::leaks(const Whisperer& whisperer) const {
  int leaks = 0;
  const double late = kLateS * rig_.world.load();
  for (const auto& [i, both] : at_) {
    const std::string name = rig_.servers.name(i);
    for (std::size_t kind = 0; kind < both.size(); ++kind) {
      const std::string who = (kind == 0 ? "a service on " : "the routes' user on ") + name;
      for (const auto& [subject, times] : both[kind]->heard()) {
        const bool own = subject == "node." + name + ".local.gpu.temp" || subject == "node.other.local." + name;
        const bool node_leak = subject.starts_with("node.") && subject.find(".local.") != std::string::npos && !own;
        // The core is one site, each edge is one of its own.
        const bool of_site = rig_.servers.is_edge(i) ? subject == "cache.invalidate." + name : subject.starts_with("cache.invalidate.node");
        if (node_leak || (subject.starts_with("cache.") && !of_site)) leaks += times, ADD_FAILURE() << who << " heard " << subject << " " << times << " times";
      }
      for (const std::string& subject : own_subjects(name)) {
        const Ear::Count count = both[kind]->count(subject);
        EXPECT_GT(count.came, 0) << who << " heard nothing of " << subject;
        EXPECT_EQ(count.repeats, 0) << who << " heard some of " << subject << " again";
        for (const Ear::Gap& gap : count.gaps) {
          const double own = both[kind]->remakings().since(gap.at), speakers = whisperer.remakings(name).since(gap.at);
          EXPECT_LE(std::min(own, speakers), late) << who << " did not hear numbers " << gap.from << " to " << gap.to << " of " << subject << ", " << own
                                                   << " s after its connection was made again and " << speakers << " s after the speaker's";
        }
      }
    }
  }
  for (const int i : rig_.core_nodes)
    for (const int j : rig_.core_nodes)
      EXPECT_TRUE(at_.at(i)[0]->heard().contains("cache.invalidate." + rig_.servers.name(j))) << "the core is one site: node" << i + 1;
  return leaks;
}

Readers::Readers(RouteRig& rig) {
  for (std::size_t site = 0; site <= rig.edges.size(); ++site) {
    const std::vector<int> order = site == 0 ? rig.core_nodes : std::vector<int>{rig.edge_nodes[site - 1]};
    for (const std::string& stream : kStreams) {
      const std::vector<std::string> streams = site == 0 ? std::vector{stream} : std::vector{edge_stream_of(stream, rig.node(order.front())), stream + "_MIRROR"};
      const auto app = connect(rig.servers, order, NatsServers::Account::kApp);
      all_.push_back({rig.servers.name(order.front()) + "'s reader of " + stream, stream,
                      std::make_unique<SiteConsumer>([app, streams](const SitePosition& position) { return read_site(app, streams, position); })});
    }
  }
}

bool Readers::gave(const std::function<int(const std::string& subject)>& sent_of) const {
  return std::ranges::all_of(all_, [&](const Reader& reader) {
    const auto which = std::ranges::find(kStreams, reader.stream) - kStreams.begin();
    return static_cast<int>(reader.consumer->count()) >= sent_of(kSubjects[static_cast<std::size_t>(which)]);
  });
}

Keepers::Keepers(RouteRig& rig) : every_(kTendEvery * rig.world.load()), keepers_(rig, kStill * rig.world.load()), thread_([this] { run(); }) {}

Keepers::~Keepers() {
  closed_ = true;
  thread_.join();
}

void Keepers::run() {
  while (!closed_) {
    for (const RouteWork& work : keepers_.tend())
      for (const std::string& done : work.done) ++mends_, std::printf("%s\n", done.c_str());
    std::this_thread::sleep_for(every_);
  }
  nats_ReleaseThreadMemory();
}

Wrong judge(RouteRig& rig, const Readers& readers, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  Wrong wrong;
  for (std::size_t s = 0; s < kStreams.size(); ++s) {
    std::set<std::string> sent, behind;
    const std::string token = kSubjects[s].substr(0, kSubjects[s].find('.'));
    for (const auto& publisher : publishers)
      for (int n = 0; n < publisher->acked_of(kSubjects[s]); ++n) sent.insert(publisher->origin() + " " + token + " " + std::to_string(n));
    const auto hold = [&](const std::set<std::string>& seen, const std::string& where, int& lacks) {
      const auto lacking = std::ranges::count_if(sent, [&](const std::string& id) { return !seen.contains(id); });
      const auto unsent = std::ranges::count_if(seen, [&](const std::string& id) { return !sent.contains(id); });
      if (lacking + unsent > 0) wrong.note += where + " lacks " + std::to_string(lacking) + " of " + std::to_string(sent.size()) + lacking_in(sent, seen) + ", has " + std::to_string(unsent) + " others; ";
      lacks += static_cast<int>(lacking), wrong.never_sent += static_cast<int>(unsent);
    };
    const auto replicas = read_each_replica(*rig.core, kStreams[s], 3);
    EXPECT_EQ(replicas.size(), 3u) << kStreams[s];
    for (const auto& [server, tally] : replicas) {
      hold(tally.seen, kStreams[s] + " at " + server, wrong.lacking);
      behind.insert(tally.out_of_order.begin(), tally.out_of_order.end());
      if (!tally.note.empty()) wrong.note += server + " has " + tally.note + "; ";
    }
    for (std::size_t e = 0; e < rig.edges.size(); ++e) {
      std::set<std::string> seen;
      const std::string name = rig.servers.name(rig.edge_nodes[e]), own = edge_stream_of(kStreams[s], rig.node(rig.edge_nodes[e]));
      for (const std::string& stream : {kStreams[s] + "_MIRROR", own})
        for (const auto& [server, tally] : read_each_replica(*rig.edges[e], stream, 1)) {
          seen.insert(tally.seen.begin(), tally.seen.end());
          behind.insert(tally.out_of_order.begin(), tally.out_of_order.end());
          // What stands in an edge's own stream and is of another node was put there because the mirror lacked it.
          if (stream == own) std::ranges::copy_if(tally.seen, std::inserter(behind, behind.end()), [&](const std::string& id) { return !id.starts_with(name + " "); });
        }
      hold(seen, kStreams[s] + " on " + name, wrong.lacking);
    }
    for (const Readers::Reader& reader : readers.all()) {
      if (reader.stream != kStreams[s]) continue;
      Tally given;
      for (const std::string& id : reader.consumer->given()) given.take(id);
      hold(given.seen, reader.who, wrong.lost);
      wrong.given_twice += given.repeats;
      wrong.known_again += reader.consumer->known_again();
      const auto own = std::ranges::count_if(given.out_of_order, [&](const std::string& id) { return !behind.contains(id); });
      wrong.disorders += static_cast<int>(own);
      if (const std::string trouble = reader.consumer->trouble(); own + given.repeats > 0 || !trouble.empty())
        wrong.note += reader.who + " gave " + std::to_string(given.repeats) + " twice, " + std::to_string(own) + " out of order (" + given.note + ") " + reader.consumer->first_repeat() + " " + trouble + "; ";
    }
    wrong.behind += static_cast<int>(behind.size());
  }
  return wrong;
}

}  // namespace daarion::test
