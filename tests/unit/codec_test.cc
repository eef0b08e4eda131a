#include "streams/codec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "proto/daarion/v1/beat.pb.h"
#include "proto/daarion/v1/event.pb.h"
#include "proto/daarion/v1/state.pb.h"
#include "tests/unit/random_values.h"

namespace daarion {
namespace {

using test::Filler;

template <std::size_t I = 0>
Payload make_payload(std::size_t index, Filler& filler) {
  if constexpr (I < std::variant_size_v<Payload>) {
    if (index == I) return filler.make<std::variant_alternative_t<I, Payload>>();
    return make_payload<I + 1>(index, filler);
  } else {
    return Paused{};
  }
}

Event make_event(std::size_t payload, std::uint64_t seed) {
  Filler filler(seed);
  Event event;
  event.payload = make_payload(payload, filler);
  event.header = {.id = {filler.next() | 1, filler.next()}, .schema = 1, .node = NodeId("node1"), .actor = "node:node1", .reason = "why",
                  .cause = {filler.next() | 1, 7}, .resource = ResourceId("postgres"), .epoch = {filler.next() | 1},
                  .wall_time_ns = 1'790'000'000'000'000'000, .min_feature = 1,
                  .aggregate = aggregate_of(event.payload, NodeId("node1"), ResourceId("postgres")), .version = {1 + filler.next() % 1000}};
  return event;
}

StoredMessage stored(const Event& event, std::uint64_t sequence = 9) {
  return {.sequence = {sequence}, .stored_ns = 5, .subject = log_subject(event.header.aggregate, event.header.version),
          .payload = encode_event(event)};
}

std::string hex(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    out += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    out += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

TEST(EventCodec, CarriesEveryMemberOfEveryPayload) {
  for (std::size_t payload = 0; payload < std::variant_size_v<Payload>; ++payload)
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Event event = make_event(payload, seed);
      const auto back = decode_event(stored(event));
      ASSERT_TRUE(back) << back.error().message;
      EXPECT_EQ(back->event, event) << payload_name(event.payload);
      EXPECT_EQ(back->sequence.value, 9u);
      EXPECT_EQ(back->stored_ns, 5);
    }
}

TEST(EventCodec, GivesTheSameBytesAsTheGoldenFile) {
  const std::string path = std::string(DAARION_SOURCE_DIR) + "/tests/golden/events.hex";
  std::string now;
  for (std::size_t payload = 0; payload < std::variant_size_v<Payload>; ++payload) {
    const Event event = make_event(payload, payload);
    now += std::string(payload_name(event.payload)) + " " + hex(encode_event(event)) + "\n";
  }
  if (std::getenv("DAARION_UPDATE_GOLDEN")) std::ofstream(path) << now;
  std::ifstream in(path);
  const std::string then((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(now, then) << "events already in logs would be read differently";
}

std::string unhex(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return out;
}

/// Events of a log from before, as a golden file has them ("<type> <bytes>" a line): all of them are read, and their bytes are the same if written
/// again. `check` sees each; returns how many there were.
int each_of_before(const char* file, const char* subject, const std::function<void(const Payload&)>& check) {
  std::ifstream in(std::string(DAARION_SOURCE_DIR) + "/tests/golden/" + file);
  std::string name, text;
  int events = 0;
  for (; in >> name >> text; ++events) {
    const auto back = decode_event({.sequence = {9}, .stored_ns = 5, .subject = subject, .payload = unhex(text)});
    EXPECT_TRUE(back) << back.error().message;
    if (!back) continue;
    EXPECT_EQ(payload_name(back->event.payload), name);
    EXPECT_EQ(hex(encode_event(back->event)), text);
    check(back->event.payload);
  }
  return events;
}

TEST(EventCodec, ReadsAndWritesEventsWithoutAnInstanceAsBefore) {
  const int events = each_of_before("events_without_instance.hex", "cluster.log.lease.postgres.7", [](const Payload& payload) {
    std::visit(
        [&](const auto& p) {
          if constexpr (requires { p.instance; }) {
            EXPECT_TRUE(p.instance.empty()) << payload_name(payload);
          } else {
            ADD_FAILURE() << payload_name(payload);
          }
        },
        payload);
  });
  EXPECT_EQ(events, 4);
}

/// A decision from before reports named who opened an inherited timeline.
TEST(EventCodec, ReadsAndWritesDecisionsWithoutInheritanceAsBefore) {
  const int events = each_of_before("events_without_inheritance.hex", "cluster.log.lease.postgres.7", [](const Payload& payload) {
    const auto& decided = std::get<PromotionDecided>(payload);
    ASSERT_FALSE(decided.evidence.candidates.empty());
    for (const CandidateEvidence& c : decided.evidence.candidates) EXPECT_TRUE(c.engine.inherited.empty() && c.engine.inherited_from.empty());
  });
  EXPECT_EQ(events, 1);
}

/// A decision from before anything was known of whom commits wait for.
TEST(EventCodec, ReadsAndWritesDecisionsWithoutASyncSetAsBefore) {
  const int events = each_of_before("events_without_sync.hex", "cluster.log.lease.postgres.7", [](const Payload& payload) {
    const auto& decided = std::get<PromotionDecided>(payload);
    EXPECT_TRUE(decided.evidence.sync.empty());
    EXPECT_EQ(decided.evidence.settled_ms, 0u);
  });
  EXPECT_EQ(events, 1);
}

/// A decision from before reports said what an engine lacks.
TEST(EventCodec, ReadsAndWritesDecisionsWithoutWhatAnEngineLacksAsBefore) {
  const int events = each_of_before("events_without_lacks.hex", "cluster.log.lease.postgres.7", [](const Payload& payload) {
    const auto& decided = std::get<PromotionDecided>(payload);
    ASSERT_FALSE(decided.evidence.candidates.empty());
    for (const CandidateEvidence& c : decided.evidence.candidates) EXPECT_TRUE(c.engine.lacks.empty() && c.engine.blocked.empty() && !c.engine.version.empty());
  });
  EXPECT_EQ(events, 1);
}

/// A decision from before timelines named who opened them, and under which epoch.
TEST(EventCodec, ReadsAndWritesDecisionsWithoutWhoOpenedATimelineAsBefore) {
  const int events = each_of_before("events_without_openers.hex", "cluster.log.lease.postgres.7", [](const Payload& payload) {
    const auto& decided = std::get<PromotionDecided>(payload);
    ASSERT_FALSE(decided.evidence.candidates.empty() || decided.evidence.timelines.empty());
    for (const TimelineStart& t : decided.evidence.timelines) EXPECT_TRUE(t.session.empty() && t.timeline != 0);
    for (const CandidateEvidence& c : decided.evidence.candidates) EXPECT_EQ(c.engine.opened_epoch, Epoch{});
  });
  EXPECT_EQ(events, 1);
}

/// A capability's move from before it had evidence.
TEST(EventCodec, ReadsAndWritesCapabilitiesWithoutEvidenceAsBefore) {
  const int events = each_of_before("capability_without_evidence.hex", "cluster.log.route.vision.7",
                                    [](const Payload& payload) { EXPECT_TRUE(std::get<CapabilityMoved>(payload).evidence.empty()); });
  EXPECT_EQ(events, 1);
}

/// A voter set from before it named what it changes and on whose word.
TEST(EventCodec, ReadsAndWritesVoterSetsWithoutWordsAsBefore) {
  const int events = each_of_before("voter_set_without_words.hex", "cluster.log.cluster.log.7", [](const Payload& payload) {
    const auto& set = std::get<VoterSetChanged>(payload);
    EXPECT_FALSE(set.voters.empty());
    EXPECT_TRUE(set.base.empty() && set.next.empty() && set.words.empty());
  });
  EXPECT_EQ(events, 1);
}

/// Topologies and rules of logs from before they had services and capabilities.
TEST(EventCodec, ReadsAndWritesTopologiesWithoutServicesAsBefore) {
  const int events = each_of_before("topology_without_services.hex", "cluster.log.topology.spec.7", [](const Payload& payload) {
    if (const auto* topology = std::get_if<TopologyChanged>(&payload)) {
      EXPECT_TRUE(topology->spec.services.empty());
    }
  });
  EXPECT_EQ(events, 2);
}

/// Rules of logs from before they named a service, replicas or consumers.
TEST(EventCodec, ReadsAndWritesRulesWithoutAServiceAsBefore) {
  const int events = each_of_before("rules_without_service.hex", "cluster.log.route.table.7", [](const Payload& payload) {
    const auto* table = std::get_if<RouteTableChanged>(&payload);
    const std::vector<RouteRule>& rules = table ? table->rules : std::get<TopologyChanged>(payload).spec.routes;
    ASSERT_FALSE(rules.empty());
    EXPECT_EQ(rules[0].service + std::to_string(rules[0].replicas), "0");
  });
  EXPECT_EQ(events, 2);
}

TEST(EventCodec, RefusesTruncatedBytesOrReadsAnotherEvent) {
  for (std::size_t payload = 0; payload < std::variant_size_v<Payload>; ++payload) {
    const Event event = make_event(payload, 3);
    const StoredMessage whole = stored(event);
    for (std::size_t size = 0; size < whole.payload.size(); ++size) {
      StoredMessage cut = whole;
      cut.payload.resize(size);
      const auto back = decode_event(cut);
      if (back) {
        EXPECT_NE(back->event, event);
      }
    }
  }
}

TEST(EventCodec, NamesSequenceAndSubjectOfWhatItCannotRead) {
  StoredMessage message = stored(make_event(0, 1), 812);
  message.payload = "\xff\xff\xff";
  const auto back = decode_event(message);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().remedy, Remedy::kStop);
  EXPECT_NE(back.error().message.find("812"), std::string::npos);
  EXPECT_NE(back.error().message.find("cluster.log.cluster.log."), std::string::npos);
}

TEST(EventCodec, StopsAtAHigherFeatureLevelAnUnknownTypeAnUnknownFieldAndAMissingReason) {
  Event event = make_event(0, 1);
  event.header.min_feature = kFeatureLevel + 1;
  auto back = decode_event(stored(event));
  ASSERT_FALSE(back);
  EXPECT_NE(back.error().message.find("feature level 2"), std::string::npos) << back.error().message;

  event = make_event(0, 1);
  event.header.reason.clear();
  EXPECT_FALSE(decode_event(stored(event)));

  StoredMessage unknown = stored(make_event(20, 1));  // Paused: the payload is empty, so its field is the last two or three bytes
  unknown.payload += std::string("\xfa\x3f\x00", 3);  // field 1023, length 0
  back = decode_event(unknown);
  ASSERT_FALSE(back);
  EXPECT_NE(back.error().message.find("1023"), std::string::npos) << back.error().message;
}

/// What protobuf's own code makes of the bytes of the same message.
template <class Message>
std::optional<std::string> rewritten(const std::string& bytes) {
  Message message;
  if (!message.ParseFromString(bytes)) return std::nullopt;
  message.DiscardUnknownFields();
  return message.SerializeAsString();
}

TEST(Wire, WritesTheBytesOfProtobufsOwnCode) {
  for (std::size_t payload = 0; payload < std::variant_size_v<Payload>; ++payload)
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::string bytes = encode_event(make_event(payload, seed));
      EXPECT_EQ(rewritten<v1::Event>(bytes), bytes);
    }
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Filler filler(seed);
    const std::string beat = encode_beat(filler.make<Beat>()), ack = encode_ack(filler.make<Ack>()), vote = encode_vote(filler.make<Vote>()),
                      lease = wire::write(filler.make<LeaseState>()), topology = wire::write(filler.make<TopologyState>());
    EXPECT_EQ(rewritten<v1::Beat>(beat), beat);
    EXPECT_EQ(rewritten<v1::Ack>(ack), ack);
    EXPECT_EQ(rewritten<v1::Vote>(vote), vote);
    EXPECT_EQ(rewritten<v1::LeaseState>(lease), lease);
    EXPECT_EQ(rewritten<v1::TopologyState>(topology), topology);
  }
}

/// Whatever bytes are read, protobuf's own code reads the same from them: no byte may mean another thing here.
TEST(Wire, ReadsNoBytesOtherwiseThanProtobufsOwnCode) {
  std::size_t read = 0, refused = 0;
  for (std::uint64_t seed = 0; seed < 40'000; ++seed) {
    Filler random(seed);
    StoredMessage message = stored(make_event(random.next() % std::variant_size_v<Payload>, random.next() % 100));
    for (std::uint64_t i = 0; i < 1 + seed % 3; ++i) {
      char& byte = message.payload[random.next() % message.payload.size()];
      byte = static_cast<char>(seed % 2 == 0 ? byte ^ (1 << random.next() % 8) : random.next());
    }
    const auto ours = decode_event(message);
    if (!ours) {
      ++refused;
      continue;
    }
    ++read;
    ASSERT_EQ(rewritten<v1::Event>(message.payload), encode_event(ours->event)) << "seed " << seed;
  }
  EXPECT_GT(read, 5'000u);
  EXPECT_GT(refused, 5'000u);
}

TEST(Wire, ReadsNumbersOfAListPackedOrNot) {
  LeaseState lease;
  lease.promotions_ns = {1, 300, -5};
  const std::string packed = wire::write(lease);
  std::string loose = wire::write(LeaseState{});
  LeaseState back;
  EXPECT_EQ(wire::read(packed, *v1::LeaseState::descriptor(), back), "");
  EXPECT_EQ(back.promotions_ns, lease.promotions_ns);
  for (const char* number : {"\x78\x01", "\x78\xac\x02"}) loose += number;  // field 15, as a varint each
  LeaseState one_by_one;
  EXPECT_EQ(wire::read(loose, *v1::LeaseState::descriptor(), one_by_one), "");
  EXPECT_EQ(one_by_one.promotions_ns, (std::vector<std::int64_t>{1, 300}));
}

TEST(Wire, RefusesAFieldTwiceAMissingMessageAnUnknownEnumValueAndTextThatIsNoUtf8) {
  const auto what = [](const std::string& bytes, const google::protobuf::Descriptor& type, auto value) { return wire::read(bytes, type, value); };
  const auto& replica = *v1::ReplicaProvisioned::descriptor();
  const std::string good = wire::write(ReplicaProvisioned{});
  EXPECT_EQ(what(good, replica, ReplicaProvisioned{}), "");
  EXPECT_NE(what(good + good, replica, ReplicaProvisioned{}).find("ReplicaProvisioned.position is there twice"), std::string::npos);
  EXPECT_NE(what("", replica, ReplicaProvisioned{}).find("ReplicaProvisioned.position is missing"), std::string::npos);
  EXPECT_NE(what("\x08\x63", *v1::MemberIntentChanged::descriptor(), MemberIntentChanged{}).find("intent is 99"), std::string::npos);
  EXPECT_NE(what("\x0a\x02\xc3\x28", *v1::SlotDropped::descriptor(), SlotDropped{}).find("SlotDropped.slot is not UTF-8"), std::string::npos);
  EXPECT_NE(what("\x0a\x05zz", *v1::SlotDropped::descriptor(), SlotDropped{}).find("truncated"), std::string::npos);
}

TEST(Wire, WritesTextThatIsNoUtf8AsWhatEverybodyCanRead) {
  const auto slot_of = [](const std::string& text) {
    SlotDropped out;
    EXPECT_EQ(wire::read(wire::write(SlotDropped{text}), *v1::SlotDropped::descriptor(), out), "");
    return out.slot;
  };
  EXPECT_EQ(slot_of("d\xe9j\xe0 vu"), "d?j? vu");
  EXPECT_EQ(slot_of("half a letter \xc3"), "half a letter ?");
  EXPECT_EQ(slot_of("d\xc3\xa9j\xc3\xa0 vu"), "d\xc3\xa9j\xc3\xa0 vu");
}

TEST(LogSubject, IsReadBackAndRefusesWhatIsNotOne) {
  const auto replica = parse_log_subject("cluster.log.replica.postgres.node2.4");
  ASSERT_TRUE(replica);
  EXPECT_EQ(replica->first, (Aggregate{"replica", "postgres.node2"}));
  EXPECT_EQ(replica->second.value, 4u);
  for (const char* bad : {"cluster.log.lease.postgres", "cluster.log.lease.postgres.0", "cluster.log.lease.postgres.08", "cluster.log.lease.postgres.x",
                          "cluster.events.lease.postgres.1", "cluster.log..postgres.1", "cluster.log.lease..1", "", "cluster.log.1"})
    EXPECT_FALSE(parse_log_subject(bad)) << bad;
}

template <class T>
void carries(std::string (*encode)(const T&), Result<T> (*decode)(std::string_view)) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Filler filler(seed);
    const T value = filler.make<T>();
    const auto back = decode(encode(value));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(*back, value);
  }
  EXPECT_FALSE(decode("\xff\xff"));
}
TEST(BeatCodec, CarriesEveryMember) {
  carries<Beat>(encode_beat, decode_beat);
  carries<Ack>(encode_ack, decode_ack);
  carries<Vote>(encode_vote, decode_vote);
}

TEST(Chain, ChangesWithAnyByteOfAnyOfHundredEvents) {
  std::vector<StoredMessage> log;
  for (std::uint64_t i = 1; i <= 100; ++i) log.push_back(stored(make_event(i % 25, i), i));
  const auto chain_of = [](const std::vector<StoredMessage>& messages) {
    Chain chain;
    for (const StoredMessage& m : messages) chain = chain_next(chain, m);
    return chain;
  };
  const Chain whole = chain_of(log);
  EXPECT_EQ(whole.size(), 64u);
  EXPECT_EQ(chain_of(log), whole);
  // From event i on only: the chain before it does not change.
  Chain before;
  std::size_t flips = 0;
  for (std::size_t i = 0; i < log.size(); ++i) {
    const Chain own = chain_next(before, log[i]);
    for (std::size_t byte = 0; byte < log[i].payload.size(); ++byte, ++flips) {
      StoredMessage flipped = log[i];
      flipped.payload[byte] = static_cast<char>(flipped.payload[byte] ^ (1 << (byte % 8)));
      ASSERT_NE(chain_next(before, flipped), own) << "event " << i + 1 << " byte " << byte;
    }
    before = own;
  }
  EXPECT_GT(flips, 10'000u);
}

TEST(Chain, DoesNotLetBytesMoveBetweenSubjectAndPayload) {
  const StoredMessage a{.sequence = {1}, .subject = "ab", .payload = "c"};
  const StoredMessage b{.sequence = {1}, .subject = "a", .payload = "bc"};
  EXPECT_NE(chain_next({}, a), chain_next({}, b));
}

}  // namespace
}  // namespace daarion
