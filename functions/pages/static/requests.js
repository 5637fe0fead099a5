// Requests to the server: a plain one, one with the access token, and one that retries when the network is bad.
import { Cancelled, network, pause, unlessAborted } from "./network.js";
import { askForToken, currentToken } from "./token.js";
import { fill, size, span, texts } from "./words.js";

const TRIES = 8;
const LONGEST_PAUSE = 10000; // milliseconds
const STALLED_AFTER = 60000; // milliseconds
// A gateway's answers when the server is unavailable.
const AWAY = [502, 503, 504];
const BUSY = [408, 429, 500];

/** The limits of the server, or of the `inbox` with that ID into which this page uploads. */
export const server = JSON.parse(document.querySelector("main").dataset.server);

/** If a lifetime is refused, the server's limits have changed since this page was opened. */
function tooLong({ errors = [] }) {
  const refused = errors.find(({ field }) => field === "expires_in");
  const longest = /[0-9]+$/.exec(refused?.reason ?? "");
  return longest && fill(texts.progress.too_long, { time: span(Number(longest[0])) });
}

/** The server refused a request. Has the status and the kind of the problem document. */
export class Refused extends Error {
  constructor(request) {
    let problem = {};
    try {
      problem = JSON.parse(request.responseText);
    } catch {
      // A proxy's page, which would not help the user.
    }
    const { status } = request;
    const kind = String(problem.type ?? "").split(":").pop();
    const tooLarge = status === 413 && kind !== "inbox-full" && fill(texts.progress.too_large, { size: size(server.max_file_size) });
    super(tooLarge || tooLong(problem) || problem.detail || fill(texts.progress.refused, { status }));
    this.status = status;
    this.kind = kind;
    this.retryAfter = Number(request.getResponseHeader("Retry-After")) * 1000;
  }

  /** Why requests have to wait, for `network.report`. A gateway without a server sends no problem document. */
  get reason() {
    if (this.kind === "storage-unavailable") return "storage";
    return this.kind ? "busy" : "lost";
  }
}

/** No answer: the network or the server is unavailable. */
export class Offline extends Error {
  reason = "lost";

  constructor() {
    super(texts.progress.lost);
  }
}

/** Send one request. Resolves with the XMLHttpRequest if answered 2xx; rejects with Refused, Offline or Cancelled. */
export function send(method, url, { headers = {}, body = null, signal, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    let stalled = false;
    let timer;
    // A dead connection reports no error. The server takes its time only after it has received everything.
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

/** Like `send`, with the access token. Asks the user for one if the server requires it. An inbox requires none. */
export async function sendWithToken(method, url, options = {}) {
  for (;;) {
    const token = server.inbox ? null : currentToken();
    const headers = token === null ? options.headers : { ...options.headers, Authorization: `Bearer ${token}` };
    try {
      return await send(method, url, { ...options, headers });
    } catch (error) {
      // Without a token, an upload into an inbox that is gone is refused like any other.
      if (error.status !== 401 || error.kind !== "token-required" || server.inbox) throw error;
      await unlessAborted(askForToken(token), options.signal);
    }
  }
}

/** Retry requests that a busy server refused, and those without an answer once the server can be reached.
 *
 * Calls `check` first, which may find another reason for the missing answer.
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
      // Longer each time, because the server may answer the probe and still not the request.
      const wait = Math.min(error.retryAfter || 250 * 2 ** failures, LONGEST_PAUSE);
      if (lost) network.report(error.reason, wait);
      else await unlessAborted(pause(wait), signal);
    }
  }
}
