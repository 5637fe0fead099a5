// What the browser keeps for this page. Where site data is blocked, naming an area already throws.

export function stored(key, otherwise, area = "localStorage") {
  try {
    return JSON.parse(window[area].getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Whether the value is stored now, or no longer there if it is null. */
export function store(key, value, area = "localStorage") {
  try {
    if (value === null) window[area].removeItem(key);
    else window[area].setItem(key, JSON.stringify(value));
    return true;
  } catch (error) {
    // A full or forbidden storage loses the list when the page is closed, and no file.
    console.warn(error.message);
    return false;
  }
}

/** All values whose keys begin with this, by their keys. */
export function storedUnder(start) {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(start));
    return new Map(keys.map((key) => [key, stored(key, null)]).filter(([, value]) => value !== null));
  } catch {
    return new Map();
  }
}
