/**
 * WordPress as it is before it is anyone's site: its files with the SQLite
 * driver in place, unpacked once and kept under target/cache.
 *
 * Installs no site and writes no wp-config.php: `site.mjs` does, on a copy.
 */

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { SQLITE_DRIVER, WORDPRESS, unpack } from './archive.mjs';
import { CACHE, SITE_FILES } from './folders.mjs';
import { run } from './process.mjs';

/** The versions that can be had: `6.5` from npm, `6.1` from Debian 12's own archive. */
export const VERSIONS = ['6.5', '6.1'];

/** What is made of the archives; another number here makes it anew. */
const LAYOUT = 1;

const SQLITE = {
  archive: SQLITE_DRIVER,
  zip: 'sqlite-database-integration.zip',
  folder: 'plugin-sqlite-database-integration',
};

/** The newer driver reads a property that is private in WordPress before 6.3. */
const OLDER_SQLITE = {
  archive: WORDPRESS,
  zip: 'src/sqlite-database-integration/sqlite-database-integration.zip',
  folder: 'sqlite-database-integration-main',
};

const DEBIAN_PACKAGES = [
  'wordpress',
  'wordpress-theme-twentytwentythree',
  'php-getid3',
  'libjs-cropper',
  'libjs-underscore',
];

/**
 * The folder with the unpacked WordPress.
 *
 * @param {string} version one of `VERSIONS`
 */
export async function wordpressFiles(version = '6.5') {
  if (!VERSIONS.includes(version)) throw new Error(`WordPress ${version} is not at hand; expected one of ${VERSIONS.join(', ')}`);
  const kept = join(CACHE, `wordpress-${version}-layout-${LAYOUT}`);
  if (existsSync(kept)) return kept;
  mkdirSync(CACHE, { recursive: true });
  const making = mkdtempSync(join(CACHE, 'making-'));
  try {
    const root = join(making, 'wordpress');
    mkdirSync(root, { mode: 0o755 });
    await (version === '6.1' ? fromDebian(root, making) : fromNpm(root, making));
    await addSqlite(version === '6.1' ? OLDER_SQLITE : SQLITE, root, making);
    rmSync(join(root, 'wp-config.php'), { force: true });
    // Folders that archives left closed would stop a PHP that runs as another user.
    await run('chmod', ['-R', 'u=rwX,go=rX', root]);
    renameSync(root, kept);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return kept;
}

async function fromNpm(root, making) {
  // The zip has the PHP, the folder beside it the scripts, styles and pictures.
  const zip = 'src/wordpress/wp-6.5.zip';
  const assets = 'public/wp-6.5';
  await unpack(WORDPRESS, [zip, assets], making);
  await run('unzip', ['-qo', join(making, zip), '-d', root]);
  cpSync(join(making, assets), root, { recursive: true });
  // A database of another driver's version comes along.
  rmSync(join(root, 'wp-content/database'), { recursive: true, force: true });
}

async function fromDebian(root, making) {
  await run('apt-get', ['-q', 'download', ...DEBIAN_PACKAGES], { cwd: making, within: 300_000 }).catch((error) => {
    throw new Error(`Debian's WordPress could not be fetched: ${error.message}`);
  });
  const tree = join(making, 'tree');
  for (const file of readdirSync(making).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', join(making, file), tree]);
  }
  // Its links lead to the other packages and to /var and /etc: follow them, drop what leads nowhere here.
  await run('cp', ['-rL', `${join(tree, 'usr/share/wordpress')}/.`, root]).catch((error) => {
    if (!existsSync(join(root, 'wp-settings.php'))) throw error;
  });
}

async function addSqlite({ archive, zip, folder }, root, making) {
  await unpack(archive, [zip], making);
  await run('unzip', ['-qo', join(making, zip), '-d', making]);
  cpSync(join(making, folder), join(root, 'wp-content/sqlite-database-integration'), { recursive: true });
  cpSync(join(SITE_FILES, 'db.php'), join(root, 'wp-content/db.php'));
}
