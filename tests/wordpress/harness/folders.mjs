/**
 * Where things are: the project, what is kept between runs, what a run may fill.
 *
 * Knows paths only; what is in them is the business of whoever asks.
 */

import { accessSync, chmodSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's root. */
export const PROJECT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/** Where builds and everything that can be made again go. */
export const TARGET = join(PROJECT, 'target');

/** Downloads and unpacked archives, kept between runs. */
export const CACHE = join(TARGET, 'cache');

/** What belongs to the WordPress sites made here: PHP that runs inside them. */
export const SITE_FILES = join(PROJECT, 'tests/wordpress/site');

/**
 * A new empty folder for one test file. It stays after the test, to be looked
 * into, until the same test runs again.
 */
export function newFolder(name) {
  mkdirSync(TARGET, { recursive: true });
  // PHP runs as a user of its own, who has to get there: not everyone's project lies open.
  const parent = join(process.getuid() !== 0 || isOpenToOthers(TARGET) ? TARGET : tmpdir(), 'sidewire-e2e');
  mkdirSync(parent, { recursive: true, mode: 0o755 });
  for (const older of readdirSync(parent)) {
    const [, test, pid] = older.match(/^(.+)-(\d+)-\w+$/) ?? [];
    if (test === name && !existsSync(`/proc/${pid}`)) rmSync(join(parent, older), { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(parent, `${name}-${process.pid}-`));
  chmodSync(folder, 0o755);
  return folder;
}

/**
 * Whether a program that runs as nobody in particular can reach `path`:
 * every folder above it must let others pass.
 */
export function isOpenToOthers(path) {
  for (let folder = realpathSync(path); ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** Whether `path` is a program that can be run. */
export function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
