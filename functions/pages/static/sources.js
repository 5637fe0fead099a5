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

/** The sources in a drop, and its empty folders, whose `file` is null and whose path ends in "/".
 *
 * Call this while the event is handled: later the data is empty.
 */
export async function droppedSources(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const sources = [];
  for (const [entry, file] of entries) {
    if (entry?.isDirectory) sources.push(...(await inFolder(entry)));
    else if (file) sources.push(new FileSource(file));
  }
  return sources;
}

async function inFolder(folder) {
  const reader = folder.createReader();
  const sources = [];
  for (;;) {
    // Returns at most 100 at a time, and none at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) break;
    for (const each of await Promise.all(entries.map(inEntry))) sources.push(...each);
  }
  return sources.length > 0 ? sources : [{ path: `${folder.fullPath.slice(1)}/`, file: null, size: 0 }];
}

async function inEntry(entry) {
  if (entry.isDirectory) return inFolder(entry);
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  return [new FileSource(file, entry.fullPath.slice(1))];
}

/** Browsers call every pasted image "image.png". */
export function pastedSources(transfer) {
  return [...transfer.files].map((file) => {
    const { type, name, lastModified } = file;
    if (!/^image\.\w+$/.test(name)) return new FileSource(file);
    const title = fill(texts.upload.pasted, { date: moment(Date.now()).replaceAll(":", ".") });
    return new FileSource(new File([file], `${title}${name.slice(5)}`, { type, lastModified }));
  });
}
