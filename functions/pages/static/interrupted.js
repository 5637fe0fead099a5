// Uploads that were interrupted when the page was closed. Each one names the file to choose again.
import { ArchiveSource } from "./archive.js";
import { $, copyOf, passFocus, write } from "./dom.js";
import { forget, interrupted, watch } from "./memory.js";
import { sourcesOf } from "./sources.js";
import { takeBack } from "./transfer.js";
import { fill, percent, size, texts } from "./words.js";

const words = texts.interrupted;

/** Show interrupted uploads, and pass the sources that resume them to `begin`. */
export function showInterrupted(begin) {
  const draw = () => {
    const entries = interrupted();
    passFocus($("interrupted"), $("choose"));
    $("interrupted-rows").replaceChildren(...entries.map((entry) => row(entry, begin, draw)));
    $("interrupted").hidden = entries.length === 0;
  };
  watch(draw);
  draw();
}

function row(entry, begin, draw) {
  const [element, find] = copyOf("interrupted-template");
  const { name, begun, count, inFolder } = entry;
  const isolated = `\u2068${name}\u2069`;
  const values = { name: isolated, count, percent: percent(begun.share ?? 0) };
  find(".name").textContent = fill(count ? words.again_all : words.again, values);
  const field = find("input");
  field.multiple = Boolean(count);
  field.webkitdirectory = Boolean(inFolder);
  write(find(".choose"), count ? words.choose_all : words.choose);
  for (const [button, action] of [[".choose", find(".choose").textContent], [".discard", words.discard]]) {
    find(button).setAttribute("aria-label", fill(texts.common.of_file, { action, name }));
  }
  find(".choose").onclick = () => field.click();
  field.onchange = async () => {
    const chosen = sourcesOf(field.files);
    field.value = "";
    const files = await chosen;
    const source = count ? await ArchiveSource.open(name, files) : files[0];
    const same = ["name", "size", "stamp"].every((part) => source[part] === entry[part]);
    const other = count ? words.other_files : fill(words.other_file, { name: isolated, size: size(entry.size) });
    write(find(".error"), same ? "" : other);
    if (same) begin([source]);
    else source.close();
  };
  find(".discard").onclick = () => {
    takeBack(begun);
    forget(entry);
    draw();
  };
  return element;
}
