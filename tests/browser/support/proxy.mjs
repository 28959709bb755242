// A reverse proxy as it stands before Gantry: it takes a path prefix away, and may end TLS.

import { createServer, request } from "node:http";
import { createServer as createTlsServer } from "node:https";

export class Proxy {
  /** Serves `target()` below `prefix`; with `tls` (a certificate and its key) over https alone. */
  static async start(target, prefix, tls) {
    const proxy = new Proxy();
    const scheme = tls ? "https" : "http";
    const serve = (asked, answer) => {
      if (!asked.url.startsWith(prefix)) {
        answer.writeHead(404, { "content-type": "text/plain" }).end("not here");
        return;
      }
      const passed = request({
        host: new URL(target()).hostname,
        port: new URL(target()).port,
        method: asked.method,
        path: asked.url.slice(prefix.length - 1),
        headers: { ...asked.headers, "x-forwarded-for": asked.socket.remoteAddress, "x-forwarded-proto": scheme, "x-forwarded-host": asked.headers.host },
      });
      passed.on("response", (response) => {
        answer.writeHead(response.statusCode, response.headers);
        response.pipe(answer);
      });
      passed.on("error", () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
      answer.on("close", () => passed.destroy());
      asked.pipe(passed);
    };
    proxy.server = tls ? createTlsServer(tls, serve) : createServer(serve);
    await new Promise((resolve, reject) => proxy.server.once("error", reject).listen(0, "127.0.0.1", resolve));
    proxy.base = `${scheme}://127.0.0.1:${proxy.server.address().port}${prefix}`;
    return proxy;
  }

  async end() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
