// Uploads that were interrupted when the page was closed. Each row names the files to choose again.
import { ArchiveSource } from "./archive.js";
import { $, copyOf, passFocus, write } from "./dom.js";
import { forget, identity, interrupted, unsent, watch } from "./memory.js";
import { sourcesOf } from "./sources.js";
import { takeBack } from "./transfer.js";
import { fill, percent, size, texts } from "./words.js";

const words = texts.interrupted;

/** Show interrupted uploads, and pass the sources that resume them to `begin`. `settings` are those of new uploads. */
export function showInterrupted(begin, settings) {
  const draw = () => {
    const rows = [...interrupted().map((entry) => begunRow(entry, begin)), ...unsent().map((entry) => unsentRow(entry, begin, settings))];
    passFocus($("interrupted"), $("choose"));
    $("interrupted-rows").replaceChildren(...rows);
    $("interrupted").hidden = rows.length === 0;
  };
  watch(draw);
  draw();
}

/** An upload of which the server has some parts. */
function begunRow(entry, begin) {
  const { name, begun, count, inFolder } = entry;
  const isolated = `\u2068${name}\u2069`;
  const text = fill(count ? words.again_all : words.again, { name: isolated, count, percent: percent(begun.share ?? 0) });
  const take = async (files) => {
    const source = count ? await ArchiveSource.open(name, files) : files[0];
    if (["name", "size", "stamp"].every((part) => source[part] === entry[part])) {
      begin([source]);
      return "";
    }
    source.close();
    return count ? words.other_files : fill(words.other_file, { name: isolated, size: size(entry.size) });
  };
  const discard = () => {
    takeBack(begun);
    forget(entry);
  };
  return row(text, name, { several: count, inFolder, take, discard });
}

/** Files of which the server has nothing. */
function unsentRow(entry, begin, settings) {
  const { files, inFolder, password, isPrivate } = entry;
  const count = files.length;
  const name = count === 1 ? files[0][0] : fill(texts.packing.title, { count });
  const text = fill(words.again_unsent, { name: `\u2068${name}\u2069`, count });
  const take = (sources) => {
    const wanted = new Set(files.map((file) => JSON.stringify(file)));
    const same = sources.filter((source) => wanted.has(JSON.stringify(identity(source))));
    if (same.length === 0) return words.other_files;
    if (password && settings.values.password === "") return words.password_again;
    begin(same, isPrivate || settings.isPrivate);
    return "";
  };
  return row(text, name, { several: count > 1, inFolder, take, discard: () => forget(entry) });
}

/** A row. `take` gets the chosen sources, and returns why it refuses them, or an empty text. */
function row(text, name, { several, inFolder, take, discard }) {
  const [element, find] = copyOf("interrupted-template");
  find(".name").textContent = text;
  const field = find("input");
  field.multiple = Boolean(several);
  field.webkitdirectory = Boolean(inFolder);
  write(find(".choose"), several ? words.choose_all : words.choose);
  for (const [button, action] of [[".choose", find(".choose").textContent], [".discard", words.discard]]) {
    find(button).setAttribute("aria-label", fill(texts.common.of_file, { action, name }));
  }
  find(".choose").onclick = () => field.click();
  field.onchange = async () => {
    const chosen = sourcesOf(field.files);
    field.value = "";
    write(find(".error"), await take(await chosen));
  };
  find(".discard").onclick = discard;
  return element;
}
