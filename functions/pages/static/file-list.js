// A list of files, each with its current state on the server.
import { copy } from "./clipboard.js";
import { $, copyOf, markKind, passFocus, prefix, write } from "./dom.js";
import { openLink, showTick } from "./link.js";
import { describe, isKeyless, isReceipt } from "./links.js";
import { network } from "./network.js";
import { fill, line, moment, size, texts } from "./words.js";

const words = texts.files;
// Send at most one request in this time, however many files there are.
const ASK_EVERY = 5000; // milliseconds
const FIRST_WAIT = 5000; // milliseconds
const LONGEST_WAIT = 600000; // milliseconds
// An expiry this close is shown with its time.
const SOON = 86400000; // milliseconds

const isSoon = (stamp) => Date.parse(stamp) - Date.now() < SOON;

class Row {
  metadata = null;
  gone = false;
  visible = false;
  wait = FIRST_WAIT;
  due = 0;

  constructor(file, { dated, polls, onForget, onDownload }) {
    Object.assign(this, { file, dated });
    this.asks = polls && !isReceipt(file);
    this.onForget = () => onForget(file);
    [this.element, this.find] = copyOf("file-template");
    this.element.row = this;
    this.element.dataset.id = file.file_id;
    const { original_name: name, file_size, download_page } = file;
    markKind(this.find(".kind"), name);
    this.find("bdi").textContent = name;
    this.find("bdi").title = name;
    this.find(".state").textContent = size(file_size);
    for (const [button, action] of [[".copy", texts.common.copy], [".options", texts.ready.options], [".forget", words.forget], [".download", texts.landing.download]]) {
      this.find(button).setAttribute("aria-label", fill(texts.common.of_file, { action, name }));
    }
    this.find(".download").hidden = !onDownload;
    this.find(".download").onclick = () => onDownload(file);
    this.find(".copy").hidden = isReceipt(file) || isKeyless(file);
    this.find(".copy").onclick = async (event) => {
      const button = event.currentTarget;
      if (await copy(download_page)) showTick(button, "copy");
      else this.open();
    };
    this.find(".options").onclick = () => this.open();
    this.find(".forget").onclick = this.onForget;
  }

  async open() {
    // Show the current settings, if the server answers.
    if (this.metadata === null && !isReceipt(this.file)) await this.ask();
    if (this.gone) return;
    openLink(this.file, this.metadata, { onChange: (metadata) => this.describe(metadata), onDelete: this.onForget });
  }

  describe(metadata) {
    const { download_count: downloads, max_downloads: count, created_at, expires_at, password_protected, file_size, encryption } = metadata;
    const parts = [size(file_size)];
    if (this.dated) parts.push(moment(created_at, false));
    if (count !== null && downloads < count) parts.push(fill(words.downloads_of, { downloads, count }));
    else parts.push(fill(words.downloads, { count: downloads }));
    if (count !== null && downloads >= count) parts.push(words.limit_reached);
    if (expires_at) parts.push(fill(words.expires, { date: moment(expires_at, !this.dated || isSoon(expires_at)) }));
    if (password_protected) parts.push(words.protected);
    if (encryption) parts.push(words.private);
    if (isKeyless(this.file, metadata)) this.find(".copy").hidden = true;
    if (metadata.inbox_id) this.#describeInbox(metadata, parts);
    const news = this.metadata !== null && this.metadata.download_count !== downloads;
    this.wait = news ? FIRST_WAIT : Math.min(this.wait * 1.5, LONGEST_WAIT);
    this.due = Date.now() + this.wait;
    this.metadata = metadata;
    write(this.find(".state"), line(parts));
  }

  /** What only the owner of an inbox learns of a file in it. */
  #describeInbox({ inbox_id, sender, shared }, parts) {
    const elsewhere = !this.file.here;
    if (sender) parts.splice(1, 0, fill(words.from, { sender }));
    else if (elsewhere) parts.splice(1, 0, words.received);
    if (shared) parts.push(words.shared);
    this.find(".copy").hidden = !shared;
    const link = this.find(".inbox");
    link.hidden = !elsewhere;
    link.href = `${prefix}/inbox#${inbox_id}`;
    write(link, words.inbox);
  }

  end(reason) {
    this.gone = true;
    this.find(".state").textContent = `${size(this.file.file_size)} · ${reason}`;
    this.find(".forget").hidden = false;
    passFocus(this.element, this.find(".forget"));
    for (const selector of [".copy", ".options", ".download", ".inbox"]) this.find(selector).hidden = true;
  }

  async ask() {
    this.due = Date.now() + this.wait;
    try {
      this.describe(await describe(this.file));
    } catch (error) {
      if (error.status === 404) this.end(words.deleted);
      else if (error.status === 410) this.end(words.expired);
      // Other errors are temporary. Keep showing the last count.
      else this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    }
  }
}

const onScreen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.row.visible = isIntersecting;
    if (isIntersecting) target.row.due = 0;
  }
  askNext();
});

/** The rows of one list; `show` updates them. `dated` shows when each file was uploaded. */
export class FileList {
  rows = new Map();

  /** Calls `onForget` with a file that was deleted, or that the user removes from the list. If `onDownload` is given,
   * each row has a button that calls it with its file. Unless the list `polls`, its owner describes the files.
   */
  constructor(element, { onForget, onDownload, passFocusTo, dated = false, polls = true }) {
    this.element = element;
    this.passFocusTo = passFocusTo;
    this.options = { onForget, onDownload, dated, polls };
    lists.push(this);
  }

  show(files) {
    const ids = new Set(files.map((file) => file.file_id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      passFocus(row.element, $(this.passFocusTo));
      onScreen.unobserve(row.element);
      row.element.remove();
      this.rows.delete(id);
    }
    let next = this.element.firstElementChild;
    for (const file of files) {
      if (!this.rows.has(file.file_id)) {
        const row = new Row(file, this.options);
        this.rows.set(file.file_id, row);
        onScreen.observe(row.element);
      }
      const { element } = this.rows.get(file.file_id);
      if (element === next) next = next.nextElementSibling;
      else this.element.insertBefore(element, next);
    }
  }
}

const lists = [];
let askedAt = 0;

/** Ask about the visible file that has waited longest, if one is due and no other request was sent just before. */
function askNext() {
  const now = Date.now();
  if (document.hidden || network.lost || now - askedAt < ASK_EVERY) return;
  const rows = lists.flatMap((list) => [...list.rows.values()]);
  const due = rows.filter((row) => row.visible && row.asks && !row.gone && row.due <= now);
  if (due.length === 0) return;
  askedAt = now;
  due.sort((a, b) => a.due - b.due)[0].ask();
}

setInterval(askNext, 1000);
