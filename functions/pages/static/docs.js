// The API reference: a button beside each command copies it.
import { copy } from "./clipboard.js";
import { say, write } from "./dom.js";
import { texts } from "./words.js";

for (const button of document.querySelectorAll(".command button")) {
  const command = button.previousElementSibling;
  button.hidden = false;
  button.onclick = async () => {
    const copied = await copy(command.textContent);
    const words = copied ? texts.common.copied : texts.docs.no_copy;
    say(words);
    if (!copied) {
      getSelection().selectAllChildren(command);
      return;
    }
    write(button, words);
    setTimeout(() => write(button, texts.docs.copy), 2000);
  };
}
