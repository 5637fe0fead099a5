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

// Its owner's address ends in #delete= and the token; a fragment is sent to no server.
const removal = document.getElementById("removal");
const token = new URLSearchParams(location.hash.slice(1)).get("delete");
if (removal && token) {
  // The address that is copied from here must not hold it.
  history.replaceState(null, "", location.pathname);
  removal.hidden = false;
  removal.querySelector("button").addEventListener("click", () => remove(token));
}

async function remove(token) {
  const failed = removal.querySelector(".error");
  failed.textContent = "";
  try {
    const response = await fetch(removal.dataset.address, { method: "DELETE", headers: { "X-Delete-Token": token } });
    if (!response.ok) throw new Error((await response.json()).detail);
  } catch (error) {
    console.warn(error.message);
    failed.textContent = "The file could not be deleted. The link may be the wrong one, or the server is out of reach.";
    return;
  }
  const heading = document.createElement("h1");
  heading.textContent = "The file is deleted";
  heading.tabIndex = -1;
  const card = document.createElement("section");
  card.className = "card notice";
  card.append(heading);
  document.querySelector("main").replaceChildren(card);
  heading.focus();
}
