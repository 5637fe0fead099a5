// Requests to the server: one, one with the access token, and one that outlasts a bad network.
import { Cancelled, network, pause, unlessAborted } from "./network.js";
import { askForToken, currentToken } from "./token.js";
import { fill, size, texts } from "./words.js";

const TRIES = 8;
const LONGEST_PAUSE = 10000; // milliseconds
const STALLED_AFTER = 60000; // milliseconds
// What a gateway says of a server that is away.
const AWAY = [502, 503, 504];
const BUSY = [408, 429, 500];

export const server = JSON.parse(document.querySelector("main").dataset.server);

/** What the server refused, with its status and the kind of its problem document. */
export class Refused extends Error {
  constructor(request) {
    let problem = {};
    try {
      problem = JSON.parse(request.responseText);
    } catch {
      // A proxy's page, which says nothing to a person.
    }
    const { status } = request;
    const tooLarge = status === 413 && fill(texts.progress.too_large, { size: size(server.max_file_size) });
    super(tooLarge || problem.detail || fill(texts.progress.refused, { status }));
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
    this.retryAfter = Number(request.getResponseHeader("Retry-After")) * 1000;
  }
}

/** No answer came: the network or the server is away. */
export class Offline extends Error {
  constructor() {
    super(texts.progress.lost);
  }
}

/** One request. Resolves with the XMLHttpRequest once it was answered 2xx; rejects with Refused, Offline or Cancelled. */
export function send(method, url, { headers = {}, body = null, signal, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    let stalled = false;
    let timer;
    // A line that went dead says nothing; the server takes its time only once it has everything.
    const watch = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        stalled = true;
        request.abort();
      }, STALLED_AFTER);
    };
    if (body !== null) {
      watch();
      request.upload.onprogress = (event) => {
        watch();
        onProgress?.(event.loaded);
      };
      request.upload.onload = () => clearTimeout(timer);
    }
    const abort = () => request.abort();
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request);
      else reject(new Refused(request));
    };
    request.onerror = () => reject(new Offline());
    request.onabort = () => reject(stalled ? new Offline() : new Cancelled());
    request.onloadend = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    if (signal?.aborted) {
      clearTimeout(timer);
      reject(new Cancelled());
      return;
    }
    signal?.addEventListener("abort", abort);
    request.send(body);
  });
}

/** As `send`, with the access token where the server requires one, for which it asks. */
export async function sendWithToken(method, url, options = {}) {
  for (;;) {
    const token = currentToken();
    const headers = token === null ? options.headers : { ...options.headers, Authorization: `Bearer ${token}` };
    try {
      return await send(method, url, { ...options, headers });
    } catch (error) {
      if (error.status !== 401 || error.kind !== "token-required") throw error;
      await unlessAborted(askForToken(token), options.signal);
    }
  }
}

/** Try again what a busy server refused, and what got no answer once the server can be reached.
 *
 * `check` is called first, and may find another reason why no answer came.
 */
export async function persistently(attempt, signal, check = () => {}) {
  for (let failures = 1; ; failures++) {
    await network.reachable(signal);
    try {
      return await attempt();
    } catch (error) {
      const lost = error instanceof Offline || AWAY.includes(error.status);
      if (!lost && !BUSY.includes(error.status)) throw error;
      if (lost) await check();
      if (failures === TRIES) throw error;
      if (lost) network.report();
      // The server may be there for the probe, and away for what is sent.
      if (!lost || failures > 2) await unlessAborted(pause(Math.min(error.retryAfter || 500 * 2 ** failures, LONGEST_PAUSE)), signal);
    }
  }
}
