// Uploads that are not done. The browser remembers them in case the page is closed.
import { server } from "./requests.js";
import { store, stored, storedUnder } from "./store.js";

// An interrupted upload resumes only to where it began.
const START = server.inbox ? `upload-to:${server.inbox}:` : "upload:";
const UNSENT = server.inbox ? `unsent-to:${server.inbox}:` : "unsent:";
// After this time, the server has removed what was sent.
const KEEP_FOR = 7 * 24 * 3600 * 1000; // milliseconds

/** What identifies the file that a source is, or encrypts. */
export function identity({ plain, ...source }) {
  const { name, size, stamp } = plain ?? source;
  return [name, size, stamp];
}

/** Encrypted uploads are others than those of the same files as they are. */
const keyOf = (source) => START + JSON.stringify([...identity(source), ...(source.plain ? ["private"] : [])]);

// IDs of the uploads that this page sends, and of those that other tabs send. A file chosen twice is two uploads.
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

/** Call `listener` whenever the result of `interrupted` or `unsent` may have changed. */
export function watch(listener) {
  changed = listener;
  window.addEventListener("storage", listener);
  tabs.postMessage("who?");
}

/** Uploads that no tab is sending. Each has its key, and the name, size and stamp of the (plain) source, and for an
 * archive the `count` of its files and whether they are all `inFolder`s.
 */
export function interrupted() {
  const entries = entriesUnder(START).map((entry) => {
    const [name, size, stamp] = JSON.parse(entry.key.slice(START.length));
    return { ...entry, name, size, stamp };
  });
  return entries.filter(({ begun }) => isFree(begun));
}

/** What a key that begins with `start` remembers, each with its key. Forgets what is too old. */
function entriesUnder(start) {
  const entries = [...storedUnder(start)].map(([key, entry]) => ({ ...entry, key }));
  for (const { key, since } of entries) if (!(Date.now() - since < KEEP_FOR)) store(key, null);
  return entries.filter(({ since }) => Date.now() - since < KEEP_FOR);
}

/** Files that a closed page had not begun to send. Each entry has the identities of its `files`, and whether they had a
 * `password` and are `isPrivate`.
 */
export const unsent = () => entriesUnder(UNSENT);

/** Remember files that the page has not begun to send. Call this when it is closed. */
export function rememberUnsent(sources, { password, isPrivate }) {
  if (sources.length === 0) return;
  const inFolder = sources.every(({ path }) => path.includes("/"));
  const entry = { files: sources.map(identity), inFolder, isPrivate, password: Boolean(password), since: Date.now() };
  store(UNSENT + Math.random(), entry);
}

/** Forget that these files were not sent: this page sends them. */
export function forgetUnsent(sources) {
  const here = new Set(sources.map((source) => JSON.stringify(identity(source))));
  for (const { key, ...entry } of unsent()) {
    const files = entry.files.filter((file) => !here.has(JSON.stringify(file)));
    if (files.length < entry.files.length) store(key, files.length > 0 ? { ...entry, files } : null);
  }
  changed();
}

const isFree = ({ uploadId }) => !ours.has(uploadId) && !elsewhere.has(uploadId);

/** Take over the interrupted upload of this source, so that this page sends it; null if there is none. */
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

/** Save what is needed to resume an upload, and its options, but only whether it has a password. */
export function remember(source, begun, { expires_in, max_downloads, password }) {
  take(begun);
  const options = { expires_in, max_downloads, password: Boolean(password) };
  const { count, inFolder } = source;
  // An older state would not have all checksums of what was sent.
  if (!store(keyOf(source), { begun, options, count, inFolder, since: Date.now() })) forget(source);
}

/** Forget the upload of a source, or an interrupted one. */
export function forget(source) {
  store(source.key ?? keyOf(source), null);
  changed();
}
