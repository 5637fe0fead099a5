// A batch on the page: its total, a row for each file, and the view after success.
import { copy } from "./clipboard.js";
import { $, copyOf, markKind, passFocus, say, write } from "./dom.js";
import { removeFile } from "./files.js";
import { confirmCopy, linkPanel, openLink, receiptPanel, showTick } from "./link.js";
import { isReceipt } from "./links.js";
import { network } from "./network.js";
import { server } from "./requests.js";
import { fill, line, moment, percent, size, span, texts } from "./words.js";

const words = texts.progress;
const REDRAW_EVERY = 100; // milliseconds
// With thousands of files, drawing all rows at once would freeze the page.
const MOST_ROWS_AT_ONCE = 500;

class Row {
  constructor(task, batch) {
    this.task = task;
    [this.element, this.find] = copyOf("row-template");
    const { path } = task.source;
    markKind(this.find(".kind"), path);
    this.find("bdi").textContent = path;
    this.find("bdi").title = path;
    this.find("progress").setAttribute("aria-label", fill(words.label, { name: path }));
    this.find(".remove").onclick = () => {
      say(fill(words.cancelled, { name: path }));
      batch.remove(task);
    };
    this.find(".retry").onclick = () => batch.retry(task);
    this.find(".options").onclick = () => this.#open(batch);
    this.find(".copy").onclick = async (event) => {
      const button = event.currentTarget;
      if (await copy(task.answer.download_page)) showTick(button, "copy");
      else this.#open(batch);
    };
  }

  #open(batch) {
    const { task } = this;
    openLink(task.answer, task.answer, {
      onChange: (metadata) => (task.answer = { ...task.answer, ...metadata }),
      onDelete: () => drop(task, batch),
    });
  }

  update() {
    const { state, source, sent, error } = this.task;
    if (this.element.dataset.state !== state) this.#turn(state);
    const share = source.size === 0 ? 0 : sent / source.size;
    if (state === "sending") {
      this.find("progress").value = share;
      write(this.find(".share"), percent(share));
    }
    const values = { size: extent(source) };
    const details = { waiting: fill(words.waiting, values), sending: "", done: fill(words.done, values), failed: error };
    write(this.find(".detail"), details[state]);
  }

  #turn(state) {
    const { path } = this.task.source;
    const actions = { remove: state !== "done", retry: state === "failed" && !this.task.tooLarge, copy: this.task.isLink, options: state === "done" };
    const next = this.find(this.task.isLink ? ".copy" : state === "done" ? ".options" : ".remove");
    for (const [name, offered] of Object.entries(actions)) {
      const button = this.find(`.${name}`);
      const focused = !offered && button === document.activeElement;
      button.hidden = !offered;
      if (focused) {
        next.hidden = false;
        next.focus();
      }
    }
    const label = state === "waiting" || state === "failed" ? words.remove : texts.common.cancel;
    for (const [name, action] of Object.entries({ remove: label, retry: words.retry, copy: texts.common.copy, options: texts.ready.options })) {
      this.find(`.${name}`).setAttribute("aria-label", fill(texts.common.of_file, { action, name: path }));
    }
    this.find("progress").hidden = this.find(".share").hidden = state !== "sending";
    this.find(".tick").toggleAttribute("hidden", state !== "done");
    this.find(".detail").classList.toggle("error", state === "failed");
    this.element.dataset.state = state;
  }
}

/** Shows `batch`. Calls `onEmpty` when no files are left in it. */
export class BatchView {
  #rows = new Map();
  #stale = new Set();
  #due = false;
  #title = document.title;
  #ready = null;

  constructor(batch, onEmpty) {
    this.batch = batch;
    this.onEmpty = onEmpty;
    batch.addEventListener("change", ({ detail }) => this.#redraw(detail));
    network.addEventListener("change", () => this.#redraw());
    $("cancel-all").onclick = () => {
      batch.cancelAll();
      say(words.all_cancelled);
    };
    $("retry-all").onclick = () => batch.retryAll();
    $("copy-all").onclick = async (event) => {
      const button = event.currentTarget;
      const all = $("all-links");
      all.value = this.#links().join("\n");
      all.hidden = await copy(all.value);
      if (all.hidden) confirmCopy(button, texts.ready.copy_all);
      else all.select();
    };
  }

  #links() {
    return [...this.batch.tasks].filter((task) => task.answer).map((task) => task.answer.download_page);
  }

  /** Redraw soon, with all changes until then at once, because a thousand files cause many changes.
   *
   * The first files appear before the browser paints: between the drop zone and the list, it would show neither. An
   * empty batch disappears at once, so that its links are not taken for those of the next files.
   */
  #redraw(task) {
    if (task) this.#stale.add(task);
    // At once, because a click on it would end what has just begun.
    if (this.batch.active) $("more").hidden = true;
    if (this.batch.tasks.size === 0) return this.#draw();
    if (this.#due) return;
    this.#due = true;
    if (this.#rows.size === 0) queueMicrotask(() => this.#draw());
    else setTimeout(() => this.#draw(), REDRAW_EVERY);
  }

  #draw() {
    this.#due = false;
    const added = document.createDocumentFragment();
    for (const task of [...this.#stale].slice(0, MOST_ROWS_AT_ONCE)) {
      this.#stale.delete(task);
      if (!this.batch.tasks.has(task)) this.#drop(task);
      else {
        if (!this.#rows.has(task)) {
          this.#rows.set(task, new Row(task, this.batch));
          added.append(this.#rows.get(task).element);
        }
        this.#rows.get(task).update();
      }
    }
    $("rows").append(added);
    this.#drawTotal();
    if (this.#stale.size > 0) this.#redraw();
  }

  #drop(task) {
    const row = this.#rows.get(task);
    if (!row) return;
    passFocus(row.element, row.element.nextElementSibling?.querySelector("button:not([hidden])") ?? $("add"));
    row.element.remove();
    this.#rows.delete(task);
  }

  #drawTotal() {
    const { batch } = this;
    const { counts, tasks } = batch;
    const ended = tasks.size > 0 && !batch.active;
    const whole = ended && counts.failed === 0;
    const single = whole && tasks.size === 1;
    $("work").hidden = tasks.size === 0 || single;
    $("work").dataset.state = whole ? "done" : ended ? "failed" : "sending";
    $("cancel-all").hidden = ended;
    $("retry-all").hidden = ![...tasks].some((task) => task.state === "failed" && !task.tooLarge) || counts.failed < 2;
    $("copy-all").hidden = !whole || ![...tasks].every((task) => task.isLink);
    $("total").value = batch.total === 0 ? Number(ended) : batch.sent / batch.total;
    const heading = this.#heading(ended, whole);
    write($("work-title"), heading);
    write($("work-detail"), this.#detail(ended, heading));
    this.#drawReady(single ? [...tasks][0] : null);
    // Together with the link, which moves what is below it: a click that comes before that would miss its button.
    $("more").hidden = batch.active || server.files_left === 0;
    $("add").hidden = !batch.active;
    document.title = this.#tabTitle(ended, whole);
    if (tasks.size === 0) this.onEmpty();
  }

  #heading(ended, whole) {
    const { counts, tasks } = this.batch;
    if (whole) return fill(texts.ready.many, { count: counts.done });
    if (ended) return fill(words.failed, { count: counts.failed });
    if (network.lost) return words.waiting_for[network.reason].title;
    const [first] = tasks;
    if (tasks.size === 1 && first.source.count) return fill(words.uploading_as_one, { count: first.source.count });
    return fill(words.uploading, { count: tasks.size });
  }

  #detail(ended, heading) {
    const { batch } = this;
    const uploaded = fill(words.uploaded, { count: batch.counts.done });
    // For an inbox, the heading says the same.
    if (ended) return batch.counts.done > 0 ? line([uploaded, size(batch.sent)].filter((fact) => fact !== heading)) : "";
    if (network.lost) return words.waiting_for[network.reason].detail;
    const parts = [fill(words.detail, { sent: size(batch.sent), total: size(batch.total) })];
    if (batch.sent >= batch.total) parts.push(words.finishing);
    else if (batch.speed > 0) {
      const left = span((batch.total - batch.sent) / batch.speed);
      parts.push(fill(words.speed, { speed: size(batch.speed) }), fill(words.left, { time: left }));
    }
    return line(parts);
  }

  #tabTitle(ended, whole) {
    const { batch } = this;
    if (batch.tasks.size === 0) return this.#title;
    if (ended) return fill(whole ? words.title_done : words.title_failed, { title: this.#title });
    return fill(words.title, { percent: percent(batch.total === 0 ? 0 : batch.sent / batch.total), title: this.#title });
  }

  #drawReady(task) {
    const place = $("ready");
    if (task !== this.#ready) {
      this.#ready = task;
      place.hidden = task === null;
      $("ready-link").replaceChildren(...(task ? [this.#panel(task)] : []));
      if (task) $("ready-title").focus();
    }
    if (task) write($("ready-detail"), describe(task));
  }

  #panel(task) {
    return task.isLink ? linkPanel(task.answer) : receiptPanel(task.answer, () => drop(task, this.batch));
  }
}

/** Remove a file that was deleted. */
function drop(task, batch) {
  removeFile(task.answer);
  batch.remove(task);
}

/** The size of a source, of an archive also the number of files, and whether it is private. */
function extent({ plain, ...source }) {
  if (plain) return line([extent(plain), texts.files.private]);
  return source.count ? fill(texts.packing.files, { count: source.count, size: size(source.size) }) : size(source.size);
}

/** Name, size and, if there is one, the expiry of a link. */
function describe({ source, answer: { original_name, expires_at } }) {
  const parts = [extent(source)];
  if (expires_at) parts.push(fill(texts.files.expires, { date: moment(expires_at) }));
  return `\u2068${original_name}\u2069 · ${line(parts)}`;
}
