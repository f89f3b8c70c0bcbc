// minio-js as applications use it: multipart up and down, metadata, listings, presigned links and forms, versions, tags, deletes.
// Never: passes without comparing bytes. Arguments: the size of the large object in MiB.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Client } from "minio";

const MIB = 1 << 20;
const BUCKET = "minio-js";
const endpoint = new URL(process.env.AWS_ENDPOINT_URL);
const s3 = new Client({
  endPoint: endpoint.hostname,
  port: Number(endpoint.port),
  useSSL: false,
  region: process.env.AWS_DEFAULT_REGION,
  accessKey: process.env.AWS_ACCESS_KEY_ID,
  secretKey: process.env.AWS_SECRET_ACCESS_KEY,
  partSize: 5 * MIB,
});

async function digest(stream) {
  const hash = createHash("sha256");
  await pipeline(stream, hash);
  return hash.digest("hex");
}

async function all(stream) {
  const found = [];
  for await (const item of stream) found.push(item);
  return found;
}

const bytesOf = async (name, options) => Buffer.concat(await all(await s3.getObject(BUCKET, name, options)));

async function large(dir, mib) {
  const [up, down] = [join(dir, "up"), join(dir, "down")];
  const pieces = Readable.from((function* () { for (let at = 0; at < mib; at++) yield randomBytes(MIB); })());
  await pipeline(pieces, createWriteStream(up));
  await s3.fPutObject(BUCKET, "dir/large file.bin", up, { "Content-Type": "application/x-large", "X-Amz-Meta-Colour": "blue" });
  const stat = await s3.statObject(BUCKET, "dir/large file.bin");
  assert.deepEqual([stat.size, stat.metaData.colour, stat.metaData["content-type"]], [mib * MIB, "blue", "application/x-large"]);
  assert.match(stat.etag, /-\d+$/, "it went up in parts");
  await s3.fGetObject(BUCKET, "dir/large file.bin", down);
  assert.equal(await digest(createReadStream(down)), await digest(createReadStream(up)), "the large file came back different");
  assert.deepEqual(await all(await s3.listIncompleteUploads(BUCKET, "", true)), []);
}

async function small() {
  const body = randomBytes(70_000);
  await s3.putObject(BUCKET, "dir/ü & +.txt", body);
  assert.ok(body.equals(await bytesOf("dir/ü & +.txt")));
  const part = Buffer.concat(await all(await s3.getPartialObject(BUCKET, "dir/ü & +.txt", 65_000, 1000)));
  assert.ok(body.subarray(65_000, 66_000).equals(part));
  await s3.putObject(BUCKET, "streamed", Readable.from([body, body]));
  assert.ok(Buffer.concat([body, body]).equals(await bytesOf("streamed")), "a stream of unknown length");
  await s3.copyObject(BUCKET, "copy", `/${BUCKET}/streamed`);
  assert.equal((await s3.statObject(BUCKET, "copy")).size, 140_000);
  const flat = await all(s3.listObjectsV2(BUCKET, "", true));
  assert.deepEqual(flat.map((object) => object.name), ["copy", "dir/large file.bin", "dir/ü & +.txt", "streamed"]);
  const top = await all(s3.listObjects(BUCKET, "", false));
  assert.deepEqual(top.map((entry) => entry.name ?? entry.prefix).sort(), ["copy", "dir/", "streamed"]);
  await assert.rejects(s3.statObject(BUCKET, "nothing"), { code: "NotFound" });
  await assert.rejects(s3.getObject(BUCKET, "nothing"), { code: "NoSuchKey" });
}

async function links() {
  const put = await s3.presignedPutObject(BUCKET, "by link", 60);
  const answer = await fetch(put, { method: "PUT", body: "by link" });
  assert.equal(answer.status, 200, await answer.text());
  const get = await s3.presignedGetObject(BUCKET, "by link", 60, { "response-content-type": "text/x-mine" });
  const got = await fetch(get);
  assert.deepEqual([await got.text(), got.headers.get("content-type")], ["by link", "text/x-mine"]);
  assert.equal((await fetch(get.replace("by%20link", "copy"))).status, 403, "a link is for its object alone");
  const policy = s3.newPostPolicy();
  policy.setBucket(BUCKET);
  policy.setKey("by form");
  policy.setContentLengthRange(1, 1000);
  policy.setExpires(new Date(Date.now() + 60_000));
  const { postURL, formData } = await s3.presignedPostPolicy(policy);
  const form = (body) => {
    const filled = new FormData();
    for (const [name, value] of Object.entries(formData)) filled.append(name, value);
    filled.append("file", new Blob([body]), "file");
    return fetch(postURL, { method: "POST", body: filled });
  };
  assert.equal((await form("x".repeat(1001))).status, 400, "longer than its policy allows");
  assert.ok((await form("by form")).ok);
  assert.equal((await bytesOf("by form")).toString(), "by form");
}

async function settings() {
  await s3.setObjectTagging(BUCKET, "copy", { kind: "copy" });
  assert.deepEqual((await s3.getObjectTagging(BUCKET, "copy")).flat(), [{ Key: "kind", Value: "copy" }]);
  await s3.setBucketVersioning(BUCKET, { Status: "Enabled" });
  const before = await s3.putObject(BUCKET, "versioned", "one");
  await s3.putObject(BUCKET, "versioned", "two");
  assert.equal((await bytesOf("versioned", { versionId: before.versionId })).toString(), "one");
  assert.equal((await bytesOf("versioned")).toString(), "two");
}

async function empty() {
  const versions = await all(s3.listObjects(BUCKET, "", true, { IncludeVersion: true }));
  await s3.removeObjects(BUCKET, versions.map(({ name, versionId }) => ({ name, versionId })));
  assert.deepEqual(await all(s3.listObjects(BUCKET, "", true, { IncludeVersion: true })), []);
  await s3.removeBucket(BUCKET);
  assert.equal(await s3.bucketExists(BUCKET), false);
}

const dir = await mkdtemp(join(tmpdir(), "cairn-minio-"));
try {
  await s3.makeBucket(BUCKET, process.env.AWS_DEFAULT_REGION);
  assert.ok((await s3.listBuckets()).some((bucket) => bucket.name === BUCKET));
  await large(dir, Number(process.argv[2] ?? 20));
  await small();
  await links();
  await settings();
  await empty();
  console.log("minio-js: all came back");
} finally {
  await rm(dir, { recursive: true });
}
