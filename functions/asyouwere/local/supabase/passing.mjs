// Requests passed on to another server on this machine as they come, both ways, piece by piece.

import http from "node:http";

// What belongs to one connection and not to the message.
const HOP = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "host"]);
const agent = new http.Agent({ keepAlive: true });

/** Passes a request to a loopback port, under another path, and its answer back, for any page to read. */
export function passOn(request, response, port, path = request.url) {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP.has(name)));
  // Any page may ask here. Which ones may ask a deployed function is a setting, and not to be met here.
  delete headers.origin;
  const options = { host: "127.0.0.1", port, method: request.method, path, headers, agent };
  const onward = http.request(options, (answer) => {
    const kept = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP.has(name)));
    const exposed = Object.keys(kept).join(", ");
    const cors = { "access-control-allow-origin": "*", "access-control-expose-headers": exposed };
    response.writeHead(answer.statusCode, { ...kept, ...cors });
    answer.pipe(response);
    answer.on("error", () => response.destroy());
  });
  onward.on("error", () => {
    // Answered before the body was read, a refused one for example: let the client finish and read the answer.
    request.unpipe(onward);
    request.resume();
    if (response.headersSent) return;
    // The body may be half sent: nothing after it can be told apart.
    const head = { "content-type": "application/json", "access-control-allow-origin": "*", connection: "close" };
    response.writeHead(503, { ...head, "retry-after": "1" });
    response.end('{"code":"unavailable","message":"The server behind does not answer. Try again."}');
  });
  response.on("close", () => response.writableFinished || onward.destroy());
  request.pipe(onward);
}
