// Finds out whether the server can be reached. Requests without an answer wait here, and share one probe.
import { prefix } from "./dom.js";

const FIRST_PAUSE = 500; // milliseconds
const LONGEST_PAUSE = 5000; // milliseconds
const ANSWER_WITHIN = 10000; // milliseconds

/** The user cancelled the transfer. */
export class Cancelled extends Error {}

class Network extends EventTarget {
  // Why requests wait: "lost", "busy" or "storage".
  reason = null;
  #probing = null;

  constructor() {
    super();
    window.addEventListener("offline", () => this.report());
  }

  get lost() {
    return this.#probing !== null;
  }

  /** Call this when a request got no answer, or the server could not do it. Probe after `wait` milliseconds. */
  report(reason = "lost", wait = FIRST_PAUSE) {
    this.reason = reason;
    this.#probing ??= this.#probe(wait).then(() => {
      this.#probing = null;
      this.dispatchEvent(new Event("change"));
    });
    this.dispatchEvent(new Event("change"));
  }

  /** Wait until the server can be reached. */
  async reachable(signal) {
    while (this.lost) await unlessAborted(this.#probing, signal);
  }

  async #probe(wait) {
    for (let next = wait; ; next = Math.min(2 * next, LONGEST_PAUSE)) {
      await pauseOrOnline(next);
      if (await answers()) return;
    }
  }
}

export const network = new Network();

async function answers() {
  try {
    const options = { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN) };
    // A proxy in front of the server may refuse this request but still let the page through.
    return (await fetch(`${prefix}/health`, options)).status < 500;
  } catch {
    return false;
  }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function pauseOrOnline(milliseconds) {
  const online = new Promise((resolve) => window.addEventListener("online", resolve, { once: true }));
  return Promise.race([pause(milliseconds), online]);
}

/** Resolves like the promise; rejects with `Cancelled` if the signal is aborted. */
export function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Cancelled());
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
