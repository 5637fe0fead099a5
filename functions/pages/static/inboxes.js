// The page for owners of inboxes: makes them, lists those of this browser, and shows one.
import { $, copyOf, passFocus, prefix, write } from "./dom.js";
import { copy } from "./clipboard.js";
import { inboxForm } from "./inbox-form.js";
import { confirmCopy } from "./link.js";
import { forgetUnlessThere, Owner } from "./owner.js";
import { forget, keep, make, owned, ownerToken } from "./owned.js";
import { server } from "./requests.js";
import { askForToken, currentToken } from "./token.js";
import { fill, texts } from "./words.js";

const words = texts.inboxes;

function showAll() {
  $("new").append(
    inboxForm(null, words.make, async (options) => {
      const inbox = await make(options);
      if (!keep(inbox)) throw new Error(fill(words.not_kept, { link: inbox.owner_link }));
      location.hash = inbox.inbox_id;
    }),
  );
  $("intro").hidden = $("start").hidden = false;
  draw();
  if (server.token_required && currentToken() === null) askForToken(null);
}

function draw() {
  $("inboxes").hidden = owned().length === 0;
  $("inbox-rows").replaceChildren(...owned().map(row));
}

function row({ inbox_id, title }) {
  const [element, find] = copyOf("inbox-template");
  const name = title || words.untitled;
  find("a").href = `${prefix}/inbox#${inbox_id}`;
  find("bdi").textContent = name;
  find(".forget").setAttribute("aria-label", fill(texts.common.of_file, { action: texts.files.forget, name }));
  find(".forget").onclick = () => {
    if (!confirm(fill(words.confirm_forget, { name }))) return;
    forget(inbox_id);
    passFocus(element, $("start-title"));
    draw();
  };
  return element;
}

async function showOne(id, sent) {
  const token = sent ?? ownerToken(id);
  if (token === null && currentToken() === null) {
    // The owner has passed on the address of this page instead of the inbox's link.
    location.replace(`${prefix}/inbox/${id}`);
    return;
  }
  $("back").hidden = false;
  try {
    await new Owner(id, token).open();
  } catch (error) {
    if (token !== null) forgetUnlessThere(id, error);
    $("unavailable").hidden = false;
    write($("trouble"), error.status === 404 ? words.gone : error.message);
    return;
  }
  // Users may copy this address, so it must not contain the token.
  if (sent && ownerToken(id) === sent) history.replaceState(null, "", `#${id}`);
}

$("copy-owner").onclick = async (event) => {
  const button = event.currentTarget;
  if (await copy($("owner-address").value)) confirmCopy(button, texts.common.copy);
  else $("owner-address").select();
};

window.addEventListener("hashchange", () => location.reload());
const [id, ...rest] = location.hash.slice(1).split("&");
if (id) showOne(id, new URLSearchParams(rest.join("&")).get("owner"));
else showAll();
