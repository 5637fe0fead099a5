// A link and its actions: in the middle of the page once it is ready, and in a dialog later.
import { copy } from "./clipboard.js";
import { $, copyOf, say, setIcon, write } from "./dom.js";
import { isKept, keepLink } from "./keys.js";
import { change, codeOf, hasKey, isKeyless, isLocal, isOwn, isReceipt, remove } from "./links.js";
import { Chips, Settings } from "./settings.js";
import { fill, texts } from "./words.js";

let panels = 0;

/** A link to a file or an inbox, with buttons to copy and share it and to show its QR code. */
export function linkPanel(file) {
  const [element, find] = copyOf("link-template");
  const name = file.original_name;
  const field = find("input");
  field.value = file.download_page;
  field.setAttribute("aria-label", fill(texts.ready.link, { name }));
  field.onfocus = () => field.select();
  find(".copy").onclick = async (event) => {
    const button = event.currentTarget;
    const copied = await copy(field.value);
    write(find(".error"), copied ? "" : texts.common.no_copy);
    if (copied) confirmCopy(button, texts.common.copy);
    else field.focus();
  };
  find(".share").hidden = !navigator.share;
  find(".share").onclick = () => share(file);
  find(".local").hidden = !isLocal(file.download_page);
  find(".keep").hidden = !hasKey(file);
  const box = find(".keep input");
  box.checked = isKept(file);
  box.onchange = () => {
    keepLink(file, box.checked);
    // Storage can be full or forbidden.
    box.checked = isKept(file);
  };
  // The server draws QR codes.
  find(".code").hidden = hasKey(file);
  const code = find("[popover]");
  code.id = `code-${++panels}`;
  find(".code").setAttribute("popovertarget", code.id);
  code.addEventListener("beforetoggle", () => {
    const image = code.querySelector("img");
    image.alt = fill(texts.ready.code_alt, { name });
    image.src = codeOf(file.download_page);
  });
  return element;
}

async function share({ original_name: title, download_page: url }) {
  try {
    await navigator.share({ title, url });
  } catch (error) {
    // Closing the share sheet is not an error.
    if (error.name !== "AbortError") console.warn(error.message);
  }
}

export function confirmCopy(button, words) {
  button.textContent = texts.common.copied;
  say(texts.common.copied);
  setTimeout(() => (button.textContent = words), 2000);
}

/** Confirm a copy on an icon button. */
export function showTick(button, icon) {
  setIcon(button, "tick");
  say(texts.common.copied);
  setTimeout(() => setIcon(button, icon), 2000);
}

/** What the sender of a file gets from an inbox instead of a link. `onDelete` is called after the file was deleted. */
export function receiptPanel(file, onDelete) {
  const [element, find] = copyOf("receipt-template");
  find(".delete").onclick = () => removeIfConfirmed(file, $("trouble"), onDelete);
  return element;
}

async function removeIfConfirmed(file, failure, onDelete) {
  write(failure, "");
  if (!confirm(fill(texts.files.confirm, { name: file.original_name }))) return;
  try {
    await remove(file);
  } catch (error) {
    write(failure, fill(texts.files.not_deleted, { reason: error.message }));
    return;
  }
  onDelete();
  say(fill(texts.files.was_deleted, { name: file.original_name }));
}

/** Show all actions for a file. `onChange` gets its new metadata; `onDelete` is called after it was deleted.
 *
 * For a receipt, deletion is the only action.
 */
export function openLink(file, metadata, { onChange, onDelete }) {
  if (isReceipt(file)) {
    removeIfConfirmed(file, $("trouble"), onDelete);
    return;
  }
  const [dialog, find] = copyOf("dialog-template");
  find("bdi").textContent = file.original_name;
  find(".delete").hidden = !isOwn(file);
  const draw = (current) => {
    // Nobody else can open the link of a file that came into an inbox, until its owner shares it.
    const isPrivate = current?.shared === false;
    find(".keyless").hidden = !isKeyless(file, current);
    find(".link-place").replaceChildren(...(isPrivate || isKeyless(file, current) ? [] : [linkPanel(file)]));
    const chips = current && isOwn(file) && !isPrivate ? [chipsFor(file, current, find(".state"), onChange)] : [];
    find(".settings-place").replaceChildren(...chips);
    find(".sharing").hidden = current?.shared === undefined;
    write(find(".sharing p"), isPrivate ? texts.inboxes.private : texts.inboxes.shared);
    write(find(".sharing button"), isPrivate ? texts.inboxes.share : texts.inboxes.unshare);
    find(".sharing button").onclick = async () => {
      write(find(".failure"), "");
      try {
        const changed = await change(file, { shared: isPrivate || null });
        onChange(changed);
        draw(changed);
      } catch (error) {
        write(find(".failure"), fill(texts.settings.not_saved, { count: 1, reason: error.message }));
      }
    };
  };
  draw(metadata);
  find(".delete").onclick = () => {
    removeIfConfirmed(file, find(".failure"), () => {
      dialog.close();
      onDelete();
    });
  };
  dialog.onclose = () => dialog.remove();
  find(".close").onclick = () => dialog.close();
  // A click outside the dialog is on its backdrop.
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  document.body.append(dialog);
  dialog.showModal();
}

function chipsFor(file, metadata, state, onChange) {
  const { expires_at, max_downloads, password_protected } = metadata;
  const settings = new Settings({
    expires_in: expires_at ? undefined : null,
    max_downloads,
    password: password_protected ? null : "",
  });
  settings.addEventListener("change", async ({ detail: name }) => {
    write(state, texts.settings.saving);
    try {
      onChange(await change(file, { [name]: settings.values[name] || null }));
      write(state, texts.settings.saved);
    } catch (error) {
      write(state, fill(texts.settings.not_saved, { count: 1, reason: error.message }));
    }
  });
  return new Chips(settings, expires_at).element;
}
