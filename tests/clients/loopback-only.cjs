// Loaded into every Node process of a client (NODE_OPTIONS): a connection that would leave this machine is noted, before
// its name is looked up, and goes to a closed port instead. Nothing else of the client is changed.
'use strict';
const fs = require('node:fs');
const net = require('node:net');

const INSIDE = new Set(['127.0.0.1', '::1']);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...given) {
  const [options, callback] = Array.isArray(given[0]) ? given[0] : net._normalizeArgs(given);
  if (options.path || INSIDE.has(options.host ?? '127.0.0.1')) return connect.apply(this, given);
  fs.appendFileSync(process.env.OUTSIDE_CALLS, `${options.host}:${options.port}\n`);
  return connect.call(this, { ...options, host: '127.0.0.1', port: 9 }, callback ?? (() => {}));
};
