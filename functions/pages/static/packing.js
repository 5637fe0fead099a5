// Several files or folders before they are uploaded: as one link with a title, or as a link for each file.
import { ArchiveSource } from "./archive.js";
import { $, copyOf, markKind, passFocus, write } from "./dom.js";
import { interrupted } from "./memory.js";
import { server } from "./requests.js";
import { fill, size, texts } from "./words.js";

const words = texts.packing;
const MOST_ROWS = 50;
// With these many characters and an extension, a name fits into the 255 bytes that a file name can have.
const MOST_CHARACTERS = 80;

/** Calls `upload` with sources once the user has decided, and `cancel` if the user gives up. */
export class Packing {
  #items = [];
  #titled = false;
  #preparing = false;

  constructor(upload, cancel) {
    $("pack-form").onsubmit = async (event) => {
      event.preventDefault();
      if (this.#preparing) return;
      this.#preparing = true;
      write($("pack-upload"), words.preparing);
      const items = this.#items;
      const sources = await this.#sources();
      this.#preparing = false;
      // The user may have added or removed files in the meantime.
      if (this.#items === items) {
        this.#items = [];
        upload(sources);
      } else for (const source of sources) source.close();
      // After the list of uploads is drawn, so that it can take the focus.
      queueMicrotask(() => this.#draw());
    };
    $("pack-cancel").onclick = () => {
      this.#items = [];
      cancel();
      this.#draw();
    };
    $("pack-name").oninput = () => (this.#titled = $("pack-name").value.trim() !== "");
    $("pack-one").onchange = $("pack-each").onchange = () => this.#drawTitle();
  }

  get isOpen() {
    return this.#items.length > 0;
  }

  /** Add sources and empty folders. */
  add(items) {
    if (!this.isOpen) {
      this.#titled = false;
      // The owner of an inbox can see what each file is.
      $(server.inbox ? "pack-each" : "pack-one").checked = true;
    }
    this.#items = [...this.#items, ...items];
    this.#draw();
    $("pack-title").focus();
  }

  get #files() {
    return this.#items.filter(({ file }) => file !== null);
  }

  async #sources() {
    const files = this.#files;
    const single = this.#items.length === 1 && !files[0]?.path.includes("/");
    if (single || $("pack-each").checked) return files;
    const title = $("pack-name").value.trim().replace(/[/\\]/g, "-") || this.#defaultTitle();
    const source = await ArchiveSource.open(/\.zip$/i.test(title) ? title : `${title}.zip`, this.#items);
    // Interrupted uploads keep the title that they had.
    const same = interrupted().find((entry) => entry.count && entry.size === source.size && entry.stamp === source.stamp);
    if (same) source.name = source.path = same.name;
    return [source];
  }

  #draw() {
    $("pack").hidden = !this.isOpen;
    const files = this.#files;
    const total = files.reduce((sum, each) => sum + each.size, 0);
    const groups = grouped(this.#items);
    const tooLarge = total > server.max_file_size;
    write($("pack-title"), fill(words.files, { count: files.length, size: size(total) }));
    const rows = [...groups.values()].slice(0, MOST_ROWS).map((group) => this.#row(group));
    $("pack-rows").replaceChildren(...rows);
    $("pack-rest").hidden = groups.size <= MOST_ROWS;
    write($("pack-rest"), fill(words.more, { count: groups.size - MOST_ROWS }));
    $("pack-one").disabled = tooLarge;
    if (tooLarge) $("pack-each").checked = true;
    write($("pack-error"), tooLarge ? fill(words.too_large, { size: size(server.max_file_size) }) : "");
    this.#drawTitle();
    $("pack-upload").disabled = files.length === 0;
    write($("pack-upload"), this.#preparing ? words.preparing : words.upload);
  }

  /** The title stays in its place even if it is not used, so that the buttons below do not move. */
  #drawTitle() {
    const each = $("pack-each").checked;
    $("pack-name").disabled = each;
    write($("pack-hint"), each ? words.hint_each : words.hint);
    if (!this.#titled) $("pack-name").value = this.#defaultTitle();
  }

  /** The name of the only folder, or the number of files. */
  #defaultTitle() {
    const [first] = grouped(this.#items).values();
    const only = first?.folder && first.items.length === this.#items.length;
    return only ? first.name.slice(0, MOST_CHARACTERS) : fill(words.title, { count: this.#files.length });
  }

  #row({ name, folder, items }) {
    const [element, find] = copyOf("pack-row-template");
    if (folder) write(find(".kind"), words.folder);
    else markKind(find(".kind"), name);
    find("bdi").textContent = name;
    find("bdi").title = name;
    const total = size(items.reduce((sum, each) => sum + each.size, 0));
    const count = items.filter(({ file }) => file !== null).length;
    find(".detail").textContent = folder ? fill(words.files, { count, size: total }) : total;
    find(".remove").setAttribute("aria-label", fill(texts.common.of_file, { action: texts.progress.remove, name }));
    find(".remove").onclick = () => {
      const gone = new Set(items);
      this.#items = this.#items.filter((item) => !gone.has(item));
      if (!this.isOpen) $("pack-cancel").click();
      else {
        passFocus(element, $("pack-title"));
        this.#draw();
      }
    };
    return element;
  }
}

/** Items by the folder or file that the user chose. */
function grouped(items) {
  const groups = new Map();
  items.forEach((item, index) => {
    const [name, ...rest] = item.path.split("/");
    const folder = rest.length > 0;
    const key = folder ? `${name}/` : String(index);
    if (!groups.has(key)) groups.set(key, { name, folder, items: [] });
    groups.get(key).items.push(item);
  });
  return groups;
}
