// The page of one file: tests the link before a download begins, and then shows how many downloads are left.
import { $, prefix } from "./dom.js";
import { offerEntries } from "./entries.js";
import "./removal.js";
import "./times.js";
import { fill, line, texts } from "./words.js";

const t = texts.landing;
const { file, count } = document.querySelector("main").dataset;
const form = $("password-form");
const password = $("password");
// As far as this page knows.
let downloads = Number(count);
// Seconds after the start of a download at which the page asks whether it was counted.
const QUESTIONS = [1, 3, 7, 15, 30];

let checking = false;

/** Test a link that was clicked on, and begin its download. */
async function begin(event) {
  const link = event.currentTarget;
  // This is the click below, which begins the download.
  if (!event.isTrusted) return;
  event.preventDefault();
  // The second click of a double click would start a second download.
  if (checking || event.detail > 1) return;
  checking = true;
  tell(t.checking);
  // If the server refused the download, the browser would leave this page for one without the file's name.
  const answer = await ask("HEAD", link.href);
  checking = false;
  if (answer === null) tell(t.unreachable, true);
  else if (isProblem(answer) && [401, 404, 410].includes(answer.status)) location.reload();
  else if (isProblem(answer) && [413, 415].includes(answer.status)) tell(t.entry_unavailable, true);
  else if (answer.status === 429 || answer.status >= 500) tell(t.unavailable, true);
  else {
    tell(t.started);
    link.click();
    showWhatIsLeft();
  }
}

$("download")?.addEventListener("click", begin);
if ($("entries")) offerEntries($("entries"), `${prefix}/file/download/${file}`, requestEntries, form ? submit : begin);

/** Ask for the files in an archive, with the password that stands in the form. */
async function requestEntries() {
  const headers = {};
  if (form) {
    if (!password.reportValidity()) return null;
    const bytes = new TextEncoder().encode(`:${password.value}`);
    headers.Authorization = `Basic ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
    clearError();
  }
  const answer = await fetch($("entries").dataset.address, { headers, credentials: "omit" });
  if (!form || answer.status !== 401 || !isProblem(answer)) return answer;
  password.setAttribute("aria-invalid", "true");
  password.focus();
  tell(t.wrong_password, true);
  return null;
}

/** Download a file of a protected archive: the form checks the password and leads to the file. */
function submit(event) {
  event.preventDefault();
  if (event.detail > 1) return;
  const { action } = form;
  form.action = new URL(action).pathname + new URL(event.currentTarget.href).search;
  form.requestSubmit();
  form.action = action;
}

// A download does not change the page, so the message would stay.
form?.addEventListener("submit", () => {
  clearError();
  tell(t.checking_password);
  showWhatIsLeft();
});

function clearError() {
  $("wrong")?.remove();
  password.removeAttribute("aria-invalid");
  tell("");
}

/** Ask until the download is counted. The server counts it when it sends the first bytes. */
async function showWhatIsLeft() {
  const begun = Date.now();
  for (const seconds of QUESTIONS) {
    await new Promise((resolve) => setTimeout(resolve, begun + seconds * 1000 - Date.now()));
    const answer = await ask("GET", `${prefix}/file/metadata/${file}`);
    const metadata = answer?.ok ? await answer.json() : null;
    if (metadata !== null && metadata.download_count > downloads) {
      show(metadata);
      return;
    }
  }
}

function show({ download_count, max_downloads }) {
  downloads = download_count;
  const left = max_downloads === null ? null : Math.max(max_downloads - download_count, 0);
  if (left === 0) $("get")?.remove();
  $("left").textContent = left ? ` · ${line([fill(t.left, { count: left })])}` : "";
  tell(left === 0 ? t.spent : t.started);
}

/** Get an answer without counting a download; null if there is none. */
async function ask(method, address) {
  // With credentials, an answer of 401 would make the browser show its own password prompt.
  const options = { method, cache: "no-store", credentials: "omit", redirect: "manual" };
  try {
    return await fetch(address, options);
  } catch (error) {
    console.warn(error.message);
    return null;
  }
}

/** Whether the server itself refuses, and not a proxy in front of it that lets downloads with credentials through. */
function isProblem(answer) {
  return answer.headers.get("Content-Type")?.startsWith("application/problem+json") ?? false;
}

function tell(words, failed = false) {
  $("news").classList.toggle("bad", failed);
  $("news").textContent = words;
}

// Copying works only on pages from HTTPS or from this computer.
if ($("copy") && navigator.clipboard) {
  $("copy").hidden = false;
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("checksum").textContent);
    $("copy").textContent = texts.common.copied;
  });
}
