// The inboxes that this browser owns: it has made them, or opened their owner's link.
import { prefix } from "./dom.js";
import { persistently, send, sendWithToken } from "./requests.js";
import { store, stored } from "./store.js";

const KEY = "inboxes";

/** The newest first, each with `inbox_id`, `title` and `owner_token`. */
export const owned = () => stored(KEY, []);

export const ownerToken = (id) => owned().find((inbox) => inbox.inbox_id === id)?.owner_token ?? null;

/** Keep an inbox, or its new title. Returns whether that worked. */
export function keep({ inbox_id, title, owner_token }) {
  const others = owned();
  const at = others.findIndex((inbox) => inbox.inbox_id === inbox_id);
  if (at === -1) others.unshift({ inbox_id, title, owner_token });
  else others[at] = { inbox_id, title, owner_token };
  return store(KEY, others);
}

export const forget = (id) => store(KEY, owned().filter((inbox) => inbox.inbox_id !== id));

/** Send a request about an inbox with its owner token, or with the access token if that is null. */
export async function ask(method, id, token, changes) {
  const headers = { Accept: "application/json", ...(token && { "X-Owner-Token": token }) };
  if (changes) headers["Content-Type"] = "application/json";
  const options = { headers, body: changes ? JSON.stringify(changes) : null };
  const attempt = () => (token ? send : sendWithToken)(method, `${prefix}/inbox/${id}`, options);
  const { responseText } = await persistently(attempt);
  return responseText ? JSON.parse(responseText) : null;
}

/** Make an inbox. Asks the user for the access token if the server requires it. */
export async function make(options) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  const { responseText } = await sendWithToken("POST", `${prefix}/inbox`, { headers, body: JSON.stringify(options) });
  return JSON.parse(responseText);
}
