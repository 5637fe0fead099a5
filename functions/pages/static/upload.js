"use strict";

// What is larger goes up in parts, straight to storage, and can be resumed.
const WHOLE_UP_TO = 4 * 2 ** 20;
const MIN_PART = 8 * 2 ** 20;
const MAX_PARTS = 10000;
const FILES_AT_ONCE = 2;
const PARTS_AT_ONCE = 3;
const TRIES = 4;
const LONGEST_PAUSE = 5000; // milliseconds
const REFRESH_EVERY = 5000; // milliseconds
const RATE_OVER = 5000; // milliseconds

const prefix = document.body.dataset.prefix;
const $ = (id) => document.getElementById(id);

/** What the server refused, in its own words, with its status and the kind of its problem document. */
class Refused extends Error {
  constructor(status, text) {
    let problem = {};
    try {
      problem = JSON.parse(text);
    } catch {
      // A proxy's page, which says nothing to a person.
    }
    super(problem.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
  }
}

class Cancelled extends Error {}

/** No answer came: the network or the server is away. */
class Offline extends Error {
  constructor() {
    super("Connection lost. We'll continue when you're back online.");
  }
}

// --- requests ---

/** One request. Resolves with the XMLHttpRequest once it was answered 2xx; rejects with Refused, Cancelled or Error. */
function send(method, url, { headers = {}, body = null, signal, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded);
    const abort = () => request.abort();
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) resolve(request);
      else reject(new Refused(request.status, request.responseText));
    };
    request.onerror = () => reject(new Offline());
    request.onabort = () => reject(new Cancelled());
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    if (signal?.aborted) {
      reject(new Cancelled());
      return;
    }
    signal?.addEventListener("abort", abort);
    request.send(body);
  });
}

/** As `send`, with the API token where the server wants one, for which it asks. */
async function sendWithToken(method, url, options = {}) {
  for (;;) {
    const sent = token;
    const headers = sent === null ? options.headers : { ...options.headers, Authorization: `Bearer ${sent}` };
    try {
      return await send(method, url, { ...options, headers });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401 || error.kind !== "token-required") throw error;
      await askForToken(sent, options.signal);
    }
  }
}

let token = stored("token", null, "sessionStorage");
let asking = null;

/** Wait until there is another token than `refused`. All who wait share one form. */
async function askForToken(refused, signal) {
  if (token !== refused) return;
  asking ??= new Promise((resolve) => {
    const form = $("token-form");
    form.hidden = false;
    $("token-error").textContent = refused === null ? "" : "The server does not accept this token.";
    $("token").focus();
    form.onsubmit = (event) => {
      event.preventDefault();
      token = $("token").value.trim();
      store("token", token, "sessionStorage");
      $("token").value = "";
      passFocus(form, $("pick"));
      form.hidden = true;
      asking = null;
      resolve();
    };
  });
  await Promise.race([asking, whenAborted(signal)]);
}

function whenAborted(signal) {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(new Cancelled());
    signal?.addEventListener("abort", () => reject(new Cancelled()), { once: true });
  });
}

/** Try again what a busy server refused a few times, and what got no answer until the network is back. */
async function persistently(attempt, task) {
  for (let tried = 1, refused = 0; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof Cancelled) throw error;
      if (error instanceof Offline) {
        await requireUnchanged(task.file);
        task.reconnects();
      } else {
        const busy = error instanceof Refused && (error.status === 429 || error.status >= 500);
        if (!busy || ++refused === TRIES) throw error;
      }
      await Promise.race([pauseOrOnline(Math.min(500 * 2 ** tried, LONGEST_PAUSE)), whenAborted(task.signal)]);
    }
  }
}

/** Browsers report a file that changed or vanished as a lost connection. */
async function requireUnchanged(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error(`${file.name} changed on disk since you chose it.`);
  }
}

function pauseOrOnline(milliseconds) {
  const online = new Promise((resolve) => window.addEventListener("online", resolve, { once: true }));
  return Promise.race([pause(milliseconds), online]);
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// --- uploads ---

/** A small file in one request. */
async function uploadWhole(task) {
  // In the query, which arrives as it is sent: gateways rewrite paths, and take a text body for text.
  const query = new URLSearchParams({ filename: task.file.name, content_type: task.file.type });
  if (task.options.expires_in) query.set("expires_in", task.options.expires_in);
  if (task.options.max_downloads) query.set("max_downloads", task.options.max_downloads);
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/json" };
  // A header takes bytes, each written as one character.
  const { password } = task.options;
  if (password) headers["X-Password"] = String.fromCharCode(...new TextEncoder().encode(password));
  const url = `${prefix}/file/upload?${query}`;
  const attempt = () =>
    sendWithToken("PUT", url, {
      headers,
      body: task.file,
      signal: task.signal,
      onProgress: (sent) => task.progress(sent),
    });
  const request = await persistently(attempt, task);
  return JSON.parse(request.responseText);
}

/** A large file in parts, going on where an earlier attempt ended. */
async function uploadInParts(task) {
  const multipart = `${prefix}/file/s3/multipart`;
  const { file, signal } = task;
  const asJson = { "Content-Type": "application/json" };
  const json = async (method, url, body) => {
    const request = () => sendWithToken(method, url, { headers: asJson, body, signal });
    return JSON.parse((await persistently(request, task)).responseText);
  };

  // Null where the server does not know the upload.
  const ifKnown = (error) => {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    return null;
  };
  const complete = () => json("POST", address(task.begun, "/complete"), JSON.stringify({ parts: task.begun.parts }));

  let done = new Map();
  task.begun ??= remembered(task);
  if (task.begun) {
    const listed = await json("GET", address(task.begun)).catch(ifKnown);
    if (listed) done = new Map(listed.map((part) => [part.PartNumber, part]));
    else {
      // It may be complete, and the answer lost.
      const answer = task.begun.parts ? await complete().catch(ifKnown) : null;
      forget(task);
      if (answer) return answer;
    }
  }
  if (!task.begun) {
    const metadata = Object.fromEntries(Object.entries(task.options).filter(([, value]) => value));
    const type = file.type || "application/octet-stream";
    const body = JSON.stringify({ filename: file.name, type, size: file.size, metadata });
    const { key, uploadId } = await json("POST", multipart, body);
    const smallest = Math.ceil(file.size / MAX_PARTS / 2 ** 20) * 2 ** 20;
    task.begun = { key, uploadId, partSize: Math.max(MIN_PART, smallest) };
    remember(task);
  }
  underWay.add(task.begun.uploadId);
  const { partSize } = task.begun;
  const count = Math.ceil(file.size / partSize);
  const lengthOf = (number) => Math.min(partSize, file.size - (number - 1) * partSize);
  const sent = new Map();
  for (const [number, part] of done) {
    if (number <= count && part.Size === lengthOf(number)) sent.set(number, part.Size);
    else done.delete(number);
  }
  const report = () => task.progress([...sent.values()].reduce((sum, size) => sum + size, 0));
  // What is there already says nothing of the speed.
  task.samples = [];
  report();

  const waiting = Array.from({ length: count }, (_, index) => index + 1).filter((number) => !done.has(number));
  const worker = async () => {
    for (let number = waiting.shift(); number !== undefined; number = waiting.shift()) {
      const part = number;
      const start = (part - 1) * partSize;
      const ETag = await persistently(async () => {
        const signed = await sendWithToken("GET", address(task.begun, `/${part}`), { signal });
        // Without a type of its own a slice is sent as octets; no token, since the address may be another server's.
        const request = await send("PUT", JSON.parse(signed.responseText).url, {
          body: file.slice(start, start + lengthOf(part), "application/octet-stream"),
          signal,
          onProgress: (bytes) => {
            sent.set(part, bytes);
            report();
          },
        });
        return request.getResponseHeader("ETag");
      }, task);
      sent.set(part, lengthOf(part));
      done.set(part, { PartNumber: part, ETag });
      report();
    }
  };
  await Promise.all(Array.from({ length: PARTS_AT_ONCE }, worker));
  task.begun.parts = [...done.values()]
    .sort((a, b) => a.PartNumber - b.PartNumber)
    .map(({ PartNumber, ETag }) => ({ PartNumber, ETag }));
  remember(task);
  const answer = await complete();
  forget(task);
  return answer;
}

function address({ key, uploadId }, rest = "") {
  return `${prefix}/file/s3/multipart/${encodeURIComponent(uploadId)}${rest}?key=${encodeURIComponent(key)}`;
}

// A file that is chosen twice is two uploads.
const underWay = new Set();

const memoryKey = ({ file }) => `upload:${JSON.stringify([file.name, file.size, file.lastModified])}`;

/** An upload of this file that was broken off by closing the page, if it had the same options. */
function remembered(task) {
  const found = stored(memoryKey(task), null);
  return found && found.options === JSON.stringify(task.options) && !underWay.has(found.uploadId) ? found : null;
}

function remember(task) {
  // A password is not written down, so such an upload resumes only while the page is open.
  if (task.options.password) return;
  store(memoryKey(task), { ...task.begun, options: JSON.stringify(task.options) });
}

function forget(task) {
  task.begun = null;
  store(memoryKey(task), null);
}

/** One file on its way up, and its place on the page. */
class Task {
  constructor(file, options) {
    this.file = file;
    this.options = options;
    this.begun = null;
    this.element = $("upload-item").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.bar = find("progress");
    this.state = find(".state");
    this.failure = find(".failure");
    this.retry = find(".retry");
    this.stop = find(".cancel");
    find("bdi").textContent = file.name;
    this.bar.setAttribute("aria-label", `Upload of ${file.name}`);
    label(this.retry, file.name);
    label(this.stop, file.name);
    this.retry.onclick = () => this.again();
    this.stop.onclick = () => this.cancel();
    $("uploads").append(this.element);
  }

  async run() {
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.samples = [];
    this.progress(0);
    try {
      const answer = await (this.file.size <= WHOLE_UP_TO ? uploadWhole(this) : uploadInParts(this));
      this.remove(shared.add(answer));
      say(`${this.file.name} is uploaded. Its link is ready.`);
    } catch (error) {
      if (error instanceof Cancelled) return;
      // The other parts of a file stop with the first that fails.
      this.controller.abort();
      this.failure.textContent = error.message;
      this.state.textContent = "Not uploaded";
      this.retry.hidden = false;
      failures.add(this);
      offerRetries();
    }
  }

  /** Retry with the options as they are now. */
  again() {
    const options = chosenOptions();
    if (options === null) return;
    this.options = options;
    enqueue(this);
  }

  reconnects() {
    this.state.textContent = "Reconnecting…";
  }

  waits() {
    this.failure.textContent = "";
    passFocus(this.retry, this.stop);
    this.retry.hidden = true;
    failures.delete(this);
    offerRetries();
    this.state.textContent = "Waiting";
  }

  progress(sent) {
    const total = this.file.size;
    this.bar.value = total === 0 ? 1 : Math.min(sent / total, 1);
    const now = performance.now();
    this.samples.push([now, sent]);
    while (this.samples.length > 2 && now - this.samples[0][0] > RATE_OVER) this.samples.shift();
    const [since, before] = this.samples[0];
    const rate = now - since < 300 ? 0 : ((sent - before) / (now - since)) * 1000;
    const words = [`${size(sent)} of ${size(total)}`];
    if (rate > 0 && sent < total) words.push(`${size(rate)}/s`, `${duration((total - sent) / rate)} left`);
    if (sent >= total) words.push("finishing");
    this.state.textContent = words.join(" · ");
  }

  cancel() {
    this.cancelled = true;
    this.controller?.abort();
    if (this.begun) {
      // What cannot be cleared away now, the server clears away itself.
      sendWithToken("DELETE", address(this.begun)).catch((error) => console.warn(error.message));
      forget(this);
    }
    this.remove($("pick"));
    say(`The upload of ${this.file.name} is cancelled.`);
  }

  remove(next) {
    failures.delete(this);
    offerRetries();
    passFocus(this.element, next);
    this.element.remove();
    $("uploads-section").hidden = $("uploads").childElementCount === 0;
  }
}

// Uploads that ended without a link.
const failures = new Set();

function offerRetries() {
  const several = failures.size > 1;
  if (!several) passFocus($("retry-all"), $("pick"));
  $("retry-all").hidden = !several;
}

$("retry-all").onclick = () => {
  for (const task of [...failures]) task.again();
};

const queue = [];
let running = 0;

function enqueue(task) {
  task.waits();
  queue.push(task);
  $("uploads-section").hidden = false;
  startMore();
}

async function startMore() {
  while (running < FILES_AT_ONCE && queue.length > 0) {
    const task = queue.shift();
    if (task.cancelled) continue;
    running++;
    task.run().finally(() => {
      running--;
      startMore();
    });
  }
}

// --- what this browser has shared ---

const shared = {
  // What storage did not take, which no other tab knows of.
  unsaved: [],
  shown: new Map(),

  /** All of them, the newest first. Read anew each time, since other tabs write the same list. */
  files() {
    return [...this.unsaved, ...stored("files", [])];
  },

  /** Returns the field that shows the link. */
  add(answer) {
    const { file_id, original_name, file_size, download_page, delete_token } = answer;
    const file = { file_id, original_name, file_size, download_page, delete_token };
    const saved = store("files", [file, ...this.files()]);
    this.unsaved = saved ? [] : [file, ...this.unsaved];
    return this.show(file, answer);
  },

  /** Show what another tab has added, and nothing that it has removed. */
  sync() {
    const files = this.files();
    for (const file of [...files].reverse()) if (!this.shown.has(file.file_id)) this.show(file);
    const kept = new Set(files.map((file) => file.file_id));
    for (const id of [...this.shown.keys()]) if (!kept.has(id)) this.hide(id);
  },

  /** Returns the field that shows the link. */
  show(file, metadata) {
    const element = $("shared-item").content.firstElementChild.cloneNode(true);
    const find = (selector) => element.querySelector(selector);
    find("bdi").textContent = file.original_name;
    const link = find("input");
    link.value = file.download_page;
    link.setAttribute("aria-label", `Link to ${file.original_name}`);
    link.onfocus = () => link.select();
    for (const button of element.querySelectorAll("button")) label(button, file.original_name);
    find(".copy").onclick = () => copy(link, find(".copy"), find(".failure"));
    find(".qr").onclick = () => toggleCode(file, find(".qr"), find(".code"));
    find(".delete").onclick = () => this.delete(file);
    find(".forget").onclick = () => this.remove(file);
    this.shown.set(file.file_id, { file, element, find });
    $("shared").prepend(element);
    $("shared-section").hidden = false;
    if (metadata) this.describe(file, metadata);
    else find(".state").textContent = size(file.file_size);
    return link;
  },

  describe(file, metadata) {
    const count = metadata.download_count;
    const cap = metadata.max_downloads;
    const words = [size(metadata.file_size)];
    if (cap === null) words.push(`${count} ${count === 1 ? "download" : "downloads"}`);
    else words.push(`${count} of ${cap} ${cap === 1 ? "download" : "downloads"}${count >= cap ? ", used up" : ""}`);
    if (metadata.expires_at) words.push(`until ${moment(metadata.expires_at)}`);
    if (metadata.password_protected) words.push("with a password");
    const { find } = this.shown.get(file.file_id);
    if (find(".state").textContent !== words.join(" · ")) find(".state").textContent = words.join(" · ");
  },

  gone(file, words) {
    const shown = this.shown.get(file.file_id);
    const { element, find } = shown;
    find(".state").textContent = `${size(file.file_size)} · ${words}`;
    find(".forget").hidden = false;
    passFocus(element, find(".forget"));
    for (const selector of [".link", ".copy", ".qr", ".delete", ".code"]) find(selector).hidden = true;
    shown.gone = true;
  },

  async refresh() {
    for (const { file } of [...this.shown.values()].filter((each) => !each.gone)) {
      try {
        const request = await send("GET", `${prefix}/file/metadata/${file.file_id}`);
        if (this.shown.has(file.file_id)) this.describe(file, JSON.parse(request.responseText));
      } catch (error) {
        if (!this.shown.has(file.file_id)) continue;
        if (error.status === 404) this.gone(file, "deleted");
        else if (error.status === 410) this.gone(file, "expired");
        // Anything else passes, and the count shown stays what it was.
      }
    }
  },

  async delete(file) {
    // A name written from right to left would otherwise move the words around it.
    if (!confirm(`Delete \u2068${file.original_name}\u2069? Its link will stop working.`)) return;
    const { find } = this.shown.get(file.file_id);
    find(".failure").textContent = "";
    try {
      await send("DELETE", `${prefix}/file/${file.file_id}`, { headers: { "X-Delete-Token": file.delete_token } });
    } catch (error) {
      if (error.status !== 404 && error.status !== 410) {
        find(".failure").textContent = `Not deleted. ${error.message}`;
        return;
      }
    }
    this.remove(file);
    say(`${file.original_name} is deleted.`);
  },

  remove({ file_id }) {
    const others = (files) => files.filter((each) => each.file_id !== file_id);
    this.unsaved = others(this.unsaved);
    store("files", others(stored("files", [])));
    this.hide(file_id);
  },

  hide(id) {
    // Another tab may have been first.
    if (!this.shown.has(id)) return;
    const { element } = this.shown.get(id);
    passFocus(element, $("pick"));
    element.remove();
    this.shown.delete(id);
    $("shared-section").hidden = this.shown.size === 0;
  },
};

async function copy(link, button, failure) {
  failure.textContent = "";
  try {
    await navigator.clipboard.writeText(link.value);
  } catch {
    // Without TLS there is no clipboard to write to but this one, which takes what is selected.
    link.focus();
    link.select();
    if (!document.execCommand("copy")) {
      failure.textContent = "Not copied. Select the link and copy it.";
      return;
    }
    button.focus();
  }
  button.textContent = "Copied";
  say("The link is copied.");
  setTimeout(() => (button.textContent = "Copy link"), 2000);
}

function toggleCode(file, button, place) {
  place.hidden = !place.hidden;
  button.setAttribute("aria-expanded", String(!place.hidden));
  if (place.childElementCount > 0) return;
  const image = new Image();
  image.src = `${prefix}/download/${file.file_id}/qr.svg`;
  image.alt = `QR code of the link to ${file.original_name}`;
  place.append(image);
}

// --- words and storage ---

// As the landing page shows it.
function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let value = bytes;
  let power = 0;
  for (; value >= 999.5 && power < units.length - 1; power += 1) value /= 1000;
  const maximumFractionDigits = power === 0 || value >= 99.95 ? 0 : 1;
  const unitDisplay = power === 0 ? "long" : "short";
  const format = { style: "unit", unit: units[power], unitDisplay, maximumFractionDigits };
  return new Intl.NumberFormat("en", format).format(value);
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

const moment = (stamp) => new Date(stamp).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });

function label(button, name) {
  button.setAttribute("aria-label", `${button.textContent}: ${name}`);
}

/** To call before an element goes: what goes with the focus in it would send a keyboard back to the top of the page. */
function passFocus(element, next) {
  if (element.contains(document.activeElement)) next.focus();
}

function say(words) {
  $("news").textContent = words;
}

// Where site data is blocked, naming the area already throws.
function stored(key, otherwise, area = "localStorage") {
  try {
    return JSON.parse(window[area].getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Whether the value is stored now, or no longer there if it is null. */
function store(key, value, area = "localStorage") {
  try {
    if (value === null) window[area].removeItem(key);
    else window[area].setItem(key, JSON.stringify(value));
    return true;
  } catch (error) {
    // A full or forbidden storage loses the list when the page is closed, and no file.
    console.warn(error.message);
    return false;
  }
}

// --- the page ---

/** What is chosen for the next files, or null with the reason shown. */
function chosenOptions() {
  const downloads = $("downloads");
  const password = $("file-password").value;
  let reason = "";
  if (!downloads.checkValidity()) reason = "“Downloads allowed” must be a whole number from 1 on, or empty.";
  else if (password !== password.trim()) reason = "The password must not begin or end with a space.";
  $("option-error").textContent = reason;
  if (reason) return null;
  return {
    expires_in: $("expires").value && Number($("expires").value),
    max_downloads: downloads.value && Number(downloads.value),
    password,
  };
}

function take(files) {
  const options = chosenOptions();
  if (options === null) return;
  for (const file of files) enqueue(new Task(file, { ...options }));
}

$("options").onsubmit = (event) => event.preventDefault();
$("pick").onclick = () => $("files").click();
$("files").onchange = () => {
  take([...$("files").files]);
  $("files").value = "";
};

// A file that is dropped beside its place would otherwise replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
document.addEventListener("dragover", () => $("drop").classList.add("over"));
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const folders = items.filter((item) => item.webkitGetAsEntry()?.isDirectory);
  const files = items.filter((item) => !folders.includes(item)).map((item) => item.getAsFile());
  take(files.filter((file) => file !== null));
  if (folders.length > 0) $("option-error").textContent = "A folder cannot be shared. Pack it into one file first.";
});

window.addEventListener("beforeunload", (event) => {
  if (running > 0) event.preventDefault();
});

shared.sync();
window.addEventListener("storage", (event) => {
  // No key: all of it was cleared.
  if (event.key === "files" || event.key === null) shared.sync();
});

async function refreshForever() {
  for (;;) {
    if (!document.hidden) await shared.refresh();
    await pause(REFRESH_EVERY);
  }
}

refreshForever();
