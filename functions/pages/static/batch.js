// Files that are shared together: the state of each file and of the whole batch. Does not depend on how they are shown.
import { change, isReceipt } from "./links.js";
import { claim, forget, remember } from "./memory.js";
import { Cancelled } from "./network.js";
import { server } from "./requests.js";
import { takeBack, upload } from "./transfer.js";
import { fill, size, texts } from "./words.js";

const FILES_AT_ONCE = 3;
const CHANGES_AT_ONCE = 3;
const SPEED_OVER = 5000; // milliseconds

/** One source and its state: "waiting", "sending", "done" or "failed". */
export class Task {
  state = "waiting";
  sent = 0;
  error = null;
  answer = null;
  begun = null;
  // The options of the file on the server.
  options = null;

  constructor(source) {
    this.source = source;
    this.tooLarge = source.size > server.max_file_size;
  }

  /** Whether it is uploaded and there is a link to it. In an inbox, there is none. */
  get isLink() {
    return this.state === "done" && !isReceipt(this.answer);
  }
}

export class Batch extends EventTarget {
  tasks = new Set();
  counts = { waiting: 0, sending: 0, done: 0, failed: 0 };
  total = 0;
  sent = 0;
  // How many links are being changed, and why some changes failed.
  saving = 0;
  unsaved = new Map();
  #queue = [];
  #samples = [];

  /** `settings` are the options of all files, including those that are already uploaded. */
  constructor(settings) {
    super();
    this.settings = settings;
    settings.addEventListener("change", () => this.#applySettings());
  }

  get active() {
    return this.counts.waiting + this.counts.sending > 0;
  }

  /** Bytes per second over the last seconds; 0 if unknown. */
  get speed() {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    return !first || last[0] - first[0] < 300 ? 0 : ((last[1] - first[1]) / (last[0] - first[0])) * 1000;
  }

  add(sources) {
    for (const source of sources) {
      const task = new Task(source);
      this.tasks.add(task);
      this.counts.waiting++;
      this.total += source.size;
      if (task.tooLarge) this.#fail(task, fill(texts.progress.too_large, { size: size(server.max_file_size) }));
      else this.#queue.push(task);
      this.#changed(task);
    }
    this.#startMore();
  }

  /** Retry with the current settings. */
  retry(task) {
    task.error = null;
    this.#turn(task, "waiting");
    this.#queue.push(task);
    this.#startMore();
  }

  retryAll() {
    for (const task of this.tasks) if (task.state === "failed" && !task.tooLarge) this.retry(task);
  }

  /** Remove a task from the list, and delete what was sent. */
  remove(task) {
    this.#progress(task, 0);
    if (!this.tasks.delete(task)) return;
    task.controller?.abort();
    task.source.close();
    if (task.begun) {
      takeBack(task.begun);
      this.#forget(task);
    }
    this.counts[task.state]--;
    this.total -= task.source.size;
    this.#changed(task);
  }

  cancelAll() {
    for (const task of this.tasks) if (task.state !== "done") this.remove(task);
  }

  /** Start again with an empty batch. Uploaded files stay. */
  clear() {
    this.cancelAll();
    for (const task of this.tasks) this.remove(task);
    this.#samples = [];
  }

  #startMore() {
    while (this.counts.sending < FILES_AT_ONCE && this.#queue.length > 0) {
      const task = this.#queue.shift();
      if (this.tasks.has(task)) this.#run(task);
    }
  }

  async #run(task) {
    const { source } = task;
    const controller = (task.controller = new AbortController());
    if (this.counts.sending === 0) this.#samples = [];
    this.#turn(task, "sending");
    if (!task.begun) {
      const entry = claim(source);
      task.begun = entry?.begun ?? null;
      // The password of an interrupted upload is unknown, and it stays.
      task.options = entry ? { ...entry.options, password: null } : { ...this.settings.values };
    }
    try {
      task.answer = await upload(source, task.options, {
        begun: task.begun,
        signal: controller.signal,
        onProgress: (sent, there) => this.#progress(task, sent, there),
        remember: (begun) => {
          task.begun = begun;
          remember(source, begun, task.options);
        },
      });
      if (source.plain) task.answer = source.reveal(task.answer);
      this.#forget(task);
      source.close();
      this.#progress(task, source.size);
      this.dispatchEvent(new CustomEvent("uploaded", { detail: task }));
      await this.#applyTo(task);
      this.#turn(task, "done");
    } catch (error) {
      // If one part of a file fails, stop the others.
      controller.abort();
      if (!(error instanceof Cancelled)) this.#fail(task, error.message);
    }
    this.#startMore();
  }

  /** Apply the settings to files that are already uploaded. */
  async #applySettings() {
    const waiting = [...this.tasks].filter((task) => task.state === "done");
    const worker = async () => {
      for (let task = waiting.shift(); task; task = waiting.shift()) await this.#applyTo(task);
    };
    await Promise.all(Array.from({ length: CHANGES_AT_ONCE }, worker));
  }

  /** Change an upload until it has the current settings. They may change in the meantime. */
  async #applyTo(task) {
    for (let options = this.#missing(task); options !== null; options = this.#missing(task)) {
      this.#noteSaving(1);
      try {
        task.answer = { ...task.answer, ...(await change(task.answer, options)) };
        Object.assign(task.options, options, options.password === null ? { password: "" } : {});
        this.unsaved.delete(task);
      } catch (error) {
        this.unsaved.set(task, error.message);
        return;
      } finally {
        this.#noteSaving(-1);
      }
    }
  }

  /** The options to change; null if there are none. */
  #missing(task) {
    const { values } = this.settings;
    const names = Object.keys(values).filter((name) => {
      if (name === "password" && task.options.password === null) return values.password !== "";
      return values[name] !== task.options[name];
    });
    return names.length === 0 ? null : Object.fromEntries(names.map((name) => [name, values[name] || null]));
  }

  #noteSaving(change) {
    this.saving += change;
    this.dispatchEvent(new Event("saving"));
  }

  #fail(task, reason) {
    task.error = reason;
    this.#progress(task, 0);
    this.#turn(task, "failed");
  }

  #forget(task) {
    if (task.begun) forget(task.source);
    task.begun = null;
  }

  #turn(task, state) {
    if (!this.tasks.has(task)) return;
    this.counts[task.state]--;
    task.state = state;
    this.counts[state]++;
    this.#changed(task);
  }

  #progress(task, sent, there = false) {
    if (!this.tasks.has(task)) return;
    this.sent += sent - task.sent;
    task.sent = sent;
    const now = performance.now();
    // Bytes that are already on the server do not count towards the speed.
    if (there) this.#samples = [];
    this.#samples.push([now, this.sent]);
    while (this.#samples.length > 2 && now - this.#samples[0][0] > SPEED_OVER) this.#samples.shift();
    this.#changed(task);
  }

  #changed(task) {
    this.dispatchEvent(new CustomEvent("change", { detail: task }));
  }
}
