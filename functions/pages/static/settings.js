// Link settings, and the chips that show and change them.
import { copy } from "./clipboard.js";
import { copyOf, passFocus, write } from "./dom.js";
import { server } from "./requests.js";
import { fill, moment, span, texts } from "./words.js";

const words = texts.settings;
const LIFETIMES = [3600, 86400, 604800, 2592000]; // seconds
// Without characters that look alike.
const ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS = 4;

/** The lifetimes that the server allows; null means that the file never expires. */
function lifetimes() {
  const { default_expires_in: usual, max_expires_in: longest } = server;
  const choices = new Set(LIFETIMES.filter((seconds) => longest === null || seconds <= longest));
  for (const seconds of [usual, longest]) if (seconds !== null) choices.add(seconds);
  // A file without a requested lifetime gets the default.
  const open = usual === null && longest === null ? [null] : [];
  return [...[...choices].sort((a, b) => a - b), ...open];
}

/** `expires_in` in seconds and `max_downloads`, each null if not set; `password`, empty if not set.
 *
 * For an existing file, a password of null means that there is one, and only its sender knows it.
 */
export class Settings extends EventTarget {
  // Whether files that are uploaded next are encrypted; null if that is not offered.
  isPrivate = null;

  constructor(values) {
    super();
    this.values = values ?? {
      expires_in: server.default_expires_in ?? server.max_expires_in,
      max_downloads: null,
      password: "",
    };
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    this.dispatchEvent(new CustomEvent("change", { detail: name }));
  }
}

/** 80 random bits, in groups that are easy to read aloud. */
function randomPassword() {
  const letters = [...crypto.getRandomValues(new Uint8Array(GROUPS * 4))].map((byte) => ALPHABET[byte % ALPHABET.length]);
  return letters.join("").replace(/(.{4})(?=.)/g, "$1-");
}

/** Chips, and the panels that open below them. `expiresAt` is the expiry of an existing file. */
export class Chips {
  constructor(settings, expiresAt = null) {
    this.settings = settings;
    this.expiresAt = expiresAt;
    [this.element, this.find] = copyOf("settings-template");
    this.panels = new Map();
    for (const chip of this.element.querySelectorAll(".chip")) {
      const panel = this.find(`form[data-of="${chip.dataset.of}"]`);
      this.panels.set(chip, panel);
      chip.onclick = () => this.#toggle(chip);
      panel.onsubmit = (event) => {
        event.preventDefault();
        if (panel.contains(document.activeElement)) document.activeElement.blur();
        if (!this.find(".error").textContent) this.#toggle(chip, chip);
      };
      panel.onkeydown = (event) => {
        if (event.key === "Escape") this.#toggle(chip, chip);
      };
    }
    this.#prepareExpiry();
    this.#prepareLimit();
    this.#preparePassword();
    this.#preparePrivacy();
    settings.addEventListener("change", () => this.update());
    this.update();
  }

  update() {
    const { expires_in, max_downloads, password } = this.settings.values;
    this.#show("expiry", this.#expiry(expires_in));
    const limit = max_downloads === null ? words.no_limit : fill(words.limit, { count: max_downloads });
    this.#show("limit", limit);
    this.#show("password", password === "" ? words.no_password : words.password);
    this.find(".unset").hidden = password === "";
    const { isPrivate } = this.settings;
    if (isPrivate !== null) this.#show("private", isPrivate ? words.private : words.not_private);
    if (this.find("[name=password]").value !== password) this.find("[name=password]").value = password ?? "";
  }

  /** Show or hide whether files are encrypted: nobody can change that for files whose upload has begun. */
  offerPrivacy(offered) {
    const chip = this.find(".chip[data-of=private]");
    if (!chip || chip.hidden === !offered) return;
    if (!this.panels.get(chip).hidden) this.#toggle(chip);
    chip.hidden = !offered;
  }

  #expiry(seconds) {
    if (this.expiresAt) return fill(words.expires_at, { date: moment(this.expiresAt) });
    return seconds === null ? words.expires_never : fill(words.expires_in, { time: span(seconds) });
  }

  /** Show a text with *words* between asterisks in bold. */
  #show(name, text) {
    const parts = text.split("*").map((part, index) => {
      if (index % 2 === 0) return part;
      const bold = document.createElement("b");
      bold.textContent = part;
      return bold;
    });
    this.find(`.chip[data-of=${name}] span`).replaceChildren(...parts);
  }

  #toggle(chip, next = null) {
    for (const [each, panel] of this.panels) {
      const open = each === chip && panel.hidden;
      if (!open && next) passFocus(panel, next);
      panel.hidden = !open;
      each.setAttribute("aria-expanded", String(open));
      if (!open) continue;
      panel.querySelector("input:checked, input").focus();
      panel.scrollIntoView({ block: "nearest" });
    }
  }

  #refuse(reason) {
    write(this.find(".error"), reason);
    return reason !== "";
  }

  #prepareExpiry() {
    const place = this.find(".choices");
    for (const seconds of lifetimes()) {
      const [label, find] = copyOf("choice-template");
      find("input").checked = seconds === this.settings.values.expires_in && this.expiresAt === null;
      find("input").onchange = () => {
        this.expiresAt = null;
        this.settings.set("expires_in", seconds);
      };
      find("span").textContent = seconds === null ? words.never : span(seconds);
      place.append(label);
    }
  }

  #prepareLimit() {
    const field = this.find("[name=limit]");
    field.value = this.settings.values.max_downloads ?? "";
    field.onchange = () => {
      if (this.#refuse(field.checkValidity() ? "" : words.limit_wrong)) return;
      this.settings.set("max_downloads", field.value === "" ? null : Number(field.value));
    };
  }

  #preparePassword() {
    const field = this.find("[name=password]");
    const show = this.find(".show");
    const reveal = (visible) => {
      field.type = visible ? "text" : "password";
      show.textContent = visible ? words.hide : words.show;
    };
    const take = () => {
      if (this.#refuse(field.value === field.value.trim() ? "" : words.password_wrong)) return;
      this.settings.set("password", field.value);
    };
    field.onchange = take;
    show.onclick = () => reveal(field.type === "password");
    this.find(".unset").onclick = (event) => {
      passFocus(event.currentTarget, field);
      field.value = "";
      take();
    };
    this.find(".generate").onclick = () => {
      field.value = randomPassword();
      reveal(true);
      take();
    };
    this.find(".copy").onclick = async (event) => {
      reveal(true);
      const button = event.currentTarget;
      if (!(await copy(field.value))) return;
      button.textContent = texts.common.copied;
      setTimeout(() => (button.textContent = words.copy), 2000);
    };
  }

  #preparePrivacy() {
    if (this.settings.isPrivate === null) this.find(".chip[data-of=private]").remove();
    write(this.find(".hint"), window.isSecureContext ? words.private_hint : words.private_insecure);
    for (const field of this.element.querySelectorAll("[name=private]")) {
      field.checked = Boolean(field.value) === this.settings.isPrivate;
      // On other pages, browsers do not encrypt.
      field.disabled = !window.isSecureContext;
      field.onchange = () => {
        this.settings.isPrivate = Boolean(field.value);
        this.settings.dispatchEvent(new CustomEvent("change", { detail: "private" }));
      };
    }
  }
}
