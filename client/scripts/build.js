/**
 * Builds what is published: an ES module for bundlers, which leaves the SDK to
 * them, and a classic script with the SDK inside, for a page and the plugin.
 *
 * It checks nothing: types, tests and size have commands of their own.
 */

import { build } from 'esbuild';
import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const plugin = fileURLToPath(new URL('../../plugin/sidewire/build/', import.meta.url));
const NOTICES = 'sidewire.js.LICENSE.txt';

/** @param {string} file */
async function readPackage(file) {
  return JSON.parse(await readFile(file, 'utf8'));
}

/**
 * The licence texts of everything inside a bundle: their terms ask that the
 * notice goes wherever the code goes.
 *
 * @param {import('esbuild').Metafile} metafile
 */
async function notices(metafile) {
  const names = new Set(
    Object.keys(metafile.inputs).flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? [])
  );
  const texts = [];
  for (const name of Array.from(names).sort()) {
    const folder = `${root}node_modules/${name}`;
    const licence = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
    if (!licence) throw new Error(`${folder}: no licence file; a bundled package must carry one`);
    const { version } = await readPackage(`${folder}/package.json`);
    texts.push({ title: `${name} ${version}`, text: await readFile(`${folder}/${licence}`, 'utf8') });
  }
  return texts;
}

const { name, version } = await readPackage(`${root}package.json`);

await build({
  absWorkingDir: root,
  entryPoints: ['src/index.js'],
  outfile: 'dist/sidewire.mjs',
  bundle: true,
  format: 'esm',
  target: 'es2019',
  packages: 'external',
});

const classic = await build({
  absWorkingDir: root,
  entryPoints: ['src/classic.js'],
  bundle: true,
  format: 'iife',
  target: 'es2019',
  minify: true,
  metafile: true,
  write: false,
});
const bundled = await notices(classic.metafile);
const banner = `/*! ${name} ${version} (MIT), with ${bundled.map(({ title }) => title).join(', ')}; notices in ${NOTICES} */\n`;
const own = { title: `${name} ${version}`, text: await readFile(`${root}LICENSE`, 'utf8') };
await writeFile(`${root}dist/sidewire.js`, banner + classic.outputFiles[0].text);
await writeFile(`${root}dist/${NOTICES}`, [own, ...bundled].map(({ title, text }) => `${title}\n\n${text.trim()}\n`).join('\n\n'));

await mkdir(plugin, { recursive: true });
for (const file of ['sidewire.js', NOTICES]) await copyFile(`${root}dist/${file}`, plugin + file);
