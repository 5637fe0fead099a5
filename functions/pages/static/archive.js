// Several files and folders as one source: a zip archive that is made while it is sent.
import { Calls } from "./calls.js";
import { Cancelled } from "./network.js";
import { Offline, persistently } from "./requests.js";
import { fill, texts } from "./words.js";

// Browsers copy what a worker gets, so a page with many files hands them over in small groups.
const FILES_PER_MESSAGE = 500;

/** A source (see sources.js) whose `count` is the number of its files. Any range of it is the same each time. */
export class ArchiveSource {
  type = "application/zip";
  #calls = new Calls("archive-worker.js", () => new Offline());

  /** Make an archive of sources and empty folders. Waits until the worker could be loaded. */
  static open(name, items) {
    return persistently(async () => {
      const source = new ArchiveSource(name, items);
      for (let at = 0; at < items.length; at += FILES_PER_MESSAGE) {
        const group = items.slice(at, at + FILES_PER_MESSAGE).map(({ path, file }) => ({ path, file }));
        await source.#call("add", group);
      }
      return Object.assign(source, await source.#call("open"));
    });
  }

  constructor(name, items) {
    this.name = this.path = name;
    this.count = items.filter(({ file }) => file !== null).length;
    this.inFolder = items.every(({ path }) => path.includes("/"));
  }

  async read(start, stop) {
    const { bytes, crc } = await this.#call("read", { start, stop });
    return { body: bytes, checksum: crc };
  }

  // Each range that is sent was checked when it was read.
  async check() {}

  close() {
    this.#calls.end(new Cancelled());
  }

  async #call(method, argument) {
    try {
      return await this.#calls.call(method, argument);
    } catch (error) {
      if (error.kind === "Changed") throw new Error(fill(texts.progress.changed, { name: error.message }));
      throw error;
    }
  }
}
