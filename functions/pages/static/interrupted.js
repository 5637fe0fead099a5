// Uploads that were interrupted when the page was closed. Each one names the file to choose again.
import { $, copyOf, passFocus, write } from "./dom.js";
import { forget, interrupted, watch } from "./memory.js";
import { FileSource } from "./sources.js";
import { takeBack } from "./transfer.js";
import { fill, percent, size, texts } from "./words.js";

const words = texts.interrupted;

/** Show interrupted uploads, and pass the sources that resume them to `take`. */
export function showInterrupted(take) {
  const draw = () => {
    const entries = interrupted();
    passFocus($("interrupted"), $("choose"));
    $("interrupted-rows").replaceChildren(...entries.map((entry) => row(entry, take, draw)));
    $("interrupted").hidden = entries.length === 0;
  };
  watch(draw);
  draw();
}

function row(entry, take, draw) {
  const [element, find] = copyOf("interrupted-template");
  const { name, begun } = entry;
  const isolated = `\u2068${name}\u2069`;
  find(".name").textContent = fill(words.again, { name: isolated, percent: percent(begun.share ?? 0) });
  const field = find("input");
  for (const [button, action] of [[".choose", words.choose], [".discard", words.discard]]) {
    find(button).setAttribute("aria-label", fill(texts.common.of_file, { action, name }));
  }
  find(".choose").onclick = () => field.click();
  field.onchange = () => {
    const source = new FileSource(field.files[0]);
    field.value = "";
    const same = ["name", "size", "stamp"].every((part) => source[part] === entry[part]);
    write(find(".error"), same ? "" : fill(words.other_file, { name: isolated, size: size(entry.size) }));
    if (same) take([source]);
  };
  find(".discard").onclick = () => {
    takeBack(begun);
    forget(entry);
    draw();
  };
  return element;
}
