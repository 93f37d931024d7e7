#!/usr/bin/env node
/**
 * Makes a WordPress for the plugin's PHPUnit tests: installed, on SQLite, with
 * nothing of Sidewire in it.
 *
 *   node tests/wordpress/provision.mjs --root target/wordpress-test [--version 6.5|6.1]
 *
 * Prints the root. Does nothing when that WordPress is there already.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { copyWordPress, installWordPress, writeConfig } from './harness/installation.mjs';
import { VERSIONS } from './harness/wordpress.mjs';

const USAGE = `usage: node tests/wordpress/provision.mjs --root FOLDER [--version ${VERSIONS.join('|')}]`;

try {
  const { root, version } = options();
  await provide(resolve(root), version);
  process.stdout.write(`${resolve(root)}\n`);
} catch (error) {
  process.stderr.write(`provision: ${error.message}\n`);
  process.exitCode = error.exitCode ?? 1;
}

function options() {
  try {
    const { values } = parseArgs({ options: { root: { type: 'string' }, version: { type: 'string', default: '6.5' } } });
    if (!values.root) throw new Error('--root is missing');
    if (!VERSIONS.includes(values.version)) throw new Error(`--version = "${values.version}": expected one of ${VERSIONS.join(', ')}`);
    return values;
  } catch (error) {
    throw Object.assign(new Error(`${error.message}\n${USAGE}`), { exitCode: 64 });
  }
}

async function provide(root, version) {
  // Written last, so that a WordPress that was made by half is made again.
  const mark = `${root}.provisioned`;
  if (existsSync(join(root, 'wp-config.php')) && existsSync(mark) && readFileSync(mark, 'utf8') === version) return;
  if (existsSync(root) && !existsSync(join(root, 'wp-load.php'))) {
    throw new Error(`${root} is there and is no WordPress; it would be deleted, so name another folder`);
  }
  mkdirSync(dirname(root), { recursive: true });
  await copyWordPress(version, root);
  mkdirSync(join(root, 'wp-content/database'));
  writeConfig(root, {}, 'for tests');
  await installWordPress(root, { user: 'admin', password: 'admin', home: 'http://localhost' });
  writeFileSync(mark, version);
}
