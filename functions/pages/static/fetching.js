// Downloads of files that came into an inbox.
import { prefix } from "./dom.js";
import { describe } from "./links.js";
import { pause } from "./network.js";
import { currentToken } from "./token.js";

// Seconds between the questions whether a download was counted.
const QUESTIONS = [1, 1, 2, 4, 8, 16];

/** Begin to download a file. Its bytes go to the browser's downloads, not through this page. */
export function begin(file) {
  // Each in a frame of its own, because a download that has not begun is lost if its frame goes elsewhere.
  const frame = document.createElement("iframe");
  frame.name = `download-${file.file_id}`;
  frame.hidden = true;
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: `${prefix}/download/${file.file_id}`, target: frame.name, hidden: true });
  const token = document.createElement("input");
  Object.assign(token, { name: "password", value: file.owner_token ?? currentToken() });
  form.append(token);
  document.body.append(frame, form);
  form.submit();
  form.remove();
}

/** Download files one after the other, each once the last one has begun. Resolves with those that did not begin. */
export async function beginAll(files) {
  const failed = [];
  for (const file of files) {
    const counted = async () => (await describe(file)).download_count;
    try {
      const before = await counted();
      begin(file);
      let begun = false;
      for (const seconds of QUESTIONS) {
        await pause(seconds * 1000);
        begun = (await counted()) > before;
        if (begun) break;
      }
      if (!begun) failed.push(file);
    } catch (error) {
      console.warn(error.message);
      failed.push(file);
    }
  }
  return failed;
}
