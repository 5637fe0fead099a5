// Sources of uploads. A source has `name`, `type`, `size`, `path` (shown in its row), and `stamp` (identifies it, together
// with name and size). `read(start, stop)` resolves with a range as the `body` of a request, and its `checksum`, or null
// if the stamp is enough to recognise its bytes. `check()` throws if its bytes can no longer be read. `close()` frees it.
// A source that encrypts another one has that as `plain`.
import { fill, moment, texts } from "./words.js";

export class FileSource {
  constructor(file, path = file.webkitRelativePath || file.name) {
    Object.assign(this, { file, path, name: file.name, type: file.type, size: file.size, stamp: file.lastModified });
  }

  async read(start, stop) {
    // With this type, a slice is sent as plain bytes.
    return { body: this.file.slice(start, stop, "application/octet-stream"), checksum: null };
  }

  /** Browsers report a file that changed or vanished as a lost connection. */
  async check() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error(fill(texts.progress.changed, { name: this.name }));
    }
  }

  close() {}
}

// Browsers look up the size of each file on the disk, and do nothing else meanwhile. A page with thousands of files takes
// a break after this many milliseconds.
const BREAK_AFTER = 20;

/** Files that the user chose or pasted as sources. Changing the field does not matter, once this is called. */
export async function sourcesOf(list) {
  const files = [...list];
  const sources = [];
  let begun = performance.now();
  for (const file of files) {
    if (performance.now() - begun > BREAK_AFTER) {
      await new Promise((resolve) => setTimeout(resolve));
      begun = performance.now();
    }
    sources.push(new FileSource(file));
  }
  return sources;
}

/** The sources in a drop, and its empty folders, whose `file` is null and whose path ends in "/".
 *
 * Call this while the event is handled: later the data is empty.
 */
export async function droppedSources(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const sources = [];
  for (const [entry, file] of entries) {
    if (entry?.isDirectory) await addFolder(entry, sources);
    else if (file) sources.push(new FileSource(file));
  }
  return sources;
}

async function addFolder(folder, sources) {
  const reader = folder.createReader();
  const before = sources.length;
  for (;;) {
    // Returns at most 100 at a time, and none at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) break;
    // One folder after the other: the answers to thousands of questions would hold up the page when they arrive.
    const files = entries.filter((entry) => entry.isFile);
    sources.push(...(await Promise.all(files.map(inFile))));
    for (const entry of entries) if (entry.isDirectory) await addFolder(entry, sources);
  }
  if (sources.length === before) sources.push({ path: `${folder.fullPath.slice(1)}/`, file: null, size: 0 });
}

async function inFile(entry) {
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  return new FileSource(file, entry.fullPath.slice(1));
}

export function pastedSources(transfer) {
  return sourcesOf([...transfer.files].map(renamed));
}

/** Browsers call every pasted image "image.png". */
function renamed(file) {
  const { type, name, lastModified } = file;
  if (!/^image\.\w+$/.test(name)) return file;
  const title = fill(texts.upload.pasted, { date: moment(Date.now()).replaceAll(":", ".") });
  return new File([file], `${title}${name.slice(5)}`, { type, lastModified });
}
