// How much the inbox of this page still accepts. Others send files at the same time.
import { $, prefix, write } from "./dom.js";
import { persistently, send, server } from "./requests.js";
import { fill, size, texts } from "./words.js";

const words = texts.inbox;

/** Show what is left whenever the files of a batch have arrived or failed. */
export function showRoom(batch) {
  let active = false;
  batch.addEventListener("change", () => {
    if (active && !batch.active) update();
    active = batch.active;
  });
}

async function update() {
  try {
    const headers = { Accept: "application/json" };
    const request = await persistently(() => send("GET", `${prefix}/inbox/${server.inbox}`, { headers }));
    draw(JSON.parse(request.responseText));
  } catch (error) {
    if (error.status === 410) end(words.closed);
    else console.warn(error.message);
  }
}

function draw({ files_left, bytes_left, max_file_size }) {
  server.files_left = files_left;
  server.max_file_size = Math.min(max_file_size, bytes_left);
  if (files_left === 0) {
    end(words.full);
    return;
  }
  const room = fill(words.room, { count: files_left, size: size(files_left === 1 ? server.max_file_size : bytes_left) });
  const each = files_left > 1 && max_file_size < bytes_left ? ` ${fill(words.each, { size: size(max_file_size) })}` : "";
  write($("room"), room + each);
}

function end(reason) {
  server.files_left = 0;
  write($("room"), reason);
  for (const id of ["from", "drop", "more"]) $(id).hidden = true;
}
