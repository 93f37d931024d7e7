/**
 * An installed WordPress with nothing of Sidewire in it: a copy of the files, a
 * wp-config.php, the tables and an administrator.
 *
 * `site.mjs` adds what makes it a site of ours; the plugin's own tests take it as it is.
 */

import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { SITE_FILES } from './folders.mjs';
import { run } from './process.mjs';
import { wordpressFiles } from './wordpress.mjs';

/** Makes `root` a fresh copy of WordPress; what was there is gone. */
export async function copyWordPress(version, root) {
  const files = await wordpressFiles(version);
  rmSync(root, { recursive: true, force: true });
  // Hard links: nothing writes into these files, and thousands of copies take seconds.
  await run('cp', ['-al', files, root]).catch(async () => {
    rmSync(root, { recursive: true, force: true });
    await run('cp', ['-a', files, root]);
  });
}

/**
 * Writes `wp-config.php`.
 *
 * @param {string} root
 * @param {Record<string, string | boolean | string[]>} constants besides those that every site here has
 * @param {string} salt what the cookies' keys are made of
 */
export function writeConfig(root, constants, salt) {
  const define = ([name, value]) => `define( ${php(name)}, ${php(value)} );`;
  const keys = ['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'].flatMap((name) => [`${name}_KEY`, `${name}_SALT`]);
  const lines = [
    '<?php',
    '// Written by tests/wordpress/harness; changes are lost.',
    ...Object.entries({
      DB_NAME: 'wordpress',
      DB_USER: '',
      DB_PASSWORD: '',
      DB_HOST: '',
      // Without this, every page of wp-admin waits for api.wordpress.org.
      WP_HTTP_BLOCK_EXTERNAL: true,
      AUTOMATIC_UPDATER_DISABLED: true,
      ...constants,
      ...Object.fromEntries(keys.map((name) => [name, `${name} ${salt}`])),
    }).map(define),
    // A command would start wp-cron over HTTP, and block it for a minute where nobody answers yet.
    `if ( 'cli' === PHP_SAPI ) { ${define(['DISABLE_WP_CRON', true])} }`,
    "$table_prefix = 'wp_';",
    "if ( ! defined( 'ABSPATH' ) ) { define( 'ABSPATH', __DIR__ . '/' ); }",
    "require_once ABSPATH . 'wp-settings.php';",
    '',
  ];
  const file = join(root, 'wp-config.php');
  // It has the keys of the cookies, and is replaced at once: PHP may be reading it.
  writeFileSync(`${file}.new`, lines.join('\n'), { mode: 0o640 });
  renameSync(`${file}.new`, file);
}

/**
 * Makes the tables and the administrator.
 *
 * @param {string} root
 * @param {{user: string, password: string, home: string}} options
 */
export async function installWordPress(root, { user, password, home }) {
  const input = JSON.stringify({ title: 'Sidewire', email: 'admin@example.com', user, password, home });
  await run('php', ['-d', 'display_errors=stderr', join(SITE_FILES, 'install.php'), root], { input });
}

/** A PHP literal. */
function php(value) {
  if (Array.isArray(value)) return `array( ${value.map(php).join(', ')} )`;
  if (typeof value === 'boolean') return String(value);
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
