// Ways to save a file that the page decrypts. A saver has `write(bytes)`, `close()`, and `abort()`, which leaves nothing
// that looks whole.
import { Cancelled } from "./network.js";
import { readable, texts } from "./words.js";

export const MOST_IN_MEMORY = 250_000_000; // bytes
const PING_EVERY = 5000; // milliseconds

// Some systems do not allow these in names.
const UNSAFE = /[/\\:*?"<>|\ufffd]/g;

/** The browser has no way to save a file of this size. */
export class TooLarge extends Error {}

/** The first way that this browser offers. Call this in a click. Throws `Cancelled` or `TooLarge`. */
export async function openSaver(name, size) {
  const safe = readable(name).replace(UNSAFE, "-");
  for (const open of [openFile, openDownload]) {
    try {
      return await open(safe, size);
    } catch (error) {
      if (error instanceof Cancelled) throw error;
      // Whether a browser allows this depends on its settings, too.
      console.warn(error.message);
    }
  }
  if (size > MOST_IN_MEMORY) throw new TooLarge();
  return inMemory(safe);
}

/** A file that the user chooses. The browser puts the content there when it is closed. */
async function openFile(name) {
  let handle;
  try {
    handle = await window.showSaveFilePicker({ suggestedName: name });
  } catch (error) {
    throw error.name === "AbortError" ? new Cancelled() : error;
  }
  const isNew = (await handle.getFile()).size === 0;
  const file = await handle.createWritable();
  return {
    write: (bytes) => file.write(bytes),
    close: () => file.close(),
    abort: async () => {
      await file.abort();
      if (isNew) await handle.remove?.();
    },
  };
}

/** A download of the browser, whose bytes come from a service worker. */
async function openDownload(name, size) {
  const registration = await navigator.serviceWorker.register(new URL("saving-worker.js", import.meta.url));
  const worker = await active(registration);
  const address = new URL(`saved/${crypto.randomUUID()}`, import.meta.url).href;
  const headers = {
    "Content-Type": "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
    "Content-Length": String(size),
    "Content-Disposition": `attachment; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, escaped)}`,
  };
  const { port1: port, port2 } = new MessageChannel();
  const words = new Words(port);
  worker.postMessage({ address, headers }, [port2]);
  await words.next("ready");
  const pings = setInterval(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data: isAlive }) => {
      if (!isAlive) words.fail(new Error(texts.encrypted.ended));
    };
    registration.active.postMessage({ address }, [port2]);
  }, PING_EVERY);
  const end = (word) => {
    clearInterval(pings);
    window.removeEventListener("pagehide", abort);
    port.postMessage(word);
  };
  const abort = async () => end("abort");
  window.addEventListener("pagehide", abort);
  const link = document.createElement("a");
  link.href = address;
  link.click();
  // Until then, the browser could ask whether to leave the page.
  await words.next("begun");
  return {
    write: async (bytes) => {
      await words.next("more");
      port.postMessage(bytes, [bytes.buffer]);
    },
    close: async () => {
      await words.next("more");
      port.postMessage("end");
      await words.next("ended");
      end("ended");
    },
    abort,
  };
}

const escaped = (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`;

function active({ active, waiting, installing }) {
  if (active) return active;
  const worker = waiting ?? installing;
  return new Promise((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve(worker);
      if (worker.state === "redundant") reject(new Error(texts.encrypted.no_worker));
    });
  });
}

/** What the service worker says on a port: "ready", "begun", "more", "ended" or "cancelled". */
class Words {
  #words = [];
  #failure = null;
  #wake = () => {};

  constructor(port) {
    port.onmessage = ({ data }) => {
      if (data === "cancelled") this.fail(new Cancelled());
      else this.#words.push(data);
      this.#wake();
    };
  }

  fail(error) {
    this.#failure ??= error;
    this.#wake();
  }

  async next(word) {
    while (this.#words[0] !== word) {
      if (this.#failure) throw this.#failure;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    this.#words.shift();
  }
}

function inMemory(name) {
  const pieces = [];
  return {
    write: async (bytes) => pieces.push(bytes),
    close: async () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(pieces, { type: "application/octet-stream" }));
      link.download = name;
      link.click();
      // The download reads it after this.
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    },
    abort: async () => pieces.splice(0),
  };
}
