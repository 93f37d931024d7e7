/**
 * WordPress itself, on PHP-FPM with no other web server than the sidecar:
 * what people do with it works.
 */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { launchBrowser, newPage } from './harness/browser.mjs';
import { HttpsClient } from './harness/https_client.mjs';
import { until } from './harness/process.mjs';
import { Stack } from './harness/stack.mjs';
import { WordPressAdmin } from './harness/wordpress_admin.mjs';

const UPLOAD_BYTES = 20 * 1024 * 1024;

describe('WordPress on Sidewire and PHP-FPM alone', { timeout: 150_000 }, () => {
  let stack, browser, office, admin, visitor;

  before(async () => {
    stack = await Stack.start('wp');
    browser = await launchBrowser();
    visitor = new HttpsClient(stack.origin, stack.certificate.pem);
    office = await newPage(browser);
    admin = await WordPressAdmin.logIn(office.page, stack);
  });
  after(async () => {
    visitor?.close();
    await browser?.close();
    await stack?.stop();
  });

  test('the front page and a post by its permalink answer 200', async () => {
    assert.equal((await visitor.get('/')).status, 200);
    const post = await visitor.get('/hello-world/');
    assert.equal(post.status, 200);
    assert.ok(/<h1[^>]*>Hello world!<\/h1>/.test(post.text));
  });

  test('an address without its slash is redirected by WordPress to the public one', async () => {
    const answer = await visitor.get('/hello-world');
    assert.equal(answer.status, 301);
    assert.equal(answer.headers.location, `${stack.origin}/hello-world/`);
  });

  test('an address that is nobody\'s gets the theme\'s 404 page', async () => {
    const answer = await visitor.get('/no-such-page/');
    assert.equal(answer.status, 404);
    assert.ok(answer.text.includes('<html'));
  });

  test('feeds, robots.txt and the sitemap, which are no files, answer', async () => {
    for (const path of ['/feed/', '/robots.txt', '/wp-sitemap.xml']) {
      assert.equal((await visitor.get(path)).status, 200, path);
    }
  });

  test('the REST API answers visitors, and refuses them what needs a login', async () => {
    const answer = await visitor.get('/wp-json/wp/v2/posts');
    assert.equal(answer.status, 200);
    assert.equal(JSON.parse(answer.text)[0].slug, 'hello-world');
    assert.equal((await visitor.get('/wp-json/wp/v2/settings')).status, 401);
  });

  test('what lies in the root but is nobody\'s business is not served', async () => {
    for (const path of ['/wp-content/database/.ht.sqlite', '/.htaccess', '/wp-config.php.new']) {
      const { status, text } = await visitor.get(path);
      assert.ok(status === 403 || status === 404, `${path} answered ${status}`);
      assert.ok(!text.includes('SQLite format 3'), path);
    }
  });

  test('a PHP file among the uploads is never run', async () => {
    const folder = join(stack.site.wordpress, 'wp-content/uploads');
    writeFileSync(join(folder, 'shell.php'), '<?php echo "it ", "was run";');
    for (const path of ['/wp-content/uploads/shell.php', '/wp-content/uploads/shell.php/x.jpg']) {
      const { status, text } = await visitor.get(path);
      assert.ok(status === 403 || status === 404, `${path} answered ${status}`);
      assert.ok(!text.includes('it was run') && !text.includes('<?php'), path);
    }
  });

  test('the dashboard loads with all its scripts, styles and pictures', async () => {
    office.faults.length = 0;
    await office.page.goto(`${stack.origin}/wp-admin/`);
    await office.page.waitForLoadState('networkidle');
    assert.match(await office.page.title(), /Dashboard/);
    assert.ok(await office.page.evaluate(() => document.styleSheets.length) > 2, 'styles were loaded');
    assert.deepEqual(office.faults, []);
  });

  test('every screen of the menu opens', async () => {
    const links = await office.page.$$eval('#adminmenu a', (all) => [...new Set(all.map((link) => link.href))]);
    const inside = links.filter((link) => link.includes('/wp-admin/') && !/site-editor|customize|export\.php/.test(link));
    assert.ok(inside.length > 15, `the menu has ${inside.length} links`);
    const answers = await office.page.evaluate(
      (all) => Promise.all(all.map(async (link) => `${(await fetch(link, { credentials: 'same-origin' })).status} ${link}`)),
      inside,
    );
    assert.deepEqual(answers.filter((answer) => !answer.startsWith('200 ')), []);
  });

  test('the block editor opens a page, and Update saves it', async () => {
    office.faults.length = 0;
    await office.page.goto(`${stack.origin}/wp-admin/post.php?post=${stack.site.pageId}&action=edit`);
    await office.page.waitForFunction(() => window.wp?.data?.select('core/editor')?.getCurrentPostId());
    await office.page.locator('.editor-post-publish-button').waitFor();
    assert.equal(await office.page.evaluate(() => window.wp.data.select('core/edit-post').isFeatureActive('welcomeGuide')), false);
    assert.equal(await office.page.locator('.edit-post-welcome-guide').count(), 0, 'no greeting is in the way');
    const saved = await office.page.evaluate(async () => {
      await window.wp.data.dispatch('core/editor').editPost({ title: 'Ethiopian coffee, new harvest' });
      await window.wp.data.dispatch('core/editor').savePost();
      return window.wp.data.select('core/editor').didPostSaveRequestSucceed();
    });
    assert.equal(saved, true);
    assert.deepEqual(office.faults, []);
    assert.ok((await visitor.get('/')).text.includes('new harvest'));
  });

  test('a file of 20 MB is uploaded by the media library and comes back byte for byte', async (t) => {
    await office.page.goto(`${stack.origin}/wp-admin/media-new.php?browser-uploader`);
    // A PDF by its name, since that is what WordPress lets pass; its pages don't matter here.
    const bytes = Buffer.concat([Buffer.from('%PDF-1.4\n'), randomBytes(UPLOAD_BYTES)]);
    const file = join(stack.folder, 'catalogue.pdf');
    writeFileSync(file, bytes);
    await office.page.setInputFiles('#async-upload', file);
    const start = performance.now();
    await Promise.all([office.page.waitForURL(/upload\.php/), office.page.click('#html-upload')]);
    t.diagnostic(`20 MB uploaded in ${(performance.now() - start).toFixed(0)} ms`);
    const media = await admin.rest('/wp/v2/media');
    const [{ source_url: url }] = media.body;
    const answer = await visitor.get(new URL(url).pathname);
    assert.equal(answer.status, 200);
    assert.equal(digest(answer.bytes), digest(bytes));
  });

  test('a file of 20 MB is uploaded by the REST API', async () => {
    const status = await office.page.evaluate(
      async ({ nonce, size }) => {
        const answer = await fetch('/wp-json/wp/v2/media', {
          method: 'POST',
          headers: { 'X-WP-Nonce': nonce, 'Content-Type': 'application/pdf', 'Content-Disposition': 'attachment; filename="rest.pdf"' },
          body: new Blob(['%PDF-1.4\n', new Uint8Array(size)]),
        });
        return answer.status;
      },
      { nonce: admin.nonce, size: UPLOAD_BYTES },
    );
    assert.equal(status, 201);
  });

  test('wp-cron runs what is due when a visitor comes', async () => {
    const { page, context, faults } = await newPage(browser);
    await page.goto(stack.origin);
    await page.waitForSelector('html[data-sidewire-state="live"]');
    await stack.site.eval(`wp_schedule_single_event( time() - 1, 'live_price_scheduled', array( ${stack.site.pageId}, '55.00' ) );`);
    await visitor.get('/hello-world/');
    // The event is the proof that wp-cron.php ran in full: it is sent at the end of that request.
    await page.waitForFunction(() => document.querySelector('[data-sidewire-meta]').textContent === '55.00');
    assert.deepEqual(faults, []);
    await context.close();
    await until('the schedule to be empty', async () => (await stack.site.eval("echo wp_next_scheduled( 'live_price_scheduled' ) ? 'yes' : 'no';")) === 'no');
  });

  test('the site finds itself: the loopback request of Site Health succeeds', async () => {
    const answer = await admin.rest('/wp-site-health/v1/tests/loopback-requests');
    assert.equal(answer.status, 200);
    assert.equal(answer.body.status, 'good', JSON.stringify(answer.body));
  });

  test('the Authorization header reaches PHP: an application password logs in', async () => {
    const made = await admin.rest('/wp/v2/users/me/application-passwords', { method: 'POST', json: { name: 'test' } });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const credentials = Buffer.from(`${stack.site.user}:${made.body.password}`).toString('base64');
    const answer = await visitor.get('/wp-json/wp/v2/users/me', { authorization: `Basic ${credentials}` });
    assert.equal(answer.status, 200);
  });

  test('nothing of this made PHP fail', () => {
    assert.deepEqual(stack.site.loggedFaults(), []);
  });
});

function digest(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
