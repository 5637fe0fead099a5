"use strict";

for (const time of document.querySelectorAll("time")) {
  time.textContent = new Date(time.dateTime).toLocaleString("en", { dateStyle: "long", timeStyle: "short" });
}

// A download leaves the page as it is, so nothing else would take the message away.
document.getElementById("password-form")?.addEventListener("submit", () => {
  document.getElementById("wrong")?.remove();
  document.getElementById("password").removeAttribute("aria-invalid");
  document.getElementById("begun").textContent = "Checking the password. If it is right, your download begins.";
});

document.getElementById("download")?.addEventListener("click", () => {
  document.getElementById("begun").textContent = "Your download begins. Your browser shows how far it is.";
});

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
