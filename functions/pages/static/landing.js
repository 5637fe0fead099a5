// The page of one file: its link is tried before a download begins, and what is left is shown once it has.
import { $, prefix } from "./dom.js";
import { fill, texts } from "./words.js";

const t = texts.landing;
const language = document.documentElement.lang;
const { file, count } = document.querySelector("main").dataset;
// Seconds from the beginning of a download to each question whether it was counted.
const QUESTIONS = [1, 3, 7, 15, 30];

for (const time of document.querySelectorAll("time")) {
  const here = new Date(time.dateTime).toLocaleString(language, { dateStyle: "long", timeStyle: "short" });
  if (time.title) time.title = here;
  else time.textContent = here;
}

const link = $("download");
let checking = false;

link?.addEventListener("click", async (event) => {
  // The click that begins the download, below.
  if (!event.isTrusted) return;
  event.preventDefault();
  // The second click of a double one would be a second download.
  if (checking || event.detail > 1) return;
  checking = true;
  tell(t.checking);
  // Refused, a download would leave this page for one that has no name of the file.
  const answer = await ask("HEAD", link.href);
  checking = false;
  if (answer === null) tell(t.unreachable, true);
  else if (isProblem(answer) && [401, 404, 410].includes(answer.status)) location.reload();
  else if (answer.status === 429 || answer.status >= 500) tell(t.unavailable, true);
  else {
    tell(t.started);
    link.click();
    showWhatIsLeft();
  }
});

// A download leaves the page as it is, so nothing else would take the message away.
$("password-form")?.addEventListener("submit", () => {
  $("wrong")?.remove();
  $("password").removeAttribute("aria-invalid");
  tell(t.checking_password);
  showWhatIsLeft();
});

/** Ask until the download is counted, which it is when its first bytes are sent. */
async function showWhatIsLeft() {
  const begun = Date.now();
  for (const seconds of QUESTIONS) {
    await new Promise((resolve) => setTimeout(resolve, begun + seconds * 1000 - Date.now()));
    const answer = await ask("GET", `${prefix}/file/metadata/${file}`);
    const metadata = answer?.ok ? await answer.json() : null;
    if (metadata !== null && metadata.download_count > Number(count)) {
      show(metadata);
      return;
    }
  }
}

function show({ download_count, max_downloads }) {
  const left = max_downloads === null ? null : Math.max(max_downloads - download_count, 0);
  if (left === 0) $("get").remove();
  $("left").textContent = left ? ` · ${fill(t.left, { count: left })}` : "";
  tell(left === 0 ? t.spent : t.started);
}

/** An answer that is never counted as a download; null without one. */
async function ask(method, address) {
  // Sent with credentials, a question that is answered 401 would have the browser ask for a password in a window.
  const options = { method, cache: "no-store", credentials: "omit", redirect: "manual" };
  try {
    return await fetch(address, options);
  } catch (error) {
    console.warn(error.message);
    return null;
  }
}

/** Whether the server itself refuses, and not a gate in front that lets a download through with credentials. */
function isProblem(answer) {
  return answer.headers.get("Content-Type")?.startsWith("application/problem+json") ?? false;
}

function tell(words, failed = false) {
  $("news").classList.toggle("bad", failed);
  $("news").textContent = words;
}

// Copying needs a page that came by HTTPS, or from this computer.
if ($("copy") && navigator.clipboard) {
  $("copy").hidden = false;
  $("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText($("checksum").textContent);
    $("copy").textContent = texts.common.copied;
  });
}

// The token of a delete link stands in its query, or behind "#delete=", which is sent to no server.
const removal = $("removal");
const token = new URLSearchParams(location.hash.slice(1)).get("delete");
if (token) {
  removal.elements.token.value = token;
  removal.hidden = false;
}
// The address that is copied from here must not hold it.
if (!removal.hidden) history.replaceState(null, "", prefix + removal.dataset.page);
