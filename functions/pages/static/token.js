// The access token and the form that asks for it. The token is kept until the tab is closed.
import { $, prefix } from "./dom.js";
import { store, stored } from "./store.js";
import { texts } from "./words.js";

let token = stored("token", null, "sessionStorage");
let asking = null;

export const currentToken = () => token;

/** Wait until there is a token other than `refused`. All waiting requests share one form. */
export async function askForToken(refused) {
  if (token !== refused) return;
  asking ??= new Promise((resolve) => {
    const form = $("token-form");
    form.hidden = false;
    $("token-error").textContent = refused === null ? "" : texts.token.wrong;
    $("token").focus();
    form.onsubmit = async (event) => {
      event.preventDefault();
      const entered = $("token").value.trim();
      if (await isRefused(entered)) {
        $("token-error").textContent = texts.token.wrong;
        $("token").select();
        return;
      }
      token = entered;
      store("token", token, "sessionStorage");
      $("token").value = "";
      form.hidden = true;
      // The next element after the form: on the upload page, before or during uploads, and on the pages of all files and inboxes.
      for (const id of ["choose", "work-title", "all-title", "start-title"]) if ($(id)?.checkVisibility()) $(id).focus();
      asking = null;
      resolve();
    };
  });
  await asking;
}

async function isRefused(entered) {
  try {
    const headers = { Authorization: `Bearer ${entered}` };
    return (await fetch(`${prefix}/file/metadata?limit=1`, { headers, cache: "no-store" })).status === 401;
  } catch {
    // There is no network, or the entered token has characters that no valid token has.
    return !/^[\x21-\x7e]+$/.test(entered);
  }
}
