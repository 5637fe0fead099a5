// Elements of the page, and messages for screen readers.

export const $ = (id) => document.getElementById(id);
export const prefix = document.body.dataset.prefix;

const sprite = new URL("icons.svg", import.meta.url);

/** A copy of a template's content, and a function that finds elements in it. */
export function copyOf(template) {
  const element = $(template).content.firstElementChild.cloneNode(true);
  return [element, (selector) => element.querySelector(selector)];
}

export function setIcon(element, name) {
  element.querySelector("use").setAttribute("href", `${sprite}#${name}`);
}

/** Set a text only if it changed, so that observers of the page are not woken without need. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Call this before removing an element: if it had the focus, keyboard users would be sent to the top of the page. */
export function passFocus(element, next) {
  if (element.contains(document.activeElement)) next.focus();
}

/** Tell screen readers. */
export function say(words) {
  $("news").textContent = words;
}

/** Show the extension of a name, if it is short, in the mark beside the name, instead of an icon. */
export function markKind(mark, name) {
  const ending = /\.([a-z0-9]{1,4})$/i.exec(name);
  if (ending) mark.textContent = ending[1].toUpperCase();
}
