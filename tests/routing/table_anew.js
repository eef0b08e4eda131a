// A table bucket that somebody deleted begins at sequence 1 again: the JavaScript client goes on with what is put there, and still drops older tables.
// Against a nats-server of its own. Arguments: the client's folder, a port. Exit code 77: npm's package nats is not here.
"use strict";
const assert = require("node:assert");
const { spawn } = require("node:child_process");
const { mkdtempSync, rmSync } = require("node:fs");
const { createRequire } = require("node:module");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const [folder, port] = process.argv.slice(2);
let connect;
try {
  ({ connect } = createRequire(join(folder, "index.js"))("nats"));
} catch {
  console.log("optional: npm's package nats is not here; `npm install --no-save --prefix clients/js nats` brings it");
  process.exit(77);
}
const { DaarionClient } = require(folder);

async function main() {
  const nc = await connect({ servers: `127.0.0.1:${port}`, maxReconnectAttempts: -1, reconnectTimeWait: 50, waitOnFirstConnect: true });
  const ask = async (subject, body) => JSON.parse(new TextDecoder().decode((await nc.request(subject, JSON.stringify(body), { timeout: 5000 })).data));
  const make = () => ask("$JS.API.STREAM.CREATE.KV_cluster_routes", { name: "KV_cluster_routes", subjects: ["$KV.cluster_routes.>"], storage: "file", num_replicas: 1 });
  const put = (table) => ask("$KV.cluster_routes.table", { log_id: "one", rules: [], ...table });
  await make();
  for (const updated of [1, 2, 3]) await put({ updated });
  const client = await DaarionClient.start(nc, "node1");
  const now = async () => { await client._look(); return client.table.updated; };
  assert.equal(await now(), 3);
  await ask("$JS.API.STREAM.DELETE.KV_cluster_routes", {});
  await make();
  await put({ updated: 4 });
  assert.equal(await now(), 4, "the bucket's own numbers are lower than before");
  await put({ updated: 2 });
  assert.equal(await now(), 4, "an older one, whatever its place");
  await put({ updated: 2, regressed: 3 });
  assert.equal(await now(), 2, "of a log that lost its end and went on");
  await put({ updated: 1, log_id: "another" });
  assert.equal(await now(), 1, "of another log");
  client.close();
  await nc.close();
}

const store = mkdtempSync(join(tmpdir(), "daarion-table-"));
const server = spawn(process.env.NATS_SERVER || "nats-server", ["-a", "127.0.0.1", "-p", port, "-js", "-sd", store], { stdio: "ignore" });
const gone = new Promise((resolve) => server.on("close", resolve));
main().then(() => 0, (error) => { console.log(error); return 1; }).then(async (code) => {
  server.kill("SIGKILL");
  await gone;
  rmSync(store, { recursive: true });
  process.exit(code);
});
