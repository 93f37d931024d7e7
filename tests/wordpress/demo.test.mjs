/**
 * `make demo`, but for what it installs and builds: it says what to do, what it
 * says works, it refuses what can't be with one line, and it leaves nothing.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { lstatSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import WebSocket from 'ws';

import { newFolder } from './harness/folders.mjs';
import { HttpsClient } from './harness/https_client.mjs';
import { freePort, portFault } from './harness/port.mjs';
import { Process, run, until } from './harness/process.mjs';

const DEMO = fileURLToPath(new URL('./demo.mjs', import.meta.url));

describe('the demo', { timeout: 60_000 }, () => {
  let folder, port, demo, pem, visitor, text;

  before(async () => {
    folder = newFolder('demo');
    port = await freePort();
    demo = start(port, folder);
    await demo.line(/Ctrl-C/, { within: 40_000 });
    text = demo.lines.join('\n');
    pem = readFileSync(join(folder, 'certs/localhost.crt'), 'utf8');
    visitor = new HttpsClient(`https://localhost:${port}`, pem);
  });
  after(async () => {
    visitor?.close();
    await demo?.stop();
  });

  const start = (wanted, where) => new Process('demo', process.execPath, [DEMO, '--port', String(wanted), '--folder', where]);

  /** What a demo that doesn't start says, and its exit code. */
  async function refusal(wanted, where) {
    const refused = start(wanted, where);
    await refused.ended;
    return { code: refused.exitCode, lines: refused.lines };
  }

  async function shownPrice() {
    const { status, text: html } = await visitor.get('/');
    assert.equal(status, 200);
    const [, post, price] = html.match(/data-sidewire-meta="(\d+):price">([^<]*)</);
    return { post, price };
  }

  /** Runs the line that the demo has printed, with other arguments for PHP's file. */
  function changePrice(...price) {
    const [, line] = text.match(/^ +(php .*) 42\.50$/m);
    return run('sh', ['-c', [line, ...price].join(' ')]);
  }

  test('serves its page, with the price, at the address that it prints', async () => {
    assert.ok(text.includes(`https://localhost:${port}/\n`), text);
    assert.equal((await shownPrice()).price, '39.90');
  });

  test('has no links on its page that lead nowhere', async () => {
    const { text: html } = await visitor.get('/');
    assert.ok(html.includes('A throwaway WordPress behind Sidewire'));
    assert.equal(html.match(/<a [^>]*href="#?"/), null);
  });

  test('prints a line for the shell that changes the price, in the page and in open browsers', async () => {
    const { post } = await shownPrice();
    const socket = new WebSocket(`wss://localhost:${port}/realtime?channel=post:${post}`, { ca: pem });
    await once(socket, 'open', { signal: AbortSignal.timeout(10_000) });
    const event = once(socket, 'message', { signal: AbortSignal.timeout(10_000) });
    assert.match(await changePrice('41.20'), /is now 41\.20/);
    const [message] = await event;
    assert.equal(JSON.parse(message).meta_value, '41.20');
    assert.equal((await shownPrice()).price, '41.20');
    socket.terminate();
  });

  test('deletes the price where that line has no value, as it says', async () => {
    assert.match(text, /Without a value it deletes the price/);
    assert.match(await changePrice(), /is deleted/);
    assert.equal((await shownPrice()).price, '');
  });

  test('keeps the sidecar\'s log where it says', () => {
    const [, log] = text.match(/^ +Log +(\S+)$/m);
    assert.match(readFileSync(fileURLToPath(new URL(`../../${log}`, import.meta.url)), 'utf8'), /^sidewire: ready$/m);
  });

  test('does not start a second time in the same folder, and names the first', async () => {
    const { code, lines } = await refusal(await freePort(), folder);
    assert.equal(code, 1);
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.ok(lines[0].includes(`https://localhost:${port}/`) && lines[0].includes(String(demo.pid)), lines[0]);
  });

  test('says of a taken port which one is free', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const taken = other.address().port;
    const { code, lines } = await refusal(taken, join(folder, 'another'));
    assert.equal(code, 1);
    assert.equal(lines.length, 1, lines.join('\n'));
    const [, free] = lines[0].match(new RegExp(`port ${taken} is taken .*make demo PORT=(\\d+)$`)) ?? assert.fail(lines[0]);
    assert.equal(await portFault(Number(free)), undefined);
    other.close();
  });

  test('says what a port looks like when it was given none', async () => {
    for (const wrong of ['abc', '0', '65536']) {
      const { code, lines } = await refusal(wrong, join(folder, 'another'));
      assert.equal(code, 64);
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.match(lines[0], /^demo: PORT = .*expected a number from 1 to 65535/);
    }
  });

  test('ends on Ctrl-C and leaves no program, no port and no socket', async () => {
    const programs = descendants(demo.pid);
    assert.ok(programs.length >= 3, 'PHP-FPM, its workers and the sidecar');
    assert.ok(sockets(folder).length >= 3, 'of PHP-FPM, for publishing and for the administrator');
    demo.signal('SIGINT');
    assert.equal(await demo.ended, 'ended with 0');
    assert.equal(demo.lines.at(-1), 'demo: stopped');
    assert.deepEqual(programs.filter(isRunning), []);
    assert.equal(await portFault(port), undefined);
    assert.deepEqual(sockets(folder), []);
  });

  test('starts again with what it had, and ends with its terminal', async () => {
    demo = start(port, folder);
    await demo.line(/Ctrl-C/, { within: 20_000 });
    assert.ok(!demo.lines.some((line) => line.includes('making a WordPress')));
    assert.equal((await shownPrice()).price, '');
    const programs = descendants(demo.pid);
    demo.signal('SIGHUP');
    assert.equal(await demo.ended, 'ended with 0');
    assert.deepEqual(programs.filter(isRunning), []);
  });

  test('leaves no program even when it is killed, and starts after that', async () => {
    demo = start(port, folder);
    await demo.line(/Ctrl-C/, { within: 20_000 });
    const programs = descendants(demo.pid);
    demo.signal('SIGKILL');
    await demo.ended;
    await until('its programs to end', () => !programs.some(isRunning), { within: 10_000 });
    demo = start(port, folder);
    await demo.line(/Ctrl-C/, { within: 20_000 });
    await demo.stop();
  });
});

/** The ids of all processes that a process has started, and that those have. */
function descendants(pid) {
  const children = new Map();
  for (const id of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = statusOf(id)?.parent;
    children.set(parent, [...(children.get(parent) ?? []), Number(id)]);
  }
  const below = (one) => (children.get(one) ?? []).flatMap((child) => [child, ...below(child)]);
  return below(pid);
}

function statusOf(pid) {
  try {
    // The name, in brackets, may hold anything; after it come the state and the parent.
    const [, state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').match(/^.*\) (\S) (\d+) /s);
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** One that has ended may still be listed, where process 1 collects nothing. */
function isRunning(pid) {
  return !['Z', 'X', undefined].includes(statusOf(pid)?.state);
}

function sockets(folder) {
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => lstatSync(path).isSocket());
}
