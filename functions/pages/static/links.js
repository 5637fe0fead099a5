// Actions for existing links.
import { prefix } from "./dom.js";
import { persistently, send } from "./requests.js";
import { currentToken } from "./token.js";

/** Whether this browser can change and delete a file, because it uploaded the file or knows the access token. */
export const isOwn = (file) => Boolean(file.delete_token || file.owner_token) || currentToken() !== null;

/** Whether this is a receipt for a file in an inbox: this browser can delete the file, and do nothing else with it. */
export const isReceipt = (file) => !file.download_page;

function asOwner(file, headers = {}) {
  if (file.delete_token) return { ...headers, "X-Delete-Token": file.delete_token };
  if (file.owner_token) return { ...headers, "X-Owner-Token": file.owner_token };
  return { ...headers, Authorization: `Bearer ${currentToken()}` };
}

/** A description of a file from the server, with what only its sender knows if it is encrypted. */
function revealed({ original_name, file_size, download_page }, metadata) {
  return metadata.encryption === null ? metadata : { ...metadata, original_name, file_size, download_page };
}

/** Whether the link has a key, which the server must not get. */
export const hasKey = ({ download_page = "" }) => download_page.includes("#k=");

/** Whether a file is private, and nobody can open it with what this browser knows. */
export const isKeyless = (file, metadata) => Boolean(file.isPrivate || metadata?.encryption) && !hasKey(file);

/** Change options of a file; null removes an option. Resolves with the file's metadata. */
export async function change(file, options) {
  const headers = asOwner(file, { "Content-Type": "application/json" });
  const body = JSON.stringify(options);
  const request = await persistently(() => send("PATCH", `${prefix}/file/${file.file_id}`, { headers, body }));
  return revealed(file, JSON.parse(request.responseText));
}

export async function remove(file) {
  try {
    await send("DELETE", `${prefix}/file/${file.file_id}`, { headers: asOwner(file) });
  } catch (error) {
    // The file has expired or is already deleted.
    if (error.status !== 404 && error.status !== 410) throw error;
  }
}

export async function describe(file) {
  // A file in an inbox is described only to its owner.
  const headers = file.inbox_id ? asOwner(file) : {};
  const request = await send("GET", `${prefix}/file/metadata/${file.file_id}`, { headers });
  return revealed(file, JSON.parse(request.responseText));
}

/** The QR code of a page, of a file or an inbox. */
export const codeOf = (page) => `${new URL(page).pathname}/qr.svg`;

/** Whether only this computer can open the link. */
export function isLocal(link) {
  const host = new URL(link).hostname;
  return host === "[::1]" || /(^|\.)localhost$/.test(host) || /^127\./.test(host);
}
