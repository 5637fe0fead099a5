// A service worker: what a page has decrypted becomes a download of the browser, as the answer to a request for an
// address that the page has chosen.
const downloads = new Map();

// As in garbage.js, which not every browser lets a service worker import.
const EVERY = 8; // pieces, of half a MiB each
const RESERVED = 64 * 2 ** 20; // bytes

self.onmessage = ({ data: { address, headers }, ports: [port] }) => {
  // Browsers end a worker that gets no messages, and with it the downloads. A new one does not know them.
  if (headers === undefined) port.postMessage(downloads.has(address));
  else {
    downloads.set(address, { port, headers, hasBegun: false });
    port.postMessage("ready");
  }
};

self.onfetch = (event) => {
  const { url } = event.request;
  const download = downloads.get(url);
  // The page sends the bytes once.
  if (!download || download.hasBegun) return;
  download.hasBegun = true;
  download.port.postMessage("begun");
  const stream = streamOf(download.port, () => downloads.delete(url));
  event.respondWith(new Response(stream, { headers: download.headers }));
};

function streamOf(port, ended) {
  let pieces = 0;
  const end = (word) => {
    ended();
    port.postMessage(word);
  };
  return new ReadableStream(
    {
      pull: (controller) =>
        new Promise((resolve) => {
          port.onmessage = ({ data }) => {
            if (data instanceof Uint8Array) {
              if (++pieces % EVERY === 0) new ArrayBuffer(RESERVED);
              controller.enqueue(data);
            } else if (data === "end") {
              controller.close();
              end("ended");
            } else {
              // The browser must not show this download as complete.
              controller.error(new Error("interrupted"));
              ended();
            }
            resolve();
          };
          port.postMessage("more");
        }),
      cancel: () => end("cancelled"),
    },
    { highWaterMark: 0 },
  );
}
