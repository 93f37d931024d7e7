/**
 * All that a test needs to be real: a site, the program that runs its PHP, and
 * the sidecar in front, started in that order and stopped in the other.
 */

import { join } from 'node:path';

import { Apache } from './apache.mjs';
import { Certificate } from './certificate.mjs';
import { newFolder } from './folders.mjs';
import { PhpFpm } from './php_fpm.mjs';
import { stopAll } from './process.mjs';
import { Sidecar } from './sidecar.mjs';
import { Site } from './site.mjs';

export class Stack {
  /**
   * @param {string} name of the test, for its folder
   * @param {{backEnd?: 'PHP-FPM' | 'Apache', publishSocket?: string}} [options] `publishSocket`: a name
   *   in the folder, for a sidecar that the site's plugin doesn't publish to
   */
  static async start(name, { backEnd = 'PHP-FPM', publishSocket } = {}) {
    const stack = new Stack();
    stack.folder = newFolder(name);
    try {
      stack.site = await Site.provide(stack.folder);
      stack.certificate = await Certificate.make(join(stack.folder, 'certs'));
      stack.php = await (backEnd === 'Apache' ? Apache : PhpFpm).start(stack.site);
      stack.sidecar = await Sidecar.start({
        folder: stack.folder,
        certificate: stack.certificate,
        publishSocket: publishSocket ? join(stack.folder, publishSocket) : stack.site.socket,
        publishGroup: stack.site.phpUser,
        secretFile: stack.site.secretFile,
        backEnd: stack.php.socket
          ? { fastcgi: stack.php.socket, root: stack.site.wordpress }
          : { upstream: stack.php.address },
      });
      // Only now is the port known, and WordPress compares it with every request.
      stack.site.setHome(stack.sidecar.origin);
    } catch (error) {
      await stopAll();
      throw error;
    }
    return stack;
  }

  get origin() {
    return this.sidecar.origin;
  }

  async stop() {
    await this.sidecar?.stop();
    await this.php?.stop();
  }
}
