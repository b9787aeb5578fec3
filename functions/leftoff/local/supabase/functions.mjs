// /functions/v1: passed on to the functions server as it comes, both ways, piece by piece.

import http from "node:http";

// What belongs to one connection and not to the message.
const HOP = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "host"]);
const agent = new http.Agent({ keepAlive: true });

/** Passes a request to the functions on a loopback port and their answer back, for any page to read. */
export function passOn(request, response, port) {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP.has(name)));
  // Any page may ask here; which ones may ask a deployed function is a setting of theirs.
  delete headers.origin;
  const options = { host: "127.0.0.1", port, method: request.method, path: request.url, headers, agent };
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
    response.end('{"code":"unavailable","message":"The functions server does not answer. Try again."}');
  });
  response.on("close", () => response.writableFinished || onward.destroy());
  request.pipe(onward);
}
