// A source that encrypts another one with a key that the server never gets.
import { Calls } from "./calls.js";
import { interrupted } from "./memory.js";
import { Cancelled } from "./network.js";
import { CHUNK, chunksIn, encryptedSize } from "./private-format.js";
import { Offline, persistently } from "./requests.js";
import { fill, texts } from "./words.js";

/** Encrypt a source if the user wants that, or if its upload was interrupted and was encrypted. */
export function encryptIf(isWanted, source) {
  const same = ({ name, size, stamp }) => name === source.name && size === source.size && stamp === source.stamp;
  const isResumed = interrupted().some((entry) => entry.begun.secret && same(entry));
  return isWanted || isResumed ? new PrivateSource(source) : source;
}

/** A source (see sources.js) of the encrypted bytes of `plain`. `secret` has the key and the salt of one upload. */
export class PrivateSource {
  // The server must not learn the name.
  name = "encrypted";
  type = "";
  secret = null;
  #calls = null;

  constructor(plain) {
    const { path, stamp, count, inFolder } = plain;
    Object.assign(this, { plain, path, stamp, count, inFolder, size: encryptedSize(plain.size) });
  }

  /** Make a new key and a new salt. Resolves with the option `encryption` of the upload. */
  async renewSecret() {
    const { name, type, size, entries } = this.plain;
    const fields = { original_name: name, content_type: type || "application/octet-stream", file_size: size, entries };
    const { secret, encryption } = await this.#load("begin", fields);
    this.secret = secret;
    return encryption;
  }

  /** Go on with an upload that was interrupted. Its parts must have the same bytes as before. */
  async useSecret(secret) {
    await this.#load("resume", secret);
    this.secret = secret;
  }

  #load(method, argument) {
    return persistently(() => {
      this.#calls ??= new Calls("private-worker.js", () => {
        this.#calls = null;
        return new Offline();
      });
      return this.#calls.call(method, argument);
    });
  }

  async read(start, stop) {
    const { first, end } = chunksIn(start, stop);
    const from = first * CHUNK;
    const to = Math.min(end * CHUNK, this.plain.size);
    const { body } = await this.plain.read(from, to);
    // Read here, while the worker encrypts another part.
    const text = await new Blob([body]).arrayBuffer().catch(() => null);
    // Some browsers return less of a file that became shorter.
    if (text?.byteLength !== to - from) throw new Error(fill(texts.progress.changed, { name: this.path }));
    const isEnd = end * CHUNK > this.plain.size;
    const { bytes, checksum } = await this.#calls.call("encrypt", { start, stop, text, isEnd }, [text]);
    return { body: bytes, checksum };
  }

  /** The answer to the upload, with what the server does not know. */
  reveal(answer) {
    const { name, size } = this.plain;
    const download_page = `${answer.download_page}#k=${this.secret.key}`;
    return { ...answer, original_name: name, file_size: size, download_page };
  }

  check() {
    return this.plain.check();
  }

  close() {
    this.#calls?.end(new Cancelled());
    this.#calls = null;
    this.plain.close();
  }
}
