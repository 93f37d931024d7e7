/**
 * A person who is logged in to WordPress, in a browser page.
 *
 * Logs in through wp-login.php as people do, and saves through the REST API as
 * wp-admin does: with the session's cookies and nonce.
 */

export class WordPressAdmin {
  /**
   * @param {import('playwright-core').Page} page
   * @param {{origin: string, site: import('./site.mjs').Site}} stack
   */
  static async logIn(page, { origin, site }) {
    await page.goto(`${origin}/wp-login.php`);
    await page.fill('#user_login', site.user);
    await page.fill('#user_pass', site.password);
    await Promise.all([page.waitForURL(/\/wp-admin\//), page.click('#wp-submit')]);
    const admin = new WordPressAdmin();
    Object.assign(admin, { page, origin });
    admin.nonce = await page.evaluate(() =>
      fetch('/wp-admin/admin-ajax.php?action=rest-nonce', { credentials: 'same-origin' }).then((answer) => answer.text()),
    );
    return admin;
  }

  /**
   * One call of the REST API from inside the page.
   *
   * @param {string} path after `/wp-json`
   * @param {{method?: string, json?: unknown}} [options]
   * @returns {Promise<{status: number, body: any, took: number, answeredAt: number}>} times in ms; `answeredAt` on the clock all pages share
   */
  rest(path, { method = 'GET', json } = {}) {
    return this.page.evaluate(
      async ({ path, method, json, nonce }) => {
        const start = performance.now();
        const answer = await fetch(`/wp-json${path}`, {
          method,
          credentials: 'same-origin',
          headers: { 'X-WP-Nonce': nonce, 'Content-Type': 'application/json' },
          body: json === undefined ? undefined : JSON.stringify(json),
        });
        const end = performance.now();
        const body = await answer.json();
        return { status: answer.status, body, took: end - start, answeredAt: performance.timeOrigin + end };
      },
      { path, method, json, nonce: this.nonce },
    );
  }

  /** Saves meta of a page or post: `{ price: '42.50' }`; `null` deletes. */
  saveMeta(type, id, meta) {
    return this.rest(`/wp/v2/${type}/${id}`, { method: 'POST', json: { meta } });
  }
}
