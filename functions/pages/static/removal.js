// Deletes the file of a page. The token of a delete link is in its query, or after "#delete=", which browsers do not
// send to servers.
import { $, prefix } from "./dom.js";

const removal = $("removal");
const token = new URLSearchParams(location.hash.slice(1)).get("delete");
if (token) {
  removal.elements.token.value = token;
  removal.hidden = false;
}
// Users may copy this address, so it must not contain the token.
if (!removal.hidden) history.replaceState(null, "", prefix + removal.dataset.page);
