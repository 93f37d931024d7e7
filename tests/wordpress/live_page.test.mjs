/**
 * A page goes live: a value is saved in WordPress and changes in a browser that
 * has the page open, with PHP-FPM and with Apache behind the sidecar.
 *
 * The same promises for both, since a visitor must not see which it is.
 */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { changeTo, launchBrowser, newPage, recordChanges } from './harness/browser.mjs';
import { PROJECT, TARGET } from './harness/folders.mjs';
import { Recording } from './harness/recording.mjs';
import { Stack } from './harness/stack.mjs';
import { WordPressAdmin } from './harness/wordpress_admin.mjs';

const SHORTCODE = '.live-price [data-sidewire-meta]';
const BOUND_BLOCK = '.bound-price';
const STATE_AS_LOADED = '.live-state > span';
/** How it is printed by themes that know nothing of Sidewire. */
const BY_ID_ALONE = '.theme-price > span';
/** The recording is shown in the README; nobody should wait for it. */
const MOST_BYTES = 1_500_000;

for (const backEnd of ['PHP-FPM', 'Apache']) {
  describe(`a page behind Sidewire and ${backEnd}`, { timeout: 120_000 }, () => {
    let stack, browser, viewer, admin;

    before(async () => {
      stack = await Stack.start('live', { backEnd });
      browser = await launchBrowser();
      viewer = await newPage(browser);
      await viewer.page.goto(stack.origin);
      const office = await newPage(browser);
      admin = Object.assign(await WordPressAdmin.logIn(office.page, stack), { faults: office.faults });
    });
    after(async () => {
      await browser?.close();
      await stack?.stop();
    });

    const save = async (price) => {
      const saved = await admin.saveMeta('pages', stack.site.pageId, { price });
      assert.equal(saved.status, 200, JSON.stringify(saved.body));
      return saved;
    };

    test('shows the saved value and says that it is connected', async () => {
      assert.equal(await viewer.page.textContent(SHORTCODE), '39.90');
      assert.equal(await viewer.page.textContent(BOUND_BLOCK), '39.90');
      await viewer.page.waitForSelector('html[data-sidewire-state="live"]');
      assert.equal(await viewer.page.isVisible(STATE_AS_LOADED), false);
    });

    test('changes its text when the value is saved, with no reload', async (t) => {
      await viewer.page.waitForSelector('html[data-sidewire-state="live"]');
      await recordChanges(viewer.page, SHORTCODE);
      const saved = await save('42.50');
      const change = await changeTo(viewer.page, '42.50');
      t.diagnostic(`save answered in ${saved.took.toFixed(1)} ms; ${told(change, saved)}`);
      assert.equal(await viewer.page.textContent(BOUND_BLOCK), '42.50', 'the bound block changes too');
      assert.equal(await viewer.page.evaluate(() => window.loadedOnce), true, 'the page was not loaded again');
    });

    test('writes the value as text, never as HTML', async () => {
      await recordChanges(viewer.page, SHORTCODE);
      const value = '<b>1</b>&amp;';
      await save(value);
      await changeTo(viewer.page, value);
      assert.equal(await viewer.page.locator(`${SHORTCODE} b`).count(), 0);
    });

    test('empties the text when the value is deleted', async (t) => {
      await recordChanges(viewer.page, SHORTCODE);
      const deleted = await save(null);
      const change = await changeTo(viewer.page, '');
      t.diagnostic(`delete answered in ${deleted.took.toFixed(1)} ms; ${told(change, deleted)}`);
      await save('43.00');
      await changeTo(viewer.page, '43.00');
    });

    test('changes an element that has no more than the id of older front ends', async () => {
      const set = (price) => admin.saveMeta('posts', stack.site.postId, { price });
      assert.equal((await set('12.00')).status, 200);
      const { page, context, faults } = await newPage(browser);
      await page.goto(`${stack.origin}/hello-world/`);
      await page.waitForSelector('html[data-sidewire-state="live"]');
      assert.equal(await page.locator('[data-sidewire-meta]').count(), 0, 'nothing else is marked');
      assert.equal(await page.getAttribute(BY_ID_ALONE, 'id'), `meta-value-post-${stack.site.postId}-price`);
      assert.equal(await page.textContent(BY_ID_ALONE), '12.00');
      await recordChanges(page, BY_ID_ALONE);
      await set('12.50');
      await changeTo(page, '12.50');
      await context.close();
      assert.deepEqual(faults, []);
    });

    test('is right with JavaScript off', async () => {
      const { page, context } = await newPage(browser, { javaScriptEnabled: false });
      await page.goto(stack.origin);
      const html = await page.content();
      assert.ok(html.includes('>43.00<'));
      assert.equal(await page.locator(SHORTCODE).textContent(), '43.00');
      assert.equal(await page.locator(BOUND_BLOCK).textContent(), '43.00');
      assert.equal(await page.locator(STATE_AS_LOADED).innerText(), 'The price as of loading this page');
      await context.close();
    });

    if (backEnd === 'PHP-FPM') {
      test('can be seen going live: a recording', async (t) => {
        const file = process.env.SIDEWIRE_RECORDING ? join(PROJECT, 'docs/first-light.gif') : join(TARGET, 'first-light.gif');
        const { bytes, frames } = await record(browser, stack, file);
        t.diagnostic(`${file}: ${frames} pictures, ${(bytes / 1024).toFixed(0)} KiB`);
        assert.ok(frames > 20, `${frames} pictures`);
        assert.ok(bytes < MOST_BYTES, `${bytes} bytes`);
      });
    }

    test('caused no error in either console, and none in PHP', async () => {
      assert.deepEqual(viewer.faults, []);
      assert.deepEqual(admin.faults, []);
      assert.deepEqual(stack.site.loggedFaults(), []);
    });
  });
}

/**
 * Types a command into a drawn terminal, runs it for real, and records what the
 * page does in two windows above it.
 */
async function record(browser, { origin, site }, file) {
  await site.setPrice('39.90');
  const { page, context, faults } = await newPage(browser, { viewport: { width: 860, height: 664 } });
  // The stage has the site's own origin, as a page of the site would that shows it in a frame.
  await page.route(`${origin}/stage`, (route) => route.fulfill({ path: fileURLToPath(new URL('./harness/stage.html', import.meta.url)) }));
  await page.goto(`${origin}/stage`);
  await page.evaluate((address) => {
    for (const frame of document.querySelectorAll('iframe')) frame.src = address;
    window.showTerminal([], '');
  }, `${origin}/`);
  const windows = ['#desktop', '#phone'].map((frame) => page.frameLocator(frame));
  const prices = () => Promise.all(windows.map((one) => one.locator(SHORTCODE).textContent()));
  for (const one of windows) {
    await one.locator('html[data-sidewire-state="live"]').waitFor({ state: 'attached' });
    // From the title on: the menu above it says nothing here. (scrollIntoView would scroll the stage as well.)
    await one.locator('h1').evaluate((title) => window.scrollBy(0, title.getBoundingClientRect().top - 32));
  }
  await page.waitForLoadState('networkidle');
  const recording = new Recording(page);
  await recording.frame(1200);

  const done = [];
  let before = '39.90';
  for (const price of ['42.50', '38.00']) {
    const command = `php target/demo/price ${price}`;
    for (let length = 1; length <= command.length; length += 1) {
      await page.evaluate(([lines, typed]) => window.showTerminal(lines, typed), [done, command.slice(0, length)]);
      await recording.frame(length === command.length ? 600 : 45);
    }
    assert.equal(await page.textContent('#typed'), command, 'the whole command is seen before it runs');
    // Enter: the line stays, and there is no prompt until the command has ended.
    done.push(`$ ${command}`);
    await page.evaluate((lines) => window.showTerminal(lines), done);
    await recording.frame(150);
    assert.deepEqual(await prices(), [before, before], 'nothing changed yet');
    const saving = site.setPrice(price);
    for (const one of windows) await one.locator(SHORTCODE, { hasText: price }).waitFor();
    await recording.frame(60);
    done.push((await saving).trim());
    await page.evaluate((lines) => window.showTerminal(lines, ''), done);
    for (let step = 0; step < 8; step += 1) await recording.frame(150);
    await recording.frame(1400);
    before = price;
  }
  const bytes = recording.save(file);
  await context.close();
  assert.deepEqual(faults, []);
  return { bytes, frames: recording.frames.length };
}

/** WordPress publishes at the end of the request, so the page may well be ahead of the answer. */
function told(change, saved) {
  const after = change.at - saved.answeredAt;
  return `DOM changed ${Math.abs(after).toFixed(1)} ms ${after < 0 ? 'before' : 'after'} the answer arrived`;
}
