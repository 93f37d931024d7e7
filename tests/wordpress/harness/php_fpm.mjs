/**
 * PHP-FPM for one site: a process of its own with a pool of its own, on a Unix socket.
 *
 * The system's own PHP-FPM service is neither used nor touched.
 */

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Process } from './process.mjs';

/** What WordPress needs that PHP's defaults don't give, for FPM and Apache alike. */
export const PHP_SETTINGS = {
  memory_limit: '256M',
  post_max_size: '64M',
  upload_max_filesize: '64M',
  // A changed wp-config.php counts at once.
  'opcache.revalidate_freq': '0',
};

export class PhpFpm {
  /**
   * @param {import('./site.mjs').Site} site
   * @param {{workers?: number}} [options]
   */
  static async start(site, { workers = 4 } = {}) {
    const fpm = new PhpFpm();
    fpm.socket = join(site.folder, 'php-fpm.sock');
    const config = join(site.folder, 'php-fpm.conf');
    writeFileSync(config, pool(fpm.socket, site, workers));
    const asRoot = site.phpUser === 'root' ? ['--allow-to-run-as-root'] : [];
    fpm.process = new Process('PHP-FPM', program(), ['--nodaemonize', '--force-stderr', '--fpm-config', config, ...asRoot]);
    await fpm.process.line(/ready to handle connections/);
    return fpm;
  }

  stop() {
    return this.process.stop({ signal: 'SIGQUIT', within: 3_000 });
  }
}

function program() {
  const name = readdirSync('/usr/sbin').filter((file) => /^php-fpm\d+\.\d+$/.test(file)).sort().at(-1);
  if (!name) throw new Error('PHP-FPM is not installed; `.ci/install demo` installs it');
  return join('/usr/sbin', name);
}

function pool(socket, site, workers) {
  const user = site.phpUser ? [`user = ${site.phpUser}`, `group = ${site.phpUser}`, 'listen.mode = 0660'] : [];
  return [
    '[global]',
    `error_log = ${join(site.folder, 'php-fpm.log')}`,
    'daemonize = no',
    'process_control_timeout = 2s',
    '[wordpress]',
    `listen = ${socket}`,
    ...user,
    'pm = static',
    `pm.max_children = ${workers}`,
    'catch_workers_output = yes',
    'decorate_workers_output = no',
    ...Object.entries(PHP_SETTINGS).map(([name, value]) => `php_admin_value[${name}] = ${value}`),
    '',
  ].join('\n');
}
