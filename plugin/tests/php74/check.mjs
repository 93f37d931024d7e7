/**
 * Runs check.php with PHP 7.4, which comes from npm as WebAssembly.
 *
 * That PHP has a file system of its own, so the files are copied into it. What
 * is checked, and the closing line, are check.php's.
 */

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { getPHPLoaderModule } from '@php-wasm/node-7-4';
import { PHP, loadPHPRuntime } from '@php-wasm/universal';

const here = dirname(fileURLToPath(import.meta.url));
const project = dirname(dirname(dirname(here)));
const inside = '/project';

const php = new PHP(await loadPHPRuntime(await getPHPLoaderModule()));

const sources = readdirSync(join(project, 'plugin/sidewire'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.php'))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
for (const file of [...sources, join(here, 'check.php'), join(project, 'tests/vectors/signatures.json')]) {
  const path = join(inside, relative(project, file));
  php.mkdir(dirname(path));
  php.writeFile(path, readFileSync(file));
}

const outcome = await php
  .run({ scriptPath: join(inside, relative(project, join(here, 'check.php'))) })
  // An exit code other than 0 is thrown, with all that was printed.
  .catch((error) => {
    if (!error.response) throw error;
    return error.response;
  });
process.stdout.write(outcome.text);
process.stderr.write(outcome.errors);
process.exitCode = outcome.exitCode;
