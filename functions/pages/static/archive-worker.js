// Reads files away from the page, for their checksums and for any range of their archive.
import { crc32 } from "./crc32.js";
import { serve } from "./serve.js";
import { Layout } from "./zip-layout.js";

// Files are checked in blocks of this many bytes.
const BLOCK = 2 ** 20;
// Each read of a file waits for another process of the browser, so it reads several blocks.
const READ = 8 * BLOCK;
// The list of a private archive must fit into its metadata, which have room for fewer than this.
const MOST_ENTRIES = 100;

/** A file changed or can no longer be read. */
class Changed extends Error {
  name = "Changed";
}

class Archive {
  // Each has `path`, `file` (null for an empty folder), its member of the layout, and the CRC-32 up to each block.
  #entries = [];
  #layout = null;
  #measured = [];
  #failure = null;

  add(items) {
    this.#entries.push(...items.map(({ path, file }) => ({ path, file, checkpoints: [0] })));
  }

  /** Call this after all files were added. Starts to read them.
   *
   * Returns the size, what identifies the files, and their list if it is short.
   */
  open() {
    // Browsers list files in any order.
    this.#entries.sort((a, b) => (a.path < b.path ? -1 : Number(a.path > b.path)));
    const times = this.#entries.map(({ file }) => (file === null ? 0 : Math.floor(file.lastModified / 1000)));
    const newest = times.reduce((latest, time) => Math.max(latest, time), 0);
    const names = new Set();
    this.#entries.forEach((entry, index) => {
      // Browsers do not know the times of folders.
      const modified = entry.file === null ? newest : times[index];
      entry.member = { name: unique(entry.path, names), size: entry.file?.size ?? 0, modified, crc: 0 };
    });
    this.#layout = new Layout(this.#entries.map(({ member }) => member));
    const list = this.#entries.map(({ member, file }) => [member.name, member.size, file?.lastModified]);
    let last = Promise.resolve();
    this.#measured = this.#entries.map((entry) => (last = last.then(() => measure(entry))));
    last.catch((error) => (this.#failure = error));
    const stamp = crc32(new TextEncoder().encode(JSON.stringify(list)));
    const entries = this.#entries.length > MOST_ENTRIES ? null : this.#entries.map(entryOf);
    return { size: this.#layout.size, stamp, entries };
  }

  /** The bytes from `start` to before `stop`, and their CRC-32. Throws `Changed` if a file has changed. */
  async read({ start, stop }) {
    await this.#measured[this.#layout.needed(stop) - 1];
    const bytes = new Uint8Array(stop - start);
    let at = 0;
    for (const piece of this.#layout.pieces(start, stop)) {
      if (this.#failure) throw this.#failure;
      if (piece instanceof Uint8Array) bytes.set(piece, at);
      else await copy(this.#entries[piece.index], piece.start, bytes.subarray(at, at + piece.stop - piece.start));
      at += piece.length ?? piece.stop - piece.start;
    }
    return { bytes, crc: crc32(bytes) };
  }
}

/** A member, as the server would list it. */
function entryOf({ member: { name, size, modified } }) {
  return { name, size, modified: new Date(modified * 1000).toISOString().replace(".000", "") };
}

async function measure({ path, file, member, checkpoints }) {
  for (let start = 0; start < member.size; start += READ) {
    for (const block of blocks(await bytesOf(path, file, start, start + READ))) {
      checkpoints.push(crc32(block, checkpoints.at(-1)));
    }
  }
  member.crc = checkpoints.at(-1);
}

/** Copy the bytes of a file from `start` into `target`, if they still have the checksums that were measured. */
async function copy({ path, file, checkpoints }, start, target) {
  const stop = start + target.length;
  let number = Math.floor(start / BLOCK);
  const first = number * BLOCK;
  const bytes = await bytesOf(path, file, first, Math.ceil(stop / BLOCK) * BLOCK);
  for (const block of blocks(bytes)) {
    if (crc32(block, checkpoints[number]) !== checkpoints[++number]) throw new Changed(path);
  }
  target.set(bytes.subarray(start - first, stop - first));
}

function* blocks(bytes) {
  for (let at = 0; at < bytes.length; at += BLOCK) yield bytes.subarray(at, at + BLOCK);
}

async function bytesOf(path, file, start, stop) {
  const bytes = await file.slice(start, stop).arrayBuffer().catch(() => null);
  // Some browsers return less of a file that became shorter.
  if (bytes?.byteLength !== Math.min(stop, file.size) - start) throw new Changed(path);
  return new Uint8Array(bytes);
}

/** The path as valid Unicode, with a number before the extension if it is taken. */
function unique(path, names) {
  const name = new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(path));
  const [, stem, rest] = /^(.*?[^/])((?:\.[^./]+)?\/?)$/s.exec(name);
  let result = name;
  for (let number = 2; names.has(result); number++) result = `${stem} (${number})${rest}`;
  names.add(result);
  return result;
}

serve(new Archive());
