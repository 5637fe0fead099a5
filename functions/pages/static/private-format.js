// The format of private links (docs/private-links.md): a header, and chunks that are encrypted one by one.

export const CHUNK = 16384; // bytes; the last chunk is always shorter, and may be empty
const TAG = 16;
const SALT = 24;
const KEY = 16;
export const HEADER = SALT + 32;
const SEALED_CHUNK = CHUNK + TAG;
const SCHEME = "c2sp-chunked-v1-aes128gcm";
export const FILE = "simple-file-sharing/v1/file";
const METADATA = "simple-file-sharing/v1/metadata";
// Chunks that are decrypted together.
const BATCH = 32;
const MOST_METADATA = 8192; // characters
const NAME = "c2sp.org/chunked-encryption@v1+AEAD_AES_128_GCM\0";

const utf8 = new TextEncoder();

/** These bytes were not encrypted with this key, or not in this place. The message is "key", "damaged" or "cut". */
export class Damaged extends Error {
  name = "Damaged";
}

export const newKey = () => crypto.getRandomValues(new Uint8Array(KEY));
export const newSalt = () => crypto.getRandomValues(new Uint8Array(SALT));

export function toText(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export function toBytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

/** The key in what follows the "#" of a link; null if there is none. */
export function keyOf(fragment) {
  // The last character has four bits that are not part of the key. They must be zero.
  const match = /^k=([A-Za-z0-9_-]{21}[AQgw])$/.exec(fragment);
  return match && toBytes(match[1]);
}

export const encryptedSize = (size) => HEADER + size + TAG * (Math.floor(size / CHUNK) + 1);

/** Throws `Damaged` if no file has this size when it is encrypted. */
export function plainSize(size) {
  const rest = (size - HEADER) % SEALED_CHUNK;
  if (size < HEADER || rest < TAG) throw new Damaged("cut");
  return Math.floor((size - HEADER) / SEALED_CHUNK) * CHUNK + rest - TAG;
}

/** Where a chunk begins in the encrypted file. */
export const offsetOf = (number) => HEADER + number * SEALED_CHUNK;

/** The numbers of the first chunk in a range of the encrypted file, and of the first chunk after the range. */
export function chunksIn(start, stop) {
  const first = Math.max(Math.floor((start - HEADER) / SEALED_CHUNK), 0);
  return { first, end: Math.max(Math.ceil((stop - HEADER) / SEALED_CHUNK), first) };
}

/** The chunks of one message, and the `header` that precedes them. One key and salt must never encrypt two messages. */
export class Cipher {
  #aes;
  #nonce;

  static async create(key, salt, context) {
    const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-512" }, false, ["sign"]);
    const info = [...utf8.encode(NAME), ...salt, ...utf8.encode(context), 1];
    // One block of HKDF-Expand (RFC 5869, section 2.3) is enough.
    const derived = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, new Uint8Array(info)));
    const cipher = new Cipher();
    cipher.#aes = await crypto.subtle.importKey("raw", derived.subarray(0, 16), "AES-GCM", false, ["encrypt", "decrypt"]);
    cipher.#nonce = derived.slice(16, 28);
    cipher.header = new Uint8Array([...salt, ...derived.subarray(28, 60)]);
    return cipher;
  }

  /** Throws `Damaged` if the header was not made with this key in this context. */
  static async ofHeader(key, header, context) {
    const cipher = await Cipher.create(key, header.subarray(0, SALT), context);
    // In constant time: all bytes, wherever they differ.
    const difference = cipher.header.reduce((bits, byte, index) => bits | (byte ^ header[index]), 0);
    if (header.length !== HEADER || difference !== 0) throw new Damaged("key");
    return cipher;
  }

  /** The encrypted message from `start` to before `stop`, and the tags of the chunks in this range.
   *
   * `text` is that of all these chunks. Only at the end of the message can the last one be short.
   */
  async encrypt({ start, stop }, text, isEnd) {
    const { first } = chunksIn(start, stop);
    const count = Math.floor(text.length / CHUNK) + Number(isEnd);
    if (!isEnd && text.length % CHUNK !== 0) throw new RangeError("a chunk is incomplete");
    const bytes = new Uint8Array(stop - start);
    const tags = new Uint8Array(count * TAG);
    bytes.set(this.header.subarray(start, stop));
    const sealed = await this.#each(count, (index) => {
      const chunk = text.subarray(index * CHUNK, (index + 1) * CHUNK);
      return crypto.subtle.encrypt(this.#place(first + index), this.#aes, chunk);
    });
    for (const [index, chunk] of sealed.entries()) {
      tags.set(chunk.subarray(-TAG), index * TAG);
      const at = offsetOf(first + index) - start;
      bytes.set(chunk.subarray(Math.max(-at, 0), bytes.length - at), Math.max(at, 0));
    }
    return { bytes, tags };
  }

  /** Decrypt whole chunks from number `first` on, in their place. Throws `Damaged`, also unless exactly the end is short. */
  async decrypt(first, data, isEnd) {
    const count = Math.floor(data.length / SEALED_CHUNK) + Number(isEnd);
    const rest = data.length % SEALED_CHUNK;
    if (isEnd ? rest < TAG : rest !== 0) throw new Damaged("cut");
    const opened = await this.#each(count, (index) => {
      const chunk = data.subarray(index * SEALED_CHUNK, (index + 1) * SEALED_CHUNK);
      return crypto.subtle.decrypt(this.#place(first + index), this.#aes, chunk);
    }).catch(() => {
      throw new Damaged("damaged");
    });
    for (const [index, chunk] of opened.entries()) data.set(chunk, index * CHUNK);
    return data.subarray(0, data.length - count * TAG);
  }

  async #each(count, action) {
    const buffers = await Promise.all(Array.from({ length: count }, (_, index) => action(index)));
    return buffers.map((buffer) => new Uint8Array(buffer));
  }

  /** The parameters of a chunk: its number, up to 2^38, is mixed into the nonce. */
  #place(number) {
    const iv = this.#nonce.slice();
    const view = new DataView(iv.buffer);
    view.setUint8(7, view.getUint8(7) ^ Math.floor(number / 2 ** 32));
    view.setUint32(8, view.getUint32(8) ^ number % 2 ** 32);
    return { name: "AES-GCM", iv };
  }
}

/** Decrypts a file of `size` encrypted bytes, batch after batch. */
export class Decryption {
  #position = 0;
  #cipher = null;

  constructor(key, size) {
    this.key = key;
    this.size = size;
  }

  /** The verified text of the next bytes, in their place. They end with a chunk, and the first ones have the header.
   *
   * Throws `Damaged`.
   */
  async push(bytes) {
    const { first } = chunksIn(this.#position, this.size);
    const data = this.#cipher === null ? bytes.subarray(HEADER) : bytes;
    this.#cipher ??= await Cipher.ofHeader(this.key, bytes.subarray(0, HEADER), FILE);
    this.#position += bytes.length;
    if (this.#position > this.size) throw new Damaged("damaged");
    return this.#cipher.decrypt(first, data, this.#position === this.size);
  }
}

/** Joins and cuts the pieces of an encrypted file into batches of whole chunks. */
export async function* batchesOf(pieces) {
  let batch = new Uint8Array(offsetOf(BATCH));
  let length = 0;
  for await (const bytes of pieces) {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + batch.length - length);
      batch.set(piece, length);
      length += piece.length;
      from += piece.length;
      if (length < batch.length) continue;
      yield batch;
      batch = new Uint8Array(BATCH * SEALED_CHUNK);
      length = 0;
    }
  }
  yield batch.subarray(0, length);
}

/** The option `encryption` of an upload. Leaves out the `entries` of an archive if they do not fit. */
export async function encryptMetadata(key, { entries, ...fields }) {
  for (const all of entries ? [{ ...fields, entries }, fields] : [fields]) {
    const text = utf8.encode(JSON.stringify(all));
    // Larger ones would not even be a valid argument.
    if (encryptedSize(text.length) * 4 > MOST_METADATA * 3) continue;
    const cipher = await Cipher.create(key, newSalt(), METADATA);
    const { bytes } = await cipher.encrypt({ start: 0, stop: encryptedSize(text.length) }, text, true);
    return { scheme: SCHEME, metadata: toText(bytes) };
  }
  throw new RangeError("the metadata are too long");
}

/** The name, type and size of an encrypted file, and the entries of an archive. Throws `Damaged`. */
export async function decryptMetadata(key, { scheme, metadata }) {
  if (scheme !== SCHEME || !/^[A-Za-z0-9_-]*$/.test(metadata) || metadata.length % 4 === 1) throw new Damaged("damaged");
  const data = toBytes(metadata);
  const cipher = await Cipher.ofHeader(key, data.subarray(0, HEADER), METADATA);
  const text = new TextDecoder().decode(await cipher.decrypt(0, data.subarray(HEADER), true));
  const fields = parsed(text);
  const isName = (name) => typeof name === "string" && name !== "";
  const areEntries = (list) => Array.isArray(list) && list.every((entry) => isName(entry?.name) && Number.isInteger(entry.size));
  if (!isName(fields?.original_name) || !areEntries(fields.entries ?? [])) throw new Damaged("damaged");
  return fields;
}

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
