// The page of an encrypted file: reads its name with the key in the link, and decrypts it while it is downloaded.
import { $, markKind, prefix, write } from "./dom.js";
import { Cancelled } from "./network.js";
import { Interrupted, Refused, download } from "./private-download.js";
import { Damaged, decryptMetadata, keyOf, plainSize } from "./private-format.js";
import "./removal.js";
import { MOST_IN_MEMORY, TooLarge, openSaver } from "./savers.js";
import "./times.js";
import { fill, line, percent, readable, size, texts } from "./words.js";

const t = texts.encrypted;
const main = document.querySelector("main");
const { file: id, scheme, metadata: option } = main.dataset;
const file = {
  address: `${prefix}/file/download/${id}`,
  size: Number(main.dataset.size),
  isLimited: "limited" in main.dataset,
  isWhole: "limited" in main.dataset && "redirects" in main.dataset,
  key: null,
  unlock: async () => {
    if (Date.now() - unlocked > UNLOCKED_FOR && !(await isRight($("password").value))) throw new Refused(401);
  },
};
const MOST_ENTRIES = 1000;
// Half the time that the server accepts the cookie for.
const UNLOCKED_FOR = 30_000; // milliseconds

let about = null;
let controller = null;
// When the password was last exchanged for a cookie; infinite if there is none.
let unlocked = Infinity;

/** Show what the key reveals, or ask for another key. `fragment` is what follows the "#" of a link. */
async function use(fragment) {
  const key = keyOf(fragment);
  if (key === null) return fragment.startsWith("k=") ? t.incomplete_key : t.no_key;
  try {
    about = await decryptMetadata(key, { scheme, metadata: option });
    const length = plainSize(file.size);
    if ((about.file_size ?? length) !== length) throw new Damaged("cut");
    about = { ...about, original_name: readable(about.original_name), file_size: length };
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return error.message === "key" ? t.wrong_key : t[error.message];
  }
  file.key = key;
  document.title = about.original_name;
  $("name").textContent = about.original_name;
  $("name").title = about.original_name;
  markKind(main.querySelector(".kind"), about.original_name);
  write($("about"), size(about.file_size));
  const entries = (about.entries ?? []).filter(({ name }) => !name.endsWith("/"));
  $("entries").hidden = entries.length === 0;
  $("entries").querySelector("ul").replaceChildren(...entries.slice(0, MOST_ENTRIES).map(entryItem));
  $("key-form").hidden = true;
  if ($("get")) $("get").hidden = false;
  return "";
}

function entryItem({ name, size: bytes }) {
  const item = document.createElement("li");
  const shown = document.createElement("bdi");
  shown.textContent = readable(name);
  item.append(shown, ` · ${size(bytes)}`);
  return item;
}

async function start() {
  if (!window.isSecureContext) {
    tell(t.insecure, true);
    return;
  }
  const reason = await use(location.hash.slice(1));
  $("key-form").hidden = reason === "";
  write($("key-reason"), reason);
}

$("key-form").onsubmit = async (event) => {
  event.preventDefault();
  const text = $("key").value.trim();
  const fragment = text.includes("#") ? text.slice(text.indexOf("#") + 1) : text.startsWith("k=") ? text : `k=${text}`;
  const reason = await use(fragment);
  // What is wrong with this key replaces what was wrong with the link.
  write($("key-reason"), "");
  write($("key-error"), reason);
  $("key").setAttribute("aria-invalid", String(reason !== ""));
  if (reason === "") {
    $("key").value = "";
    $("download")?.focus();
  }
};

if ($("get")) {
  $("get").onsubmit = async (event) => {
    event.preventDefault();
    if (controller !== null) return;
    controller = new AbortController();
    try {
      if (!$("password") || (await isRight($("password").value))) await save(controller.signal);
    } catch (error) {
      fail(error);
    }
    // What the server still sends is of no use.
    controller.abort();
    controller = null;
    showProgress(false);
  };
}
$("cancel").onclick = () => controller?.abort();

/** Exchange the password for a cookie. */
async function isRight(password) {
  const body = new URLSearchParams({ password });
  const answer = await fetch(`${prefix}/download/${id}`, { method: "POST", body, redirect: "manual", cache: "no-store" });
  if (answer.type === "opaqueredirect") {
    unlocked = Date.now();
    return true;
  }
  if (answer.status !== 401) throw new Refused(answer.status);
  tell(texts.landing.wrong_password, true);
  $("password").setAttribute("aria-invalid", "true");
  $("password").focus();
  return false;
}

async function save(signal) {
  tell("");
  $("password")?.removeAttribute("aria-invalid");
  const saver = await openSaver(about.original_name, about.file_size);
  const onProgress = (received) => {
    const share = received / file.size;
    $("progress").querySelector("progress").value = share;
    write($("progress-detail"), fill(t.detail, { percent: percent(share), total: size(about.file_size) }));
  };
  onProgress(0);
  showProgress(true);
  try {
    await download(file, saver, { signal, onProgress });
    await saver.close();
  } catch (error) {
    await saver.abort();
    throw error;
  }
  tell(t.saved);
  await showWhatIsLeft();
}

function showProgress(isRunning) {
  if ($("get")) $("get").hidden = isRunning;
  $("progress").hidden = !isRunning;
}

async function showWhatIsLeft() {
  const answer = await fetch(`${prefix}/file/metadata/${id}`, { cache: "no-store", credentials: "omit" }).catch(() => null);
  if (!answer?.ok) return;
  const { download_count, max_downloads } = await answer.json();
  const left = max_downloads === null ? null : Math.max(max_downloads - download_count, 0);
  $("left").textContent = left ? ` · ${line([fill(texts.landing.left, { count: left })])}` : "";
  if (left === 0) {
    $("get").remove();
    tell(t.spent);
  }
}

function fail(error) {
  console.warn(error.message);
  if (error instanceof Cancelled) tell(t.cancelled);
  else if (error instanceof Refused && [404, 410].includes(error.status)) location.reload();
  else if (error instanceof Refused) tell(error.status === 401 ? texts.landing.wrong_password : texts.landing.unavailable, true);
  else if (error instanceof TooLarge) tell(fill(t.too_large, { size: size(MOST_IN_MEMORY) }), true);
  else if (error.kind === "Damaged") tell(error.message === "key" ? t.other_file : t[error.message], true);
  else if (error instanceof Interrupted) tell(t.interrupted, true);
  else tell(fill(t.not_saved, { reason: error.message }), true);
}

function tell(words, failed = false) {
  $("news").classList.toggle("bad", failed);
  write($("news"), words);
}

window.addEventListener("beforeunload", (event) => {
  if (!$("progress").hidden) event.preventDefault();
});
window.addEventListener("hashchange", start);
start();
