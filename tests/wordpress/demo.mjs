#!/usr/bin/env node
/**
 * The demo: a throwaway WordPress behind Sidewire on https://localhost, until Ctrl-C.
 *
 *   make demo [PORT=8443]
 *
 * Everything is under target/demo, but for the certificate pair in certs/; both
 * are kept, so that a second run starts in seconds. With `--folder` all of it is
 * there, for the test. What has to be installed and built is the Makefile's business.
 */

import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { Certificate } from './harness/certificate.mjs';
import { PROJECT, SITE_FILES, TARGET } from './harness/folders.mjs';
import { PhpFpm } from './harness/php_fpm.mjs';
import { freePortAfter, portFault } from './harness/port.mjs';
import { onStopped, stopAll, stopping } from './harness/process.mjs';
import { Sidecar } from './harness/sidecar.mjs';
import { Site } from './harness/site.mjs';

let folder = join(TARGET, 'demo');
let certificates = join(PROJECT, 'certs');

onStopped(() => {
  forgetRun();
  say('stopped');
  process.exit(0);
});

try {
  const { port, check } = await options();
  if (check) process.exit(0);
  noteRun(port);
  const { site, log, programs } = await start(port);
  tell(site, port, log);
  // Nothing to do but to notice when one of them ends by itself.
  const ended = await Promise.race(programs.map((program) => program.ended.then((how) => ({ program, how }))));
  throw new Error(`${ended.program.name} ${ended.how}; its last lines:\n${ended.program.tail()}`);
} catch (error) {
  // On Ctrl-C everything ends, and the words are said above.
  if (stopping) await new Promise(() => {});
  await stopAll();
  forgetRun();
  process.stderr.write(`demo: ${error.message}\n`);
  process.exit(error.exitCode ?? 1);
}

async function start(port) {
  if (!Site.isThere(folder)) say('making a WordPress (the first time this fetches 160 MB from npm)');
  const site = await Site.provide(folder, { home: `https://localhost:${port}` });
  say(`WordPress ${site.version} on SQLite is in ${inProject(site.wordpress)}, with the plugin active`);
  const certificate = await Certificate.make(certificates);
  say(`its certificate is ${inProject(certificate.certificateFile)}`);
  const fpm = await PhpFpm.start(site);
  say(`PHP-FPM runs${site.phpUser === 'root' ? ` as root, since no other user can enter ${PROJECT}` : ''}`);
  const log = join(folder, 'sidewire.log');
  const written = openSync(log, 'w');
  const sidecar = await Sidecar.start({
    folder,
    onLine: (line) => writeSync(written, `${line}\n`),
    certificate,
    port,
    publishSocket: site.socket,
    publishGroup: site.phpUser,
    secretFile: site.secretFile,
    backEnd: { fastcgi: fpm.socket, root: site.wordpress },
  });
  say('Sidewire runs in front of it');
  return { site, log, programs: [fpm.process, sidecar.process] };
}

function tell(site, port, log) {
  const price = join(folder, 'price');
  writeFileSync(
    price,
    `<?php\n$argv = array_merge( array( $argv[0], ${phpText(site.wordpress)} ), array_slice( $argv, 1 ) );\nrequire ${phpText(join(SITE_FILES, 'price.php'))};\n`,
  );
  const origin = `https://localhost:${port}`;
  process.stdout.write(`
  Open     ${origin}/
           The browser will warn: the certificate is made for this machine alone. Go on.

  Change   Leave the page open, and paste this into another terminal:

             php ${shellWord(price)} 42.50

           Without a value it deletes the price.

  Log in   ${origin}/wp-admin/   user ${site.user}   password ${site.password}

  Log      ${inProject(log)}

  Stop     Ctrl-C

`);
}

/** With `--check` it is only looked whether the demo could run: before minutes of building. */
async function options() {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '8443' }, check: { type: 'boolean' }, folder: { type: 'string' } },
  });
  if (values.folder) {
    folder = resolve(values.folder);
    certificates = join(folder, 'certs');
  }
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw Object.assign(new Error(`PORT = "${values.port}": expected a number from 1 to 65535, as in: make demo PORT=8444`), { exitCode: 64 });
  }
  const other = runningDemo();
  if (other) throw new Error(`it runs already, at https://localhost:${other.port}/ (process ${other.pid}); stop that one first`);
  const fault = await portFault(port);
  if (fault === 'EADDRINUSE') throw new Error(`port ${port} is taken by another program; choose another: make demo PORT=${await freePortAfter(port)}`);
  if (fault === 'EACCES') throw new Error(`port ${port} is for root alone; choose another: make demo PORT=8443`);
  if (fault) throw new Error(`port ${port} can't be listened on (${fault}); choose another: make demo PORT=${await freePortAfter(port)}`);
  return { port, check: values.check };
}

function runningDemo() {
  const other = notedRun();
  if (!other) return undefined;
  try {
    const command = readFileSync(`/proc/${other.pid}/cmdline`, 'utf8');
    return command.includes('demo.mjs') ? other : undefined;
  } catch {
    return undefined;
  }
}

/** What the last demo of this folder noted; it may have been killed before it could forget it. */
function notedRun() {
  const note = noteFile();
  return existsSync(note) ? JSON.parse(readFileSync(note, 'utf8')) : undefined;
}

function noteRun(port) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(noteFile(), JSON.stringify({ pid: process.pid, port }));
}

function forgetRun() {
  if (notedRun()?.pid === process.pid) rmSync(noteFile());
}

function noteFile() {
  return join(folder, 'running.json');
}

function say(what) {
  process.stdout.write(`demo: ${what}\n`);
}

function inProject(path) {
  return relative(PROJECT, path);
}

function phpText(text) {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** The word as it is typed in a shell. */
function shellWord(word) {
  return /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
