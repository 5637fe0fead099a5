// The form with the options of an inbox, for a new one or to change one.
import { copyOf, write } from "./dom.js";
import { server } from "./requests.js";
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

  const shown = inbox ?? { title: "", note: "", max_files: 100, max_bytes: 1e10, max_file_size: null, file_expires_in: null };
  for (const name of ["title", "note", "max_files"]) field(name).value = shown[name];
  showSize(field, "max_bytes", shown.max_bytes);
  showSize(field, "max_file_size", shown.max_file_size < server.max_file_size ? shown.max_file_size : null);
  field("file_expires_in").append(...keepChoices(shown.file_expires_in));

  const read = () => ({
    title: field("title").value.trim(),
    note: field("note").value.trim(),
    max_files: Number(field("max_files").value),
    max_bytes: readSize(field, "max_bytes"),
    max_file_size: readSize(field, "max_file_size"),
    file_expires_in: Number(field("file_expires_in").value) || null,
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

/** Show a number of bytes in a suitable unit; nothing for null. */
function showSize(field, name, bytes) {
  const units = field(`${name}_unit`);
  units.append(...Object.entries(UNITS).map(([unit, factor]) => new Option(unit, factor)));
  const factor = Object.values(UNITS).findLast((factor) => factor <= (bytes ?? UNITS.GB)) ?? UNITS.MB;
  units.value = factor;
  field(name).value = bytes === null ? "" : Number((bytes / factor).toPrecision(4));
}

/** The number of bytes that was entered; null for nothing. */
function readSize(field, name) {
  const { value } = field(name);
  return value === "" ? null : Math.max(1, Math.round(Number(value) * Number(field(`${name}_unit`).value)));
}

/** Lifetimes for files that come in. The first is the server's, which is the default. */
function keepChoices(selected) {
  const { default_expires_in: usual, max_expires_in: longest } = server;
  const standard = usual ?? longest;
  const others = new Set(LIFETIMES.filter((seconds) => longest === null || seconds <= longest));
  if (selected !== null) others.add(selected);
  others.delete(standard);
  const sorted = [...others].sort((a, b) => a - b);
  const first = new Option(standard === null ? words.never : span(standard), "");
  return [first, ...sorted.map((seconds) => new Option(span(seconds), seconds, false, seconds === selected))];
}
