// Uploads in parts that can be resumed, kept by the browser in case the page is closed.
import { store, stored, storedUnder } from "./store.js";

const START = "upload:";
// Then the server has removed what was sent.
const KEEP_FOR = 7 * 24 * 3600 * 1000; // milliseconds

const keyOf = ({ name, size, stamp }) => START + JSON.stringify([name, size, stamp]);

// IDs of the uploads that this page sends, and of those that other tabs do. The same file chosen twice is two uploads.
const ours = new Set();
const elsewhere = new Set();
const tabs = new BroadcastChannel("uploads");
let changed = () => {};

tabs.onmessage = ({ data }) => {
  if (data === "who?") tabs.postMessage([...ours]);
  else {
    for (const id of data) elsewhere.add(id);
    changed();
  }
};

/** Call `listener` whenever what `interrupted` returns may have changed. */
export function watch(listener) {
  changed = listener;
  window.addEventListener("storage", listener);
  tabs.postMessage("who?");
}

/** The uploads that nothing sends now: for each its key, the file's name, size and stamp, and the share sent. */
export function interrupted() {
  const entries = [...storedUnder(START)].map(([key, entry]) => {
    const [name, size, stamp] = JSON.parse(key.slice(START.length));
    return { ...entry, key, name, size, stamp };
  });
  for (const { key, since } of entries) if (!(Date.now() - since < KEEP_FOR)) store(key, null);
  return entries.filter(({ begun, since }) => Date.now() - since < KEEP_FOR && isFree(begun));
}

const isFree = ({ uploadId }) => !ours.has(uploadId) && !elsewhere.has(uploadId);

/** The interrupted upload of this source, which this page sends from now on; null if there is none. */
export function claim(source) {
  const entry = stored(keyOf(source), null);
  if (entry === null || !isFree(entry.begun)) return null;
  take(entry.begun);
  return entry;
}

function take({ uploadId }) {
  if (ours.has(uploadId)) return;
  ours.add(uploadId);
  tabs.postMessage([uploadId]);
  changed();
}

/** Keep what will resume an upload, and the options that it has: of the password only that there is one. */
export function remember(source, begun, { expires_in, max_downloads, password }) {
  take(begun);
  const options = { expires_in, max_downloads, password: Boolean(password) };
  store(keyOf(source), { begun, options, since: Date.now() });
}

export function forget(source) {
  store(keyOf(source), null);
}
