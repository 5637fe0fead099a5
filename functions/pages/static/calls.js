// Calls of the methods that a worker serves (see serve.js).

export class Calls {
  #worker;
  #waiting = new Map();
  #next = 0;

  /** `lost` makes the error of all calls if the script could not be loaded. */
  constructor(script, lost) {
    this.#worker = new Worker(new URL(script, import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data: { id, value, failure } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (failure) reject(Object.assign(new Error(failure.message), { kind: failure.kind }));
      else resolve(value);
    };
    this.#worker.onerror = () => this.end(lost());
  }

  /** Rejects with an error whose `kind` is the name of the worker's error. Buffers in `moved` are not copied. */
  call(method, argument, moved = []) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, argument }, moved);
    });
  }

  end(error) {
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
