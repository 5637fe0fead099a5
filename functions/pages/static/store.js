// The browser's storage for this page. If site data is blocked, even naming an area throws.

export function stored(key, otherwise, area = "localStorage") {
  try {
    return JSON.parse(window[area].getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Store a value, or remove it if it is null. Returns whether that worked. */
export function store(key, value, area = "localStorage") {
  try {
    if (value === null) window[area].removeItem(key);
    else window[area].setItem(key, JSON.stringify(value));
    return true;
  } catch (error) {
    // If storage is full or forbidden, the list is lost when the page is closed, but no file is.
    console.warn(error.message);
    return false;
  }
}

/** All values whose keys begin with `start`, by key. */
export function storedUnder(start) {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(start));
    return new Map(keys.map((key) => [key, stored(key, null)]).filter(([, value]) => value !== null));
  } catch {
    return new Map();
  }
}
