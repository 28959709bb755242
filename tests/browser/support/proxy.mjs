// A reverse proxy as it stands before Gantry: a path prefix that it takes away, and a cable that
// can be pulled.

import { createServer, request } from "node:http";

export class Proxy {
  /** Serves `target` below `prefix`; `headers` go with every request. */
  static async start(target, prefix, headers = {}) {
    const proxy = new Proxy();
    proxy.target = new URL(target);
    proxy.server = createServer((asked, answer) => {
      if (!asked.url.startsWith(prefix)) {
        answer.writeHead(404, { "content-type": "text/plain" }).end("not here");
        return;
      }
      const passed = request({
        host: proxy.target.hostname,
        port: proxy.target.port,
        method: asked.method,
        path: asked.url.slice(prefix.length - 1),
        headers: { ...asked.headers, host: asked.headers.host, ...headers },
      });
      passed.on("response", (response) => {
        answer.writeHead(response.statusCode, response.headers);
        response.pipe(answer);
      });
      passed.on("error", () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
      answer.on("close", () => passed.destroy());
      asked.pipe(passed);
    });
    await new Promise((resolve, reject) => proxy.server.once("error", reject).listen(0, "127.0.0.1", resolve));
    proxy.base = `http://127.0.0.1:${proxy.server.address().port}${prefix}`;
    return proxy;
  }

  async end() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
