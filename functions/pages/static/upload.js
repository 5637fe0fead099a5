// The upload page: accepts files, and shows their progress and links.
import { Batch } from "./batch.js";
import { BatchView } from "./batch-view.js";
import { $, passFocus, say, write } from "./dom.js";
import { addFile, showFiles } from "./files.js";
import { showInterrupted } from "./interrupted.js";
import { forgetUnsent, rememberUnsent } from "./memory.js";
import { Packing } from "./packing.js";
import { encryptIf } from "./private-source.js";
import { server } from "./requests.js";
import { showRoom } from "./room.js";
import { Chips, Settings } from "./settings.js";
import { droppedSources, pastedSources, sourcesOf } from "./sources.js";
import { askForToken, currentToken } from "./token.js";
import { fill, texts } from "./words.js";

// Its owner decides about the files in an inbox.
const settings = new Settings(server.inbox ? {} : undefined);
settings.isPrivate = server.inbox ? null : false;
const batch = new Batch(settings);

new BatchView(batch, showStart);
const chips = server.inbox ? null : new Chips(settings);
if (chips) $("settings").append(chips.element);

const packing = new Packing(begin, () => {
  showStart();
  passFocus($("pack"), $(batch.tasks.size === 0 ? "choose" : "add"));
});

/** A single file is uploaded at once. For several, or a folder, the user first decides between one link and many. */
function take(items) {
  write($("trouble"), "");
  if (items.length === 0 || server.files_left === 0) return;
  if (!packing.isOpen && items.length === 1 && !items[0].path.includes("/")) begin(items);
  else {
    packing.add(items);
    hideStart();
  }
}

function begin(sources, isPrivate = settings.isPrivate) {
  const began = batch.tasks.size === 0;
  batch.add(sources.map((source) => encryptIf(isPrivate, source)));
  forgetUnsent(sources);
  say(fill(texts.upload.added, { count: sources.length }));
  // After the list is drawn, so that it can take the focus, and before the browser paints.
  queueMicrotask(() => {
    $("after").hidden = false;
    for (const id of ["start", "pack"]) passFocus($(id), $(began ? "work-title" : "add"));
    if (!began) return;
    // Elements that move lose the focus.
    passFocus($("settings"), $("work-title"));
    hideStart();
    chips?.offerPrivacy(false);
  });
}

function hideStart() {
  for (const id of ["start", "files", "interrupted-place"]) $(id).hidden = true;
  // Inserted again, the settings appear below the list without visibly jumping there from below the drop zone.
  $("settings-state").before($("settings"));
}

function showStart() {
  chips?.offerPrivacy(batch.tasks.size === 0);
  if (packing.isOpen || batch.tasks.size > 0) return;
  for (const id of ["start", "files", "interrupted-place"]) $(id).hidden = false;
  passFocus($("after"), $("choose"));
  $("after").hidden = true;
}

batch.addEventListener("uploaded", ({ detail: task }) => addFile(task.answer));
batch.addEventListener("saving", () => {
  const [reason] = batch.unsaved.values();
  const failed = reason ? fill(texts.settings.not_saved, { count: batch.unsaved.size, reason }) : "";
  write($("settings-state"), batch.saving > 0 ? texts.settings.saving : failed || texts.settings.saved);
});

$("more").onclick = () => {
  batch.clear();
  // The password was for these files only.
  if (!server.inbox) settings.set("password", "");
  write($("settings-state"), "");
};

for (const [button, field] of [["choose", "chosen"], ["choose-folder", "chosen-folder"], ["add", "chosen"], ["pack-add", "chosen"]]) {
  $(button).onclick = () => $(field).click();
}
for (const id of ["chosen", "chosen-folder"]) {
  $(id).onchange = async () => {
    const sources = sourcesOf($(id).files);
    $(id).value = "";
    take(await sources);
  };
}

// Otherwise, a file dropped outside the drop zone would replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
document.addEventListener("dragover", () => document.body.classList.add("over"));
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("over");
});
document.addEventListener("drop", async (event) => {
  document.body.classList.remove("over");
  if (event.dataTransfer.items.length === 0) return;
  try {
    const items = await droppedSources(event.dataTransfer);
    const empty = items.every(({ file }) => file === null);
    take(empty ? [] : items);
    if (empty) write($("trouble"), texts.upload.empty_folder);
  } catch (error) {
    write($("trouble"), fill(texts.upload.unreadable, { name: error.message }));
  }
});
document.addEventListener("paste", async (event) => {
  if (!event.target.closest("input, textarea")) take(await pastedSources(event.clipboardData));
});

if (server.inbox) showRoom(batch);

window.addEventListener("beforeunload", (event) => {
  if (batch.active) event.preventDefault();
});

// An upload in parts is remembered when it begins. An archive that is sent whole takes only a moment.
window.addEventListener("pagehide", () => {
  const isUnsent = ({ state, begun, source, tooLarge }) => state !== "done" && !begun && !source.count && !tooLarge;
  const sources = [...batch.tasks].filter(isUnsent).map(({ source }) => source);
  for (const isPrivate of [false, true]) {
    rememberUnsent(sources.filter(({ plain }) => Boolean(plain) === isPrivate), { isPrivate, password: settings.values.password });
  }
});
// The browser can show the same page again, which continues.
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) forgetUnsent([...batch.tasks].map(({ source }) => source));
});

showInterrupted(begin, settings);
showFiles();
if (server.token_required && currentToken() === null) askForToken(null);
