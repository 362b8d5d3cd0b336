/** A server for WebSockets that does what a test says. `sockets` are the connections that were asked for, in order. */
export function fakeSockets() {
  const sockets = [];
  function open(url, protocols) {
    const socket = {
      url, protocols, readyState: 0, sent: [], isClosed: false,
      send(text) {
        if (socket.readyState !== 1) throw new Error('not open');
        socket.sent.push(JSON.parse(text));
      },
      close() {
        socket.isClosed = true;
        socket.readyState = 3;
      },
      // What the server does.
      accept() {
        socket.readyState = 1;
        socket.onopen?.({});
      },
      /** The connection ends, as the browser reports a refusal, a lost network and an end of the server's. */
      fail() {
        socket.readyState = 3;
        socket.onclose?.({ code: 1006 });
      },
      say: (frame) => socket.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) }),
      pings: () => socket.sent.filter(({ event }) => event === 'ping').length,
      ack: (data = {}) => socket.say({ event: 'ack', id: socket.sent.at(-1).id, data: { leaseUntil: '2026-11-21T10:00:25.000Z', pingEveryMs: 10_000, ...data } }),
    };
    sockets.push(socket);
    return socket;
  }
  return { open, sockets, last: () => sockets.at(-1) };
}
