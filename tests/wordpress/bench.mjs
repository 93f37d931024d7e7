#!/usr/bin/env node
/**
 * First figures of the whole: from a save in WordPress to the page, the cost of
 * publishing from PHP, memory at rest, and how long the demo takes to start.
 *
 *   make bench-first-light
 *
 * Prints, asserts nothing. What a delivery and an idle browser cost is measured
 * by the sidecar's own benchmarks, which hold thousands of connections.
 */

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { changeTo, launchBrowser, newPage, recordChanges } from './harness/browser.mjs';
import { print, spread } from './harness/figures.mjs';
import { PROJECT, TARGET } from './harness/folders.mjs';
import { freePort } from './harness/port.mjs';
import { sidewireProgram } from './harness/sidecar.mjs';
import { Stack } from './harness/stack.mjs';
import { WordPressAdmin } from './harness/wordpress_admin.mjs';

const SAVES = 50;
const PUBLICATIONS = 500;
const PRICE = '.live-price [data-sidewire-meta]';

// Figures of a debug build would say nothing.
process.env.SIDEWIRE_BIN ??= join(TARGET, 'release/sidewire');
print('program', sidewireProgram());
const stack = await Stack.start('bench');
const browser = await launchBrowser();
try {
  print('RSS of the sidecar, started, nothing served yet', kib(stack.sidecar.process.pid));
  await saveToDom();
  await publishFromPhp();
  print('RSS of the sidecar, one browser connected, after all that', kib(stack.sidecar.process.pid));
} finally {
  await browser.close();
  await stack.stop();
}
await demoSeconds();

async function saveToDom() {
  const viewer = await newPage(browser);
  await viewer.page.goto(stack.origin);
  await viewer.page.waitForSelector('html[data-sidewire-state="live"]');
  await recordChanges(viewer.page, PRICE);
  const office = await newPage(browser);
  const admin = await WordPressAdmin.logIn(office.page, stack);
  const took = [];
  const fromStart = [];
  const afterAnswer = [];
  for (let index = 0; index < SAVES; index += 1) {
    const price = (50 + index / 100).toFixed(2);
    const saved = await admin.saveMeta('pages', stack.site.pageId, { price });
    if (saved.status !== 200) throw new Error(`a save answered ${saved.status}`);
    const { at } = await changeTo(viewer.page, price);
    took.push(saved.took);
    fromStart.push(at - (saved.answeredAt - saved.took));
    afterAnswer.push(at - saved.answeredAt);
  }
  print('save of one meta by REST, request to answer', spread(took, 'ms'));
  print('save → DOM, from the request', spread(fromStart, 'ms'));
  print('save → DOM, from the answer (negative: the page was first)', spread(afterAnswer, 'ms'));
}

async function publishFromPhp() {
  const times = JSON.parse(await stack.site.php('publish-round-trips.php', [String(stack.site.pageId), String(PUBLICATIONS)]));
  print('publish from PHP over the socket, signed and answered', spread(times, 'µs'));
}

function kib(pid) {
  const [, rss] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m);
  return `${rss} KiB`;
}

/** `make demo` in a fresh clone, and again in the same: packages of the operating system are there already. */
async function demoSeconds() {
  const clone = mkdtempSync(join(tmpdir(), 'sidewire-demo-'));
  // PHP-FPM runs as another user, who has to get in.
  chmodSync(clone, 0o755);
  try {
    execFileSync('git', ['clone', '--quiet', PROJECT, clone]);
    print('make demo, cold (a fresh clone: builds, fetches WordPress)', `${await secondsToStart(clone)} s`);
    print('make demo, warm', `${await secondsToStart(clone)} s`);
  } finally {
    rmSync(clone, { recursive: true, force: true });
  }
}

/** Seconds from the command until it says how to end it; then it is ended. */
async function secondsToStart(clone) {
  const start = performance.now();
  const demo = spawn('make', ['demo', `PORT=${await freePort()}`], {
    cwd: clone,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let seconds;
  for await (const line of createInterface(demo.stdout)) {
    if (line.includes('Ctrl-C')) {
      seconds = (performance.now() - start) / 1000;
      // As a terminal does it: to make and all that it started.
      process.kill(-demo.pid, 'SIGINT');
    }
  }
  if (seconds === undefined) throw new Error('the demo did not start');
  return seconds.toFixed(1);
}
