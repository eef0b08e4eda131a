// What a service in JavaScript does, told line by line: where each subject of SUBJECTS goes, each table that follows, each message that is given.
// Environment: CLIENT (the folder of the client), URL, USER_NAME, PASSWORD, NODE_ID, RULE, SUBJECTS (separated by spaces).
"use strict";
const { createRequire } = require("node:module");
const env = process.env;
const { DaarionClient } = require(env.CLIENT);
const { connect } = createRequire(env.CLIENT + "/index.js")("nats");

async function main() {
  const nc = await connect({ servers: env.URL, user: env.USER_NAME, pass: env.PASSWORD, maxReconnectAttempts: -1, reconnectTimeWait: 100, waitOnFirstConnect: true });
  const client = await DaarionClient.start(nc, env.NODE_ID);
  for (const subject of env.SUBJECTS.split(" ")) {
    const { cls, rule, stream, mirror, nodes, service, deadLetter } = client.resolve(subject);
    console.log("resolved", JSON.stringify({ subject, cls, rule, stream, mirror, nodes, service, deadLetter }));
  }
  client.onTable = (table) => console.log("table", table.updated);
  console.log("table", client.table.updated);
  for await (const message of client.read(env.RULE)) console.log("message", message.id);
}
main().catch((error) => { console.log("failed", error.message); process.exit(1); });
