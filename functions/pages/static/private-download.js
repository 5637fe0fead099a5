// Downloads an encrypted file, and passes its text on to a saver.
import { Calls } from "./calls.js";
import { discard } from "./garbage.js";
import { Cancelled, network, pause, unlessAborted } from "./network.js";
import { batchesOf } from "./private-format.js";

const TRIES = 6;
const LONGEST_PAUSE = 8000; // milliseconds
const TEMPORARY = [429, 500, 502, 503, 504];
// Some browsers receive the whole answer to a request into memory, however slowly it is read.
const PIECE = 8 * 2 ** 20; // bytes

/** The server refused the download. Has the status. */
export class Refused extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

/** The connection was lost, and the download cannot go on. */
export class Interrupted extends Error {}

/** Downloads `file`, which has `address`, `size` (encrypted), `isLimited` (in the number of downloads), `key`, `isWhole`
 * (each request is a download, so there can be only one), and `unlock()`, to call before later requests.
 *
 * Rejects with `Refused`, `Interrupted`, `Cancelled`, or an error of kind "Damaged".
 */
export async function download(file, saver, { signal, onProgress }) {
  const decryption = new Calls("private-worker.js", () => new Interrupted());
  const stop = () => decryption.end(new Cancelled());
  signal.addEventListener("abort", stop);
  try {
    await decryption.call("open", { key: file.key, size: file.size });
    for await (const bytes of batchesOf(encrypted(file, { signal, onProgress }))) {
      const { bytes: text } = await decryption.call("decrypt", bytes, [bytes.buffer]);
      discard(text);
      if (text.length > 0) await unlessAborted(saver.write(text), signal);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    decryption.end(new Cancelled());
  }
}

/** All bytes of the file, however often the connection is lost. */
async function* encrypted({ address, size, isLimited, isWhole, unlock }, { signal, onProgress }) {
  let position = 0;
  let failures = 0;
  let tag = null;
  while (position < size) {
    const before = position;
    const end = isWhole ? size : Math.min(position + PIECE, size);
    try {
      await network.reachable(signal);
      if (position > 0) await unlock();
      const answer = await request(address, { position, end, tag, isWhole }, signal);
      // A server knows only its own tags. Without one, the rest would be another download.
      tag = answer.redirected ? null : answer.headers.get("ETag");
      const reader = answer.body.getReader();
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        position += next.value.length;
        onProgress(position);
        yield next.value;
      }
    } catch (error) {
      if (signal.aborted) throw new Cancelled();
      const isTemporary = error instanceof Refused ? TEMPORARY.includes(error.status) : error instanceof TypeError;
      if (!isTemporary) throw error;
      if (!(error instanceof Refused)) network.report();
      else if (failures + 1 >= TRIES) throw error;
    }
    if (position >= size) return;
    if (position > 0 && isLimited && tag === null) throw new Interrupted();
    if (position >= end) failures = 0;
    else {
      failures = position > before ? 1 : failures + 1;
      if (failures >= TRIES) throw new Interrupted();
      await unlessAborted(pause(Math.min(250 * 2 ** failures, LONGEST_PAUSE)), signal);
    }
  }
}

async function request(address, { position, end, tag, isWhole }, signal) {
  const headers = position > 0 || !isWhole ? { Range: `bytes=${position}-${end - 1}` } : {};
  if (position > 0 && tag !== null) headers["If-Range"] = tag;
  // The cookie stands for the password.
  const answer = await fetch(address, { headers, signal, cache: "no-store", credentials: "same-origin" });
  if (!answer.ok) throw new Refused(answer.status);
  // The whole file, which is another download.
  if (position > 0 && answer.status !== 206) throw new Interrupted();
  return answer;
}
