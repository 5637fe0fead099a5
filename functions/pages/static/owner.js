// One inbox, as its owner sees it: its link, what came in, and its limits.
import { $, say, write } from "./dom.js";
import { begin, beginAll } from "./fetching.js";
import { FileList } from "./file-list.js";
import { inboxForm } from "./inbox-form.js";
import { linkPanel } from "./link.js";
import { network } from "./network.js";
import { ask, forget, keep } from "./owned.js";
import { fill, line, moment, size, texts } from "./words.js";

const words = texts.inboxes;
const FIRST_WAIT = 5000; // milliseconds
const LONGEST_WAIT = 60000; // milliseconds

/** Shows an inbox whose owner has this token; null if the user has the access token instead. */
export class Owner {
  #wait = FIRST_WAIT;
  #due = 0;
  #inbox = null;
  #list = new FileList($("rows"), {
    onForget: () => this.refresh(),
    onDownload: (file) => this.#download(file),
    passFocusTo: "arrived",
    dated: true,
    polls: false,
  });

  constructor(id, token) {
    Object.assign(this, { id, token });
    $("all").onclick = () => this.#downloadAll();
    $("close").onclick = () => this.#close();
  }

  /** Show the inbox. Throws if this user is not its owner. */
  async open() {
    this.#show(await ask("GET", this.id, this.token));
    $("link").replaceChildren(linkPanel({ original_name: this.#title, download_page: this.#inbox.inbox_page }));
    $("owner-link").hidden = this.token === null;
    $("owner-address").value = `${this.#inbox.inbox_page}#owner=${this.token}`;
    $("inbox").hidden = false;
    setInterval(() => this.#refreshIfDue(), 1000);
    document.addEventListener("visibilitychange", () => this.#refreshIfDue());
  }

  get #title() {
    return this.#inbox.title || words.untitled;
  }

  get #files() {
    // The newest first.
    return this.#inbox.files.map((file) => ({ ...file, owner_token: this.token, here: true })).reverse();
  }

  async refresh() {
    this.#due = Date.now() + this.#wait;
    try {
      this.#show(await ask("GET", this.id, this.token));
      write($("failure"), "");
    } catch (error) {
      write($("failure"), error.message);
    }
  }

  /** Ask whether files came in, ever less often if none do, and not while nobody looks. */
  #refreshIfDue() {
    if (!document.hidden && !network.lost && Date.now() >= this.#due) this.refresh();
  }

  #show(inbox) {
    if (!inbox.files) throw new Error(words.not_owner);
    const before = this.#inbox;
    const news = inbox.files.length !== before?.files.length;
    this.#wait = news ? FIRST_WAIT : Math.min(this.#wait * 1.5, LONGEST_WAIT);
    this.#due = Date.now() + this.#wait;
    this.#inbox = inbox;
    this.#drawHead();
    this.#drawFiles();
    const options = ({ title, note, max_files, max_bytes, max_file_size, file_expires_in, expires_at }) =>
      JSON.stringify([title, note, max_files, max_bytes, max_file_size, file_expires_in, expires_at]);
    if (before === null || options(before) !== options(inbox)) this.#drawForm();
    if (before !== null && inbox.files.length > before.files.length) say($("arrived").textContent);
    if (this.token && inbox.title !== before?.title) keep({ inbox_id: this.id, title: inbox.title, owner_token: this.token });
  }

  #drawHead() {
    const { open, closed_at, expires_at, max_files, max_bytes, bytes_left, files_left } = this.#inbox;
    write($("title").firstElementChild, this.#title);
    const date = moment(expires_at);
    const state = open ? fill(words.open, { date }) : closed_at ? words.closed : fill(words.expired, { date });
    const used = fill(words.used, { count: max_files - files_left, files: max_files, total: size(max_bytes) });
    const left = bytes_left > 0 && files_left > 0 ? fill(words.left, { size: size(bytes_left) }) : words.full;
    write($("state"), open ? line([state, used, left]) : state);
    $("sending").hidden = !open;
    $("changing").hidden = $("close").hidden = Boolean(closed_at);
  }

  #drawFiles() {
    const files = this.#files;
    write($("arrived"), files.length === 0 ? words.nothing : fill(words.arrived, { count: files.length }));
    document.title = files.length === 0 ? this.#title : `(${files.length}) ${this.#title}`;
    $("waiting").hidden = files.length > 0;
    $("all").hidden = files.length < 2;
    $("rows").hidden = files.length === 0;
    this.#list.show(files);
    for (const file of files) this.#list.rows.get(file.file_id).describe(file);
  }

  #drawForm() {
    const change = async (options) => {
      this.#show(await ask("PATCH", this.id, this.token, options));
      $("changing").open = false;
      $("changing").querySelector("summary").focus();
      say(words.changed);
    };
    $("change-place").replaceChildren(inboxForm(this.#inbox, words.change, change));
  }

  #download(file) {
    const { shared, password_protected } = this.#inbox.files.find(({ file_id }) => file_id === file.file_id);
    // Who shares a file with a password enters it like everyone.
    if (shared && password_protected) window.open(file.download_page);
    else begin(file);
    this.#wait = FIRST_WAIT;
    this.#due = Date.now() + 1000;
  }

  async #downloadAll() {
    $("all").disabled = true;
    write($("not-downloaded"), "");
    const failed = await beginAll(this.#files);
    $("all").disabled = false;
    const names = failed.map((file) => file.original_name).join(", ");
    write($("not-downloaded"), names && fill(words.not_downloaded, { names }));
    this.refresh();
  }

  async #close() {
    if (!confirm(words.confirm)) return;
    try {
      await ask("DELETE", this.id, this.token);
      say(words.closed);
    } catch (error) {
      write($("failure"), error.message);
      return;
    }
    this.refresh();
  }
}

/** Forget an inbox that is gone. */
export function forgetUnlessThere(id, error) {
  if (error.status === 404) forget(id);
}
