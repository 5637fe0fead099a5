// The files in a zip archive: read when the list is opened, and shown folder by folder, so that any archive is fast.
import { fill, readable, size, texts } from "./words.js";

const t = texts.landing;
const SHOW_AT_ONCE = 100;

/** Fill `details` when it is opened. `download` is the address of the archive, and `begin` gets clicks on its files.
 *
 * `request` asks for the list; it resolves with null if the user has to enter a password first.
 */
export function offerEntries(details, download, request, begin) {
  const news = details.querySelector("[role=status]");
  let reading = false;
  details.hidden = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || reading) return;
    reading = true;
    news.textContent = t.entries_loading;
    try {
      const answer = await request();
      if (answer === null) {
        details.open = reading = false;
        news.textContent = "";
        return;
      }
      if (!answer.ok) throw Object.assign(new Error(t.unavailable), { whole: [413, 415].includes(answer.status) });
      const entries = await answer.json();
      // Twice the same name: the server delivers the last one.
      const files = new Map(entries.filter(({ name }) => !name.endsWith("/")).map((entry) => [entry.name, entry.size]));
      news.textContent = files.size === 0 ? t.entries_none : "";
      details.append(level([...files], ""));
    } catch (error) {
      console.warn(error.message);
      news.textContent = error.whole ? t.entries_unreadable : t.unavailable;
      reading = false;
    }
  });

  /** The list of one folder, whose path is `start`. `files` are all files in it, however deep, with their sizes. */
  function level(files, start) {
    const folders = new Map();
    const items = [];
    for (const file of files) {
      const end = file[0].indexOf("/", start.length);
      if (end === -1) items.push(() => fileItem(file, start));
      else {
        const path = file[0].slice(0, end + 1);
        if (!folders.has(path)) folders.set(path, []);
        folders.get(path).push(file);
      }
    }
    items.unshift(...[...folders].map(([path, inside]) => () => folderItem(path, inside, start)));
    const list = document.createElement("ul");
    const more = document.createElement("button");
    more.type = "button";
    more.textContent = texts.files.more;
    const place = document.createElement("li");
    place.append(more);
    const show = () => {
      const shown = items.splice(0, SHOW_AT_ONCE).map((make) => make());
      place.remove();
      list.append(...shown, ...(items.length > 0 ? [place] : []));
      return shown;
    };
    more.onclick = () => {
      const [first] = show();
      first.querySelector("a, summary").focus();
    };
    show();
    return list;
  }

  function folderItem(path, files, start) {
    const folder = document.createElement("details");
    const summary = document.createElement("summary");
    const total = files.reduce((sum, [, bytes]) => sum + bytes, 0);
    const about = fill(t.entries_folder, { count: files.length, size: size(total) });
    summary.append(shown(path.slice(start.length)), aside(about));
    folder.append(summary);
    folder.addEventListener("toggle", () => {
      if (folder.childElementCount === 1) folder.append(level(files, path));
    });
    return item(folder);
  }

  function fileItem([name, bytes], start) {
    const link = document.createElement("a");
    link.href = `${download}?${new URLSearchParams({ entry: name })}`;
    link.rel = "nofollow";
    link.append(shown(name.slice(start.length)));
    link.addEventListener("click", begin);
    return item(link, aside(size(bytes)));
  }
}

function shown(name) {
  const element = document.createElement("bdi");
  element.className = "name";
  element.textContent = readable(name);
  return element;
}

function aside(text) {
  const element = document.createElement("span");
  element.className = "quiet";
  element.textContent = ` · ${text}`;
  return element;
}

function item(...content) {
  const element = document.createElement("li");
  element.append(...content);
  return element;
}
