// Fills in texts, and writes numbers, sizes and times as people do.
import { all } from "./texts.js";

// A page can replace some of the texts by its own, as `Pages.texts_with` does.
const own = all[document.querySelector("main")?.dataset.texts] ?? {};
export const texts = { ...all };
for (const [name, section] of Object.entries(own)) texts[name] = { ...all[name], ...section };

const language = document.documentElement.lang;
const plurals = new Intl.PluralRules(language);
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
const SPANS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** Fill in each `{place}` of a text. If it has several forms, `count` selects one. */
export function fill(text, values = {}) {
  const form = typeof text === "string" ? text : (text[plurals.select(values.count)] ?? text.other);
  const shown = (value) => (typeof value === "number" ? value.toLocaleString(language) : value);
  return form.replace(/\{(\w+)\}/g, (_, place) => shown(values[place]));
}

/** A size in decimal units, as the server writes it. */
export function size(bytes) {
  let value = bytes;
  let power = 0;
  for (; value >= 999.5 && power < UNITS.length - 1; power++) value /= 1000;
  const maximumFractionDigits = power === 0 || value >= 99.95 ? 0 : 1;
  const unitDisplay = power === 0 ? "long" : "short";
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: UNITS[power],
    unitDisplay,
    maximumFractionDigits,
  }).format(value);
}

/** A number of seconds in the largest unit that fits: "7 days", "24 seconds". */
export function span(seconds) {
  const rounded = Math.max(Math.round(seconds), 1);
  const [unit, length] = SPANS.find(([, length]) => rounded >= length);
  // Up to two days, use hours: "36 hours" is more exact than "2 days".
  const [shown, divisor] = unit === "day" && rounded < 172800 && rounded % 86400 !== 0 ? ["hour", 3600] : [unit, length];
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: shown,
    unitDisplay: "long",
    maximumFractionDigits: 0,
  }).format(rounded / divisor);
}

export const percent = (share) =>
  new Intl.NumberFormat(language, { style: "percent", roundingMode: "floor" }).format(share);

const MOST_UNBROKEN = 25; // characters

/** Facts in one line, which a narrow window breaks between facts, and within them only if they are long. */
export function line(facts) {
  const unbroken = (fact) => (fact.length > MOST_UNBROKEN ? fact : fact.replaceAll(" ", "\u00a0"));
  return facts.map(unbroken).join("\u00a0· ");
}

/** A point in time, without the year if it is the current one. */
export function moment(stamp, time = true) {
  const date = new Date(stamp);
  const year = date.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  const clock = time ? { hour: "numeric", minute: "2-digit" } : {};
  return date.toLocaleString(language, { month: "short", day: "numeric", ...year, ...clock });
}

/** A name from another person, without controls and what reverses the direction of text: "cod.exe" could look like "exe.doc". */
export const readable = (name) => name.replace(/[\p{Cc}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");
