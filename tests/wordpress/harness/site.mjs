/**
 * One WordPress site: a folder with its files, its database (SQLite) and its secret.
 *
 * Serves nothing: `php_fpm.mjs` and `apache.mjs` run its PHP, `sidecar.mjs` stands in front.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { PROJECT, SITE_FILES, isOpenToOthers } from './folders.mjs';
import { copyWordPress, installWordPress, writeConfig } from './installation.mjs';
import { run } from './process.mjs';

const PHP = 'php';
/** What a new site is filled with; another number here makes the demo's anew. */
const LAYOUT = '2';
const COMPLETE = 'complete';
/** The user that PHP runs as when we are root. */
const PHP_USER = 'www-data';

export class Site {
  /** @param {string} folder all of the site is in here: `wordpress/`, sockets, the secret */
  constructor(folder) {
    this.folder = folder;
    this.wordpress = join(folder, 'wordpress');
    this.user = 'admin';
    this.socket = join(folder, 'publish.sock');
    this.secretFile = join(folder, 'publish.secret');
    /** PHP's own notices and errors: WordPress writes them here. */
    this.debugLog = join(folder, 'php-debug.log');
  }

  /**
   * Makes the site, or takes up the one that is there.
   *
   * @param {string} folder
   * @param {{version?: string, home?: string}} [options]
   */
  static async provide(folder, options = {}) {
    const site = new Site(folder);
    assertSocketPath(site.socket);
    site.wordpressVersion = options.version ?? '6.5';
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    writeFileSync(site.debugLog, '', { mode: 0o644 });
    site.passwordFile = join(folder, 'admin.password');
    if (!existsSync(site.passwordFile)) {
      writeFileSync(site.passwordFile, randomBytes(9).toString('base64url'), { mode: 0o600 });
    }
    site.password = readFileSync(site.passwordFile, 'utf8');
    if (!existsSync(site.secretFile)) {
      writeFileSync(site.secretFile, `whsec_${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    }
    const complete = join(folder, COMPLETE);
    const fresh = !Site.isThere(folder);
    if (fresh) {
      rmSync(complete, { force: true });
      await copyWordPress(site.wordpressVersion, site.wordpress);
    }
    site.#copyOwnCode();
    site.setHome(options.home ?? 'https://localhost');
    if (fresh) {
      await installWordPress(site.wordpress, { user: site.user, password: site.password, home: site.home });
    }
    const { page, post, version, active } = JSON.parse(await site.php('seed.php'));
    // Written last, so that a site that was made by half is made again.
    writeFileSync(complete, LAYOUT);
    Object.assign(site, { pageId: page, postId: post, version, pluginActive: active });
    await site.#handOver();
    return site;
  }

  /** Whether `folder` has a whole site of today's layout, so that `provide` has nothing to make. */
  static isThere(folder) {
    const complete = join(folder, COMPLETE);
    return existsSync(complete) && readFileSync(complete, 'utf8') === LAYOUT;
  }

  get secret() {
    return readFileSync(this.secretFile, 'utf8').trim();
  }

  /** The user that PHP has to run as: another than root where that user can reach the files. */
  get phpUser() {
    if (process.getuid() !== 0) return undefined;
    return isOpenToOthers(this.folder) ? PHP_USER : 'root';
  }

  /** Says at which address the site is: WordPress compares it, port included, with every request. */
  setHome(home) {
    this.home = home;
    writeConfig(
      this.wordpress,
      {
        WP_HOME: home,
        WP_SITEURL: home,
        // WordPress 6.1 is older than PHP 8.2 and notices it in every request.
        WP_DEBUG: this.wordpressVersion !== '6.1',
        WP_DEBUG_DISPLAY: false,
        WP_DEBUG_LOG: this.debugLog,
        SIDEWIRE_SOCKET: this.socket,
        SIDEWIRE_SECRET_FILE: this.secretFile,
        SIDEWIRE_META_KEYS: ['price'],
      },
      this.password,
    );
    if (this.phpUser === PHP_USER) this.#own(join(this.wordpress, 'wp-config.php'));
  }

  /**
   * Runs one of the PHP files beside the harness from the command line.
   *
   * @param {string} file
   * @param {string[]} [args]
   * @param {string} [input]
   */
  php(file, args = [], input = '') {
    return this.#command([join(SITE_FILES, file), this.wordpress, ...args], input);
  }

  /** Runs PHP source with WordPress loaded, and gives what it prints. */
  eval(source) {
    return this.#command(['-r', `require $argv[1] . '/wp-load.php'; ${source}`, '--', this.wordpress]);
  }

  /** Changes the price as a PHP of the site would; without a value, deletes it. */
  setPrice(value) {
    return this.php('price.php', value === undefined ? [] : [value]);
  }

  /**
   * What PHP logged so far about the plugin, and every fatal error. WordPress's
   * own notices are left out: it complains when wordpress.org can't be reached.
   */
  loggedFaults() {
    return this.#logged().filter((line) => /Sidewire|plugins\/sidewire|mu-plugins|Fatal error/.test(line));
  }

  #logged() {
    return readFileSync(this.debugLog, 'utf8').split('\n');
  }

  #command(args, input) {
    return run(PHP, ['-d', 'display_errors=stderr', ...args], { input }).catch((error) => {
      // WordPress keeps its errors from the output and in this file.
      error.message += this.#logged().slice(-12).join('\n');
      throw error;
    });
  }

  /** What comes from this project is copied at every start, so that it is never an older one. */
  #copyOwnCode() {
    const content = join(this.wordpress, 'wp-content');
    const mustUse = join(content, 'mu-plugins');
    mkdirSync(mustUse, { recursive: true });
    cpSync(join(SITE_FILES, 'live-price.php'), join(mustUse, 'live-price.php'));
    for (const folder of ['uploads', 'database']) mkdirSync(join(content, folder), { recursive: true });
    const plugin = join(PROJECT, 'plugin/sidewire');
    const installed = join(content, 'plugins/sidewire');
    rmSync(installed, { recursive: true, force: true });
    // A copy, not a link: files outside the document root are not served.
    if (existsSync(plugin)) cpSync(plugin, installed, { recursive: true, dereference: true });
  }

  async #handOver() {
    if (this.phpUser !== PHP_USER) return;
    const content = join(this.wordpress, 'wp-content');
    await run('chown', ['-R', `${PHP_USER}:${PHP_USER}`, join(content, 'uploads'), join(content, 'database')]);
    this.#own(join(this.wordpress, 'wp-config.php'));
    this.#own(this.secretFile);
    this.#own(this.debugLog);
    // The sidecar and PHP's other files are made here.
    chmodSync(this.folder, 0o755);
  }

  #own(path) {
    const { uid, gid } = phpIds();
    chownSync(path, uid, gid);
  }
}

/** The kernel takes 107 bytes; a longer path fails later with a message that doesn't say so. */
function assertSocketPath(path) {
  const bytes = Buffer.byteLength(path);
  if (bytes > 100) throw new Error(`${path} is too long for a Unix socket (${bytes} bytes, at most 100): use a folder nearer to the root`);
}

function phpIds() {
  const id = (flag) => Number(execFileSync('id', [flag, PHP_USER], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}
