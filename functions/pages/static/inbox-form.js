// The form with the options of an inbox, for a new one or to change one.
import { copyOf, write } from "./dom.js";
import { fill, moment, span, texts } from "./words.js";

const words = texts.inboxes;
const LIFETIMES = [86400, 604800, 2592000, 31536000]; // seconds
const UNITS = { MB: 1e6, GB: 1e9, TB: 1e12 };

/** A form that calls `submit` with the options that differ from `inbox`; all of them if there is none yet. */
export function inboxForm(inbox, button, submit) {
  const [form, find] = copyOf("inbox-form-template");
  const field = (name) => find(`[name=${name}]`);
  write(find("button"), button);
  const choices = LIFETIMES.map((seconds) => new Option(span(seconds), seconds, false, !inbox && seconds === 604800));
  if (inbox) choices.unshift(new Option(fill(words.until, { date: moment(inbox.expires_at) }), "", true, true));
  field("expires_in").append(...choices);
  field("unit").append(...Object.entries(UNITS).map(([name, bytes]) => new Option(name, bytes)));

  const shown = inbox ?? { title: "", note: "", max_files: 100, max_bytes: 1e10 };
  for (const name of ["title", "note", "max_files"]) field(name).value = shown[name];
  const unit = Object.values(UNITS).findLast((bytes) => bytes <= shown.max_bytes) ?? UNITS.MB;
  field("unit").value = unit;
  field("size").value = Number((shown.max_bytes / unit).toPrecision(4));

  const read = () => ({
    title: field("title").value.trim(),
    note: field("note").value.trim(),
    max_files: Number(field("max_files").value),
    max_bytes: Math.max(1, Math.round(Number(field("size").value) * Number(field("unit").value))),
    expires_in: Number(field("expires_in").value),
  });
  const before = inbox ? read() : {};
  form.onsubmit = async (event) => {
    event.preventDefault();
    const options = Object.entries(read()).filter(([name, value]) => value !== before[name]);
    find("button").disabled = true;
    write(find(".error"), "");
    try {
      await submit(Object.fromEntries(options));
    } catch (error) {
      write(find(".error"), error.message);
    }
    find("button").disabled = false;
  };
  return form;
}
