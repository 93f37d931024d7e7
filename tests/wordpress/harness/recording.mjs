/**
 * A moving picture (GIF) of a page, made of screenshots.
 *
 * Only takes and encodes pictures; what happens in the page is the test's business.
 */

import { writeFileSync } from 'node:fs';

import gifenc from 'gifenc';
import { PNG } from 'pngjs';

const { GIFEncoder, applyPalette, quantize } = gifenc;

/** One less than a GIF's palette holds: the last entry stands for "as before". */
const COLOURS = 255;
const AS_BEFORE = 255;

export class Recording {
  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page;
    this.frames = [];
  }

  /** Takes a picture of the page as it is now, to be shown for so many ms. */
  async frame(milliseconds) {
    const { data, width, height } = PNG.sync.read(await this.page.screenshot({ animations: 'allow' }));
    Object.assign(this, { width, height });
    const last = this.frames.at(-1);
    if (last?.data.equals(data)) last.milliseconds += milliseconds;
    else this.frames.push({ data, milliseconds });
  }

  /** Writes the GIF, which repeats for ever, and gives its size in bytes. */
  save(file) {
    const gif = GIFEncoder();
    const palette = quantize(this.#sample(), COLOURS);
    while (palette.length < COLOURS) palette.push([0, 0, 0]);
    palette.push([0, 0, 0]);
    let before;
    for (const { data, milliseconds } of this.frames) {
      const indexes = applyPalette(data, palette.slice(0, COLOURS));
      // What did not change is left out: that is most of each picture.
      const drawn = before ? indexes.map((index, at) => (index === before[at] ? AS_BEFORE : index)) : indexes;
      gif.writeFrame(drawn, this.width, this.height, {
        palette: before ? undefined : palette,
        delay: milliseconds,
        transparent: true,
        transparentIndex: AS_BEFORE,
        // Leaves the picture in place for the next one to be drawn over.
        dispose: 1,
        repeat: 0,
      });
      before = indexes;
    }
    gif.finish();
    const bytes = gif.bytes();
    writeFileSync(file, bytes);
    return bytes.length;
  }

  /** Pixels of all frames, every so many, for a palette that suits them all. */
  #sample() {
    const step = 7;
    const pixels = this.width * this.height;
    const sample = new Uint8Array(Math.ceil(pixels / step) * this.frames.length * 4);
    let filled = 0;
    for (const { data } of this.frames) {
      for (let pixel = 0; pixel < pixels; pixel += step) {
        sample.set(data.subarray(pixel * 4, pixel * 4 + 4), filled);
        filled += 4;
      }
    }
    return sample.subarray(0, filled);
  }
}
