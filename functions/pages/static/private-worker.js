// Encrypts and decrypts away from the page.
import { Cipher, Decryption, FILE, encryptMetadata, newKey, newSalt, toBytes, toText } from "./private-format.js";
import { serve } from "./serve.js";

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

  /** The encrypted file from `start` to before `stop`, and a checksum of it. `text` is that of all chunks in this range. */
  async encrypt({ start, stop, text, isEnd }) {
    const { bytes, tags } = await cipher.encrypt({ start, stop }, new Uint8Array(text), isEnd);
    // Each tag is a checksum of its chunk, which nobody can forge without the key.
    return { bytes, checksum: toText(new Uint8Array(await crypto.subtle.digest("SHA-256", tags))) };
  },

  /** Begin to decrypt a file of `size` encrypted bytes. */
  open({ key, size }) {
    decryption = new Decryption(key, size);
  },

  /** The text of the next encrypted chunks. */
  async decrypt(encrypted) {
    return { bytes: await decryption.push(encrypted) };
  },
});
