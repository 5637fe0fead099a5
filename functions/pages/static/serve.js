// In a worker: serves the methods of an object to the page (see calls.js). `bytes` of a result are moved, not copied.
import { discard } from "./garbage.js";

export function serve(object) {
  onmessage = async ({ data: { id, method, argument } }) => {
    try {
      const value = await object[method](argument);
      if (value?.bytes) discard(value.bytes);
      postMessage({ id, value }, value?.bytes ? [value.bytes.buffer] : []);
    } catch (error) {
      postMessage({ id, failure: { kind: error.name, message: error.message } });
    }
  };
}
