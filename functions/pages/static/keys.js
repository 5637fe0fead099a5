// Private links: this page has them while it is open, and the browser's storage only if the user asks for that.
import { store, stored } from "./store.js";

const KEPT = "private-link:";
// Of this page, by file ID.
const links = new Map();

/** The link to a private file, with its key; null if this browser does not know it. */
export const privateLink = ({ file_id }) => links.get(file_id) ?? stored(KEPT + file_id, null);

/** Know the link to a private file until the page is closed. */
export const noteLink = ({ file_id, download_page }) => links.set(file_id, download_page);

/** Whether the link to a private file is in the browser's storage. */
export const isKept = ({ file_id }) => stored(KEPT + file_id, null) !== null;

/** Put the link to a private file into the browser's storage, or remove it from there. */
export const keepLink = ({ file_id, download_page }, isWanted) => store(KEPT + file_id, isWanted ? download_page : null);
