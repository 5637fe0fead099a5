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
