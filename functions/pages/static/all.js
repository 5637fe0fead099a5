// All files of the server: reads the server's list page by page, then sorts and filters it here.
import { $, prefix, write } from "./dom.js";
import { FileList } from "./file-list.js";
import { Cancelled, network } from "./network.js";
import { persistently, sendWithToken } from "./requests.js";
import { stored } from "./store.js";
import { fill, size, texts } from "./words.js";

const t = texts.all;
const SHOW_AT_ONCE = 50;
// Read this many pages of the server's list; after that, the user must click to read more.
const READ_AT_ONCE = 20;

const names = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });
const LATEST = "9999";
const ORDERS = {
  created_at: (a, b) => b.created_at.localeCompare(a.created_at),
  original_name: (a, b) => names.compare(a.original_name, b.original_name),
  file_size: (a, b) => b.file_size - a.file_size,
  download_count: (a, b) => b.download_count - a.download_count,
  expires_at: (a, b) => (a.expires_at ?? LATEST).localeCompare(b.expires_at ?? LATEST),
};

// By ID. This browser can change the files that it uploaded without the access token.
const files = new Map();
const tokens = new Map(stored("files", []).map(({ file_id, delete_token }) => [file_id, delete_token]));
let after = "";
let complete = false;
let reading = false;
let limit = SHOW_AT_ONCE;

const list = new FileList($("rows"), { onForget: forget, passFocusTo: "all-title", dated: true });

function forget({ file_id }) {
  files.delete(file_id);
  draw();
}

/** Read pages of the list, and show each one as it arrives. */
async function read() {
  $("failure").hidden = true;
  $("load").hidden = true;
  reading = true;
  if (files.size === 0) write($("summary"), t.loading);
  try {
    for (let pages = 0; pages < READ_AT_ONCE && !complete; pages++) {
      const address = `${prefix}/file/metadata${after && `?after=${after}`}`;
      const answer = await persistently(() => sendWithToken("GET", address));
      for (const [file_id, metadata] of Object.entries(JSON.parse(answer.responseText))) {
        files.set(file_id, { file_id, delete_token: tokens.get(file_id), ...metadata });
        after = file_id;
      }
      complete = !answer.getResponseHeader("Link")?.includes('rel="next"');
      draw();
    }
  } catch (error) {
    if (error instanceof Cancelled) return;
    $("failure").hidden = false;
    $("failure").querySelector("span").textContent = fill(t.failed, { reason: error.message });
    write($("summary"), "");
    return;
  } finally {
    reading = false;
  }
  $("load").hidden = complete;
}

function draw() {
  // Newer answers about single files, received since the list was read.
  for (const [id, { metadata }] of list.rows) if (metadata && files.has(id)) Object.assign(files.get(id), metadata);
  const filter = $("filter").value.toLowerCase();
  const all = [...files.values()];
  const matches = all.filter(({ original_name }) => original_name.toLowerCase().includes(filter));
  matches.sort(ORDERS[$("sort").value]);
  const shown = matches.slice(0, limit);
  list.show(shown);
  for (const { file_id } of shown) {
    const row = list.rows.get(file_id);
    if (row.metadata === null) row.describe(files.get(file_id));
  }
  const total = size(all.reduce((sum, { file_size }) => sum + file_size, 0));
  const count = fill(complete ? t.count : t.part, { count: all.length, size: total });
  const matching = filter && ` · ${fill(t.matches, { count: matches.length })}`;
  write($("summary"), all.length === 0 ? t.none : count + matching);
  $("list").hidden = all.length === 0;
  $("nothing").hidden = matches.length > 0;
  $("more").hidden = matches.length <= limit;
}

function drawFromTop() {
  limit = SHOW_AT_ONCE;
  draw();
}

$("filter").oninput = drawFromTop;
$("sort").onchange = drawFromTop;
$("more").onclick = () => {
  limit += 4 * SHOW_AT_ONCE;
  draw();
};
$("load").onclick = read;
$("again").onclick = read;

network.addEventListener("change", () => {
  if (reading) write($("summary"), network.lost ? texts.progress.waiting_for[network.reason].title : t.loading);
});

read();
