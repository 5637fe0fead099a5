// Keeps memory small while large files are moved. Browsers count the buffers of scripts, but not the copies of them that
// requests and ciphers make, so garbage grows to the size of the file before they collect it.
const EVERY = 4 * 2 ** 20; // bytes
// Large enough to make browsers collect at once. They reserve it without using memory.
const RESERVED = 64 * 2 ** 20;

let discarded = 0;

/** Count bytes that are no longer needed, and let the browser collect them from time to time. */
export function discard(bytes) {
  discarded += bytes.length;
  if (discarded < EVERY) return;
  discarded = 0;
  new ArrayBuffer(RESERVED);
}
