/**
 * Archives from the npm registry, each pinned by its SHA-512, fetched once.
 *
 * Only fetches, checks and unpacks; what is inside is for others to know.
 */

import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { CACHE } from './folders.mjs';
import { run } from './process.mjs';

/**
 * @typedef {object} Archive
 * @property {string} name the package, as npm names it
 * @property {string} version
 * @property {string} sha512 base64, as npm's `integrity` has it
 */

/** WordPress 6.5.5 with its assets, in the last version of this package that has them. */
export const WORDPRESS = {
  name: '@wp-playground/wordpress-builds',
  version: '0.9.19',
  sha512: 'dlqvh/MJDpE5W68vgPPKUjpip6zMuBh59L3D18ZX+pdwurC4q4ydrTww/3sTMV69BBcoH6kF93YtAtujNC5Mpw==',
};

/** Carries the SQLite driver that stands in for MySQL. */
export const SQLITE_DRIVER = {
  name: '@wp-playground/cli',
  version: '3.1.56',
  sha512: 'JTxl6djPEM2YRYz/w+BUoyoCvhSGHIjqMi4fMV1b8o1UPNvZatLaS7opo57UsrVElXrfdZwvi6IuyS4LswUx9Q==',
};

/** Without network, npm would try for more than a minute. */
const FEW_RETRIES = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000'];

/**
 * The path of an archive, fetched if it isn't there yet.
 *
 * @param {Archive} archive
 */
export async function archivePath(archive) {
  const file = `${archive.name.replace('@', '').replace('/', '-')}-${archive.version}.tgz`;
  const kept = join(CACHE, 'npm', file);
  if (existsSync(kept)) return kept;
  const folder = join(CACHE, 'npm');
  mkdirSync(folder, { recursive: true });
  const fetching = mkdtempSync(join(folder, 'fetching-'));
  try {
    await run('npm', ['pack', ...FEW_RETRIES, `${archive.name}@${archive.version}`], { cwd: fetching, within: 600_000 }).catch(
      (error) => {
        throw new Error(`no network: npm could not fetch ${archive.name}@${archive.version} (${firstReason(error)}); run this again when there is one`);
      },
    );
    const fetched = join(fetching, file);
    const found = await sha512(fetched);
    if (found !== archive.sha512) {
      throw new Error(`${archive.name}@${archive.version} is not what is pinned: SHA-512 ${found}, expected ${archive.sha512}`);
    }
    renameSync(fetched, kept);
    return kept;
  } finally {
    rmSync(fetching, { recursive: true, force: true });
  }
}

/**
 * Unpacks the named entries of an archive, without the `package/` in front.
 *
 * @param {Archive} archive
 * @param {string[]} entries
 * @param {string} folder
 */
export async function unpack(archive, entries, folder) {
  const path = await archivePath(archive);
  const names = entries.map((entry) => `package/${entry}`);
  await run('tar', ['-xzf', path, '-C', folder, '--strip-components=1', '--no-same-owner', ...names]);
}

async function sha512(path) {
  const hash = createHash('sha512');
  await pipeline(createReadStream(path), hash);
  return hash.digest('base64');
}

function firstReason(error) {
  const lines = String(error.stderr || error.message).split('\n');
  return (lines.find((line) => /E[A-Z]{3,}/.test(line)) ?? lines[0]).trim();
}
