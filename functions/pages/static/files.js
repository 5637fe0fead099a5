// The files that this browser has shared, and how often each was downloaded; on an inbox's page, those it has sent there.
import { $ } from "./dom.js";
import { FileList } from "./file-list.js";
import { keepLink, noteLink, privateLink } from "./keys.js";
import { hasKey, isReceipt } from "./links.js";
import { server } from "./requests.js";
import { store, stored } from "./store.js";

const SHOW_AT_FIRST = 10;
const FILTER_FROM = 10;
const KEY = server.inbox ? `sent:${server.inbox}` : "files";

// Files that could not be saved in the browser's storage, so other tabs do not know them.
let unsaved = [];
let limit = SHOW_AT_FIRST;
const list = new FileList($("file-rows"), { onForget: removeFile, passFocusTo: "choose" });

/** All files, newest first. Read again each time, because other tabs write the same list. */
const all = () => [...unsaved, ...stored(KEY, [])];

/** A file with the key of its link, if this browser knows it. What is stored has none. */
function withKey(file) {
  return file.isPrivate ? { ...file, download_page: privateLink(file) ?? file.download_page } : file;
}

export function addFile({ file_id, original_name, file_size, download_page, delete_token, ...metadata }) {
  const file = { file_id, original_name, file_size, download_page, delete_token };
  if (hasKey(file)) {
    noteLink(file);
    Object.assign(file, { isPrivate: true, download_page: download_page.split("#")[0] });
  }
  unsaved = store(KEY, [file, ...all()]) ? [] : [file, ...unsaved];
  draw();
  if (!isReceipt(file)) list.rows.get(file_id)?.describe({ file_size, ...metadata });
}

export function removeFile(file) {
  const others = (files) => files.filter((each) => each.file_id !== file.file_id);
  keepLink(file, false);
  unsaved = others(unsaved);
  store(KEY, others(stored(KEY, [])));
  draw();
}

/** Update the list, including files that another tab has added or removed. */
function draw() {
  const files = all().map(withKey);
  const filter = $("files-filter").value.toLowerCase();
  const matches = files.filter(({ original_name }) => original_name.toLowerCase().includes(filter));
  list.show(matches.slice(0, limit));
  $("files").dataset.empty = String(files.length === 0);
  $("files-filter").hidden = files.length < FILTER_FROM;
  $("files-more").hidden = matches.length <= limit;
  $("files-nothing").hidden = files.length === 0 || matches.length > 0;
}

export function showFiles() {
  draw();
  $("files-filter").oninput = draw;
  $("files-more").onclick = () => {
    limit += 5 * SHOW_AT_FIRST;
    draw();
  };
  window.addEventListener("storage", (event) => {
    // No key: the whole storage was cleared.
    if (event.key === KEY || event.key === null) draw();
  });
}
