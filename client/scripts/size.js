/**
 * Holds the classic build to its size: what a visitor downloads, gzipped.
 *
 * Fails when the build is missing or over; it builds nothing itself.
 */

import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';

const LIMIT = 32 * 1024;
const file = new URL('../dist/sidewire.js', import.meta.url);

const script = await readFile(file).catch(() => undefined);
if (!script) {
  console.error(`${file.pathname}: no such file; run \`npm run build\` first`);
  process.exitCode = 1;
} else {
  const size = gzipSync(script, { level: 9 }).length;
  console.log(`dist/sidewire.js: ${script.length} bytes, ${size} gzipped, of ${LIMIT} allowed`);
  if (size > LIMIT) {
    console.error(`dist/sidewire.js is ${size - LIMIT} bytes over its limit; take something out, or move it to a module of its own`);
    process.exitCode = 1;
  }
}
