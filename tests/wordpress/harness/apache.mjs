/**
 * Debian's Apache with mod_php for one site: a process of its own, on a loopback
 * port, with a configuration of its own.
 *
 * The system's Apache service and its /etc/apache2 are neither used nor touched.
 * Speaks plain HTTP: the sidecar in front has the certificate.
 */

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { PHP_SETTINGS } from './php_fpm.mjs';
import { freePort } from './port.mjs';
import { Process, until } from './process.mjs';

const PROGRAM = '/usr/sbin/apache2';
const MODULES = '/usr/lib/apache2/modules';

export class Apache {
  /** @param {import('./site.mjs').Site} site */
  static async start(site) {
    for (let attempt = 1; ; attempt += 1) {
      const apache = new Apache();
      apache.port = await freePort();
      apache.address = `http://127.0.0.1:${apache.port}`;
      const folder = join(site.folder, 'apache');
      mkdirSync(folder, { recursive: true });
      const config = join(folder, 'apache.conf');
      writeFileSync(config, configuration(site, folder, apache.port));
      const log = join(folder, 'error.log');
      writeFileSync(log, '');
      apache.process = new Process('Apache', PROGRAM, ['-D', 'FOREGROUND', '-f', config]);
      await until('Apache to start', () => apache.process.how || readFileSync(log, 'utf8').includes('resuming normal operations'));
      if (!apache.process.how) return apache;
      const said = `${apache.process.tail()}\n${readFileSync(log, 'utf8')}`;
      // Another program may have taken the port between our look and Apache's start.
      if (attempt === 3 || !/could not bind/.test(said)) throw new Error(`Apache ${apache.process.how}\n${said}`);
    }
  }

  stop() {
    return this.process.stop();
  }
}

function configuration(site, folder, port) {
  const php = readdirSync(MODULES).filter((file) => /^libphp\d.*\.so$/.test(file)).sort().at(-1);
  if (!php) throw new Error("Apache's PHP module is not installed; `.ci/install test` installs it");
  const modules = {
    mpm_prefork: 'mod_mpm_prefork.so',
    authz_core: 'mod_authz_core.so',
    authz_host: 'mod_authz_host.so',
    dir: 'mod_dir.so',
    mime: 'mod_mime.so',
    remoteip: 'mod_remoteip.so',
    setenvif: 'mod_setenvif.so',
    php: php,
  };
  return [
    `ServerRoot "${folder}"`,
    `PidFile "${join(folder, 'apache.pid')}"`,
    `Mutex file:${folder}`,
    `ErrorLog "${join(folder, 'error.log')}"`,
    'ServerName localhost',
    `Listen 127.0.0.1:${port}`,
    ...Object.entries(modules).map(([name, file]) => `LoadModule ${name}_module ${join(MODULES, file)}`),
    ...(site.phpUser ? [`User ${site.phpUser}`, `Group ${site.phpUser}`] : []),
    'StartServers 4',
    'MaxRequestWorkers 8',
    'TypesConfig /etc/mime.types',
    // What a site behind a proxy has to say: who the visitor is, and that the visitor came by TLS.
    'RemoteIPHeader X-Forwarded-For',
    'RemoteIPInternalProxy 127.0.0.1',
    'SetEnvIf X-Forwarded-Proto "^https$" HTTPS=on',
    ...Object.entries(PHP_SETTINGS).map(([name, value]) => `php_admin_value ${name} ${value}`),
    `DocumentRoot "${site.wordpress}"`,
    `<Directory "${site.wordpress}">`,
    '  Require all granted',
    '  DirectoryIndex index.php index.html',
    '  FallbackResource /index.php',
    '</Directory>',
    '<FilesMatch "^\\.">',
    '  Require all denied',
    '</FilesMatch>',
    '<FilesMatch "\\.php$">',
    '  SetHandler application/x-httpd-php',
    '</FilesMatch>',
    '',
  ].join('\n');
}
