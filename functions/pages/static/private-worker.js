// Encrypts and decrypts away from the page.
import { Cipher, Decryption, FILE, HEADER, encryptMetadata, newKey, newSalt, offsetOf, toBytes, toText } from "./private-format.js";
import { serve } from "./serve.js";

/** A file changed or can no longer be read. */
class Changed extends Error {
  name = "Changed";
}

let cipher = null;
let decryption = null;

serve({
  /** Make a key and a salt, and encrypt the metadata of a file with the key. */
  async begin(fields) {
    const key = newKey();
    const salt = newSalt();
    cipher = await Cipher.create(key, salt, FILE);
    return { secret: { key: toText(key), salt: toText(salt) }, encryption: await encryptMetadata(key, fields) };
  },

  async resume({ key, salt }) {
    cipher = await Cipher.create(toBytes(key), toBytes(salt), FILE);
  },

  /** The bytes of the encrypted file from `start` to before `stop`, and their SHA-256.
   *
   * `body`, of `size` bytes, is the text of all chunks in this range, which begin with number `first`.
   */
  async encrypt({ start, stop, first, body, size, isEnd }) {
    const text = await new Blob([body]).arrayBuffer().catch(() => null);
    // Some browsers return less of a file that became shorter.
    if (text?.byteLength !== size) throw new Changed();
    const chunks = await cipher.encrypt(first, new Uint8Array(text), isEnd);
    const bytes = new Uint8Array(stop - start);
    if (start < HEADER) bytes.set(cipher.header.subarray(start, stop));
    const from = start - offsetOf(first);
    bytes.set(chunks.subarray(Math.max(from, 0), Math.max(from + bytes.length, 0)), Math.max(-from, 0));
    return { bytes, checksum: toText(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))) };
  },

  /** Begin to decrypt a file of `size` encrypted bytes. */
  open({ key, size }) {
    decryption = new Decryption(key, size);
  },

  /** The text of the chunks that are complete with these encrypted bytes. */
  async decrypt(encrypted) {
    return { bytes: await decryption.push(encrypted) };
  },
});
