"use strict";

for (const time of document.querySelectorAll("time")) {
  time.textContent = new Date(time.dateTime).toLocaleString("en", { dateStyle: "long", timeStyle: "short" });
}

const begun = document.getElementById("begun");

// A download leaves the page as it is, so nothing else would take the message away.
document.getElementById("password-form")?.addEventListener("submit", () => {
  document.getElementById("wrong")?.remove();
  document.getElementById("password").removeAttribute("aria-invalid");
  begun.textContent = "Checking the password. If it is right, your download begins.";
});

const download = document.getElementById("download");
let checking = false;

download?.addEventListener("click", async (event) => {
  // The click that begins the download, below.
  if (!event.isTrusted) return;
  event.preventDefault();
  // The second click of a double one would be a second download.
  if (checking || event.detail > 1) return;
  checking = true;
  tell("Checking that the file is still there.");
  // Refused, a download says nothing to a person but that it failed.
  const answer = await ask(download.href);
  checking = false;
  if (answer === null) tell("The server is out of reach. Please try again in a moment.", "error");
  else if (isProblem(answer) && [401, 404, 410].includes(answer.status)) location.reload();
  else if (answer.status === 429 || answer.status >= 500) {
    tell("The file cannot be downloaded just now. Please try again in a moment.", "error");
  } else {
    tell("Your download begins. Your browser shows how far it is.");
    download.click();
  }
});

/** What a download would be answered, which HEAD asks without being counted; null without an answer. */
async function ask(address) {
  // Sent with credentials, a question that is answered 401 would have the browser ask for a password in a window.
  const options = { method: "HEAD", cache: "no-store", credentials: "omit", redirect: "manual" };
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

function tell(words, kind = "quiet") {
  begun.className = kind;
  begun.textContent = words;
}

// The token of a delete link stands in its query, or behind "#delete=", which is sent to no server.
const removal = document.getElementById("removal");
const token = new URLSearchParams(location.hash.slice(1)).get("delete");
if (token) {
  removal.elements.token.value = token;
  removal.hidden = false;
}
// The address that is copied from here must not hold it.
if (!removal.hidden) history.replaceState(null, "", document.body.dataset.prefix + removal.dataset.page);
