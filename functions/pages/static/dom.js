// Elements of the page, and what people who do not see it are told.

export const $ = (id) => document.getElementById(id);
export const prefix = document.body.dataset.prefix;

const sprite = new URL("icons.svg", import.meta.url);

/** A copy of what a template holds, and a function that finds elements in it. */
export function copyOf(template) {
  const element = $(template).content.firstElementChild.cloneNode(true);
  return [element, (selector) => element.querySelector(selector)];
}

export function setIcon(element, name) {
  element.querySelector("use").setAttribute("href", `${sprite}#${name}`);
}

/** Set a text where it changed: what watches the page is not woken for nothing. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** To call before an element goes: what goes with the focus in it would send a keyboard back to the top of the page. */
export function passFocus(element, next) {
  if (element.contains(document.activeElement)) next.focus();
}

/** Tell screen readers. */
export function say(words) {
  $("news").textContent = words;
}

/** Put the ending of a name, if it is short, into the mark beside it, in the place of an icon. */
export function markKind(mark, name) {
  const ending = /\.([a-z0-9]{1,4})$/i.exec(name);
  if (ending) mark.textContent = ending[1].toUpperCase();
}
