// What this browser has shared, and how often it was downloaded.
import { $, copyOf, kindOf, passFocus, write } from "./dom.js";
import { openLink, showTick } from "./link.js";
import { copy, describe } from "./links.js";
import { network } from "./network.js";
import { store, stored } from "./store.js";
import { fill, moment, size, texts } from "./words.js";

const words = texts.files;
const SHOW_AT_FIRST = 10;
const FILTER_FROM = 10;
// Whatever the number of files, there is at most one request in this time.
const ASK_EVERY = 5000; // milliseconds
const FIRST_WAIT = 5000; // milliseconds
const LONGEST_WAIT = 600000; // milliseconds

// What storage did not take, which no other tab knows of.
let unsaved = [];
let limit = SHOW_AT_FIRST;
const rows = new Map();

/** All of them, the newest first. Read anew each time, since other tabs write the same list. */
const all = () => [...unsaved, ...stored("files", [])];

export function addFile({ file_id, original_name, file_size, download_page, delete_token, ...metadata }) {
  const file = { file_id, original_name, file_size, download_page, delete_token };
  unsaved = store("files", [file, ...all()]) ? [] : [file, ...unsaved];
  draw();
  rows.get(file_id)?.describe({ file_size, ...metadata });
}

function removeFile({ file_id }) {
  const others = (files) => files.filter((each) => each.file_id !== file_id);
  unsaved = others(unsaved);
  store("files", others(stored("files", [])));
  draw();
}

class Row {
  metadata = null;
  gone = false;
  visible = false;
  wait = FIRST_WAIT;
  due = 0;

  constructor(file) {
    this.file = file;
    [this.element, this.find] = copyOf("file-template");
    this.element.row = this;
    const { original_name: name, file_size, download_page } = file;
    this.find(".kind").textContent = kindOf(name);
    this.find("bdi").textContent = name;
    this.find("bdi").title = name;
    this.find(".state").textContent = size(file_size);
    for (const [button, action] of [[".copy", texts.common.copy], [".options", texts.ready.options], [".forget", words.forget]]) {
      this.find(button).setAttribute("aria-label", fill(texts.common.of_file, { action, name }));
    }
    this.find(".copy").onclick = async (event) => {
      const button = event.currentTarget;
      if (await copy(download_page)) showTick(button, "copy");
      else this.open();
    };
    this.find(".options").onclick = () => this.open();
    this.find(".forget").onclick = () => removeFile(file);
  }

  async open() {
    // The settings that are shown are those of now, if the server tells.
    if (this.metadata === null) await this.ask();
    if (this.gone) return;
    openLink(this.file, this.metadata, {
      onChange: (metadata) => this.describe(metadata),
      onDelete: () => removeFile(this.file),
    });
  }

  describe(metadata) {
    const { download_count: downloads, max_downloads: count, expires_at, password_protected, file_size } = metadata;
    const parts = [size(file_size)];
    if (count === null) parts.push(fill(words.downloads, { count: downloads }));
    else parts.push(fill(words.downloads_of, { downloads, count }));
    if (count !== null && downloads >= count) parts.push(words.limit_reached);
    if (expires_at) parts.push(fill(words.expires, { date: moment(expires_at) }));
    if (password_protected) parts.push(words.protected);
    const text = parts.join(" · ");
    const news = this.metadata !== null && this.metadata.download_count !== downloads;
    this.wait = news ? FIRST_WAIT : Math.min(this.wait * 1.5, LONGEST_WAIT);
    this.due = Date.now() + this.wait;
    this.metadata = metadata;
    write(this.find(".state"), text);
  }

  end(reason) {
    this.gone = true;
    this.find(".state").textContent = `${size(this.file.file_size)} · ${reason}`;
    this.find(".forget").hidden = false;
    passFocus(this.element, this.find(".forget"));
    for (const selector of [".copy", ".options"]) this.find(selector).hidden = true;
  }

  async ask() {
    this.due = Date.now() + this.wait;
    try {
      this.describe(await describe(this.file));
    } catch (error) {
      if (error.status === 404) this.end(words.deleted);
      else if (error.status === 410) this.end(words.expired);
      // Anything else passes, and the count shown stays what it was.
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

/** Bring the list up to date, also with what another tab has added or removed. */
function draw() {
  const files = all();
  const filter = $("files-filter").value.toLowerCase();
  const matches = files.filter(({ original_name }) => original_name.toLowerCase().includes(filter));
  const shown = matches.slice(0, limit);
  const ids = new Set(shown.map((file) => file.file_id));
  for (const [id, row] of rows) {
    if (ids.has(id)) continue;
    passFocus(row.element, $("choose"));
    onScreen.unobserve(row.element);
    row.element.remove();
    rows.delete(id);
  }
  let next = $("file-rows").firstElementChild;
  for (const file of shown) {
    if (!rows.has(file.file_id)) {
      const row = new Row(file);
      rows.set(file.file_id, row);
      onScreen.observe(row.element);
    }
    const { element } = rows.get(file.file_id);
    if (element === next) next = next.nextElementSibling;
    else $("file-rows").insertBefore(element, next);
  }
  $("files").dataset.empty = String(files.length === 0);
  $("files-filter").hidden = files.length < FILTER_FROM;
  $("files-more").hidden = matches.length <= limit;
  $("files-nothing").hidden = files.length === 0 || matches.length > 0;
}

let askedAt = 0;

/** Ask about one file that is on the screen, the one that waits longest, if any is due and none was just asked about. */
function askNext() {
  const now = Date.now();
  if (document.hidden || network.lost || now - askedAt < ASK_EVERY) return;
  const due = [...rows.values()].filter((row) => row.visible && !row.gone && row.due <= now);
  if (due.length === 0) return;
  askedAt = now;
  due.sort((a, b) => a.due - b.due)[0].ask();
}

export function showFiles() {
  draw();
  $("files-filter").oninput = draw;
  $("files-more").onclick = () => {
    limit += 5 * SHOW_AT_FIRST;
    draw();
  };
  window.addEventListener("storage", (event) => {
    // No key: all of it was cleared.
    if (event.key === "files" || event.key === null) draw();
  });
  setInterval(askNext, 1000);
}
