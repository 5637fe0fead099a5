// Uploads one source: in a single request, or in parts that can be resumed.
import { $, prefix } from "./dom.js";
import { discard } from "./garbage.js";
import { persistently, send, sendWithToken, server } from "./requests.js";

// Larger files are uploaded in parts, directly to storage, and can be resumed.
const WHOLE_UP_TO = 4 * 2 ** 20;
const MIN_PART = 5 * 2 ** 20;
const USUAL_PART = 8 * 2 ** 20;
const MAX_PART = 64 * 2 ** 20;
const MAX_PARTS = 10000;
const PARTS_AT_ONCE = 3;
// If the connection is lost, unfinished parts are lost too, so send no more at once than fits into this time.
const LOSE_AT_MOST = 10; // seconds

// Bytes per second, measured with the last part sent.
let lineSpeed = null;

/** Upload a source. Resolves with the JSON of the answer.
 *
 * `begun` is an interrupted upload of the source, if any. `remember` is called with what is needed to resume this
 * upload, or with null once it can no longer be resumed.
 */
export async function upload(source, options, { begun, remember, signal, onProgress }) {
  if (source.size <= WHOLE_UP_TO && !begun && !source.plain) return uploadWhole(source, options, { signal, onProgress });
  const run = (from) => new PartsUpload(source, { remember, signal, onProgress }).run(options, from);
  try {
    return await run(begun);
  } catch (error) {
    if (!(error instanceof OtherBytes)) throw error;
    takeBack(begun);
    return run(null);
  }
}

/** An encrypted upload cannot be resumed, because its file has changed: two texts must not have the same key. */
class OtherBytes extends Error {}

/** The inbox that gets the files of this page, if it is an inbox's, and the name of the sender. */
const destination = () => (server.inbox ? { inbox: server.inbox, sender: $("sender").value.trim() } : {});

async function uploadWhole(source, { expires_in, max_downloads, password }, { signal, onProgress }) {
  // In the query, which arrives unchanged: gateways rewrite paths, and treat a body of a text type as text.
  const query = new URLSearchParams({ filename: source.name, content_type: source.type });
  const inQuery = { expires_in, max_downloads, ...destination() };
  for (const [name, value] of Object.entries(inQuery)) if (value) query.set(name, value);
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/json" };
  // A header consists of bytes, each written as one character.
  if (password) headers["X-Password"] = String.fromCharCode(...new TextEncoder().encode(password));
  const { body } = await source.read(0, source.size);
  const attempt = () =>
    sendWithToken("PUT", `${prefix}/file/upload?${query}`, { headers, body, signal, onProgress });
  const request = await persistently(attempt, signal, () => source.check());
  return JSON.parse(request.responseText);
}

/** Parts of archives and of encrypted files are held in memory, and encrypting takes several copies. */
function mostInPart({ file, plain }) {
  if (file) return MAX_PART;
  return plain ? MIN_PART : USUAL_PART;
}

class PartsUpload {
  #sent = new Map();
  #done = new Map();
  #waiting = [];
  #running = new Set();

  constructor(source, { remember, signal, onProgress }) {
    Object.assign(this, { source, remember, signal, onProgress });
  }

  async run(options, begun) {
    this.begun = begun ?? null;
    if (begun) {
      if (begun.secret) await this.source.useSecret(begun.secret);
      const listed = await this.#json("GET", "").catch(unlessUnknown);
      if (listed) this.#done = new Map(listed.map((part) => [part.PartNumber, part]));
      else {
        // The upload may be complete, with only the answer lost.
        const answer = begun.parts ? await this.#complete().catch(unlessUnknown) : null;
        if (answer) return answer;
        this.begun = null;
      }
    }
    if (!this.begun) await this.#start(options);
    const { partSize } = this.begun;
    const count = Math.ceil(this.source.size / partSize);
    for (let number = 1; number <= count; number++) {
      const part = this.#done.get(number);
      const isThere = part?.Size === this.#length(number);
      const isFixed = this.begun.secret && this.begun.checksums?.[number] !== undefined;
      const isSame = (isThere || isFixed) && (await this.#isSame(number));
      if (isFixed && !isSame) throw new OtherBytes();
      if (isThere && isSame) this.#sent.set(number, part.Size);
      else {
        this.#done.delete(number);
        this.#waiting.push(number);
      }
      this.#report(true);
    }
    await this.#sendParts();
    const parts = [...this.#done.values()].sort((a, b) => a.PartNumber - b.PartNumber);
    this.begun.parts = parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
    this.remember(this.begun);
    return this.#complete();
  }

  async #start(options) {
    const { name, type, size } = this.source;
    const metadata = Object.fromEntries(Object.entries({ ...options, ...destination() }).filter(([, value]) => value));
    if (this.source.plain) metadata.encryption = await this.source.renewSecret();
    const body = { filename: name, type: type || "application/octet-stream", size, metadata };
    const { key, uploadId, part_size } = await this.#request("POST", `${prefix}/file/s3/multipart`, body);
    const fitting = lineSpeed === null ? USUAL_PART : (lineSpeed * LOSE_AT_MOST) / PARTS_AT_ONCE;
    const most = mostInPart(this.source);
    const best = Math.max(MIN_PART, Math.min(fitting, most), size / MAX_PARTS);
    const partSize = part_size ?? Math.ceil(best / 2 ** 20) * 2 ** 20;
    this.begun = { key, uploadId, partSize, secret: this.source.secret };
    this.remember(this.begun);
  }

  /** Send parts one after the other until the connection has proved fast enough for several at once. */
  async #sendParts() {
    while (this.#waiting.length > 0 || this.#running.size > 0) {
      const fitting = lineSpeed === null ? 1 : Math.floor((lineSpeed * LOSE_AT_MOST) / this.begun.partSize);
      const atOnce = Math.max(1, Math.min(fitting, PARTS_AT_ONCE));
      while (this.#waiting.length > 0 && this.#running.size < atOnce) {
        const part = this.#sendPart(this.#waiting.shift());
        this.#running.add(part);
        const ended = () => this.#running.delete(part);
        part.then(ended, ended);
      }
      await Promise.race(this.#running);
    }
  }

  #read(number) {
    const start = (number - 1) * this.begun.partSize;
    return this.source.read(start, start + this.#length(number));
  }

  /** Whether the bytes of a part are still those that were sent. */
  async #isSame(number) {
    const { checksum } = await this.#read(number);
    return checksum === (this.begun.checksums?.[number] ?? null);
  }

  async #sendPart(number) {
    const { body, checksum } = await this.#read(number);
    const note = () => (this.begun.checksums = { ...this.begun.checksums, [number]: checksum });
    if (this.begun.secret) {
      // Before it can leave this computer.
      note();
      this.remember(this.begun);
    }
    const onProgress = (bytes) => {
      this.#sent.set(number, bytes);
      this.#report();
    };
    const attempt = async () => {
      const path = address(this.begun, `/${number}`);
      let url = path;
      if (server.signs) {
        // Parts go to an address that may belong to another server, so send no token there.
        const signed = await sendWithToken("GET", path, { signal: this.signal });
        url = JSON.parse(signed.responseText).url;
      }
      const since = performance.now();
      const request = await send("PUT", url, { body, signal: this.signal, onProgress });
      lineSpeed = (this.#length(number) * this.#running.size) / ((performance.now() - since) / 1000);
      return request.getResponseHeader("ETag");
    };
    const ETag = await persistently(attempt, this.signal, () => this.source.check());
    if (body instanceof Uint8Array) discard(body);
    this.#sent.set(number, this.#length(number));
    this.#done.set(number, { PartNumber: number, ETag });
    if (checksum !== null) note();
    this.#report();
    this.begun.share = [...this.#done.keys()].reduce((sum, part) => sum + this.#length(part), 0) / this.source.size;
    this.remember(this.begun);
  }

  #complete() {
    return this.#json("POST", "/complete", { parts: this.begun.parts });
  }

  #json(method, rest, body) {
    return this.#request(method, address(this.begun, rest), body);
  }

  async #request(method, url, body) {
    const headers = { "Content-Type": "application/json" };
    const sent = body === undefined ? null : JSON.stringify(body);
    const attempt = () => sendWithToken(method, url, { headers, body: sent, signal: this.signal });
    return JSON.parse((await persistently(attempt, this.signal)).responseText);
  }

  #length(number) {
    return Math.min(this.begun.partSize, this.source.size - (number - 1) * this.begun.partSize);
  }

  #total() {
    return [...this.#sent.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Report progress. Bytes that are already `there` do not count towards the speed. */
  #report(there = false) {
    this.onProgress(this.#total(), there);
  }
}

/** Cancel an upload in parts. The server later removes by itself what cannot be removed now. */
export function takeBack(begun) {
  sendWithToken("DELETE", address(begun)).catch((error) => console.warn(error.message));
}

function address({ key, uploadId }, rest = "") {
  return `${prefix}/file/s3/multipart/${encodeURIComponent(uploadId)}${rest}?key=${encodeURIComponent(key)}`;
}

/** Null if the server does not know the upload. If it knows no upload into an inbox, it requires a token. */
function unlessUnknown(error) {
  if (error.status !== 404 && error.status !== 401) throw error;
  return null;
}
