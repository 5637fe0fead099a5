// Times on a page, which the server writes in UTC, as the user's own.
const language = document.documentElement.lang;

for (const time of document.querySelectorAll("time")) {
  const here = new Date(time.dateTime).toLocaleString(language, { dateStyle: "long", timeStyle: "short" });
  if (time.title) time.title = here;
  else time.textContent = here;
}
