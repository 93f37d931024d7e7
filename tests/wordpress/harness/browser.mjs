/**
 * Debian's Chromium, headless, and pages that tell everything that went wrong in them.
 *
 * Knows browsers only; what WordPress shows is for `wordpress_admin.mjs` and the tests.
 */

import { chromium } from 'playwright-core';

import { isProgram } from './folders.mjs';

const PROGRAM = '/usr/bin/chromium';
/** No call home: what the browser itself would ask the network for only slows the tests. */
const FLAGS = [
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/** Starts a browser. `close()` it at the end; it also ends with this process. */
export function launchBrowser() {
  if (!isProgram(PROGRAM)) throw new Error(`${PROGRAM} is not installed; \`.ci/install test\` installs it`);
  return chromium.launch({
    executablePath: PROGRAM,
    // It refuses to make its sandbox for root and can't in many containers; the pages are our own.
    chromiumSandbox: false,
    args: FLAGS,
    timeout: 60_000,
    handleSIGINT: false,
    handleSIGTERM: false,
    handleSIGHUP: false,
  });
}

/**
 * A page in a context of its own, with `faults`: console errors, uncaught
 * errors, failed requests and answers from 400 on, as they happen.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {import('playwright-core').BrowserContextOptions} [options]
 */
export async function newPage(browser, options = {}) {
  // The pair is made for the test: the browser has no reason to trust it.
  const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(20_000);
  // Pictures from wordpress.org and the like: nothing here depends on the network.
  await context.route((url) => url.hostname !== 'localhost', (route) => route.fulfill({ status: 204 }));
  const page = await context.newPage();
  return { context, page, faults: faultsOf(page) };
}

function faultsOf(page) {
  const faults = [];
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.stack ?? error}`));
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    // A page that is left gives up what it still asked for.
    if (reason !== 'net::ERR_ABORTED') faults.push(`request: ${request.url()} ${reason}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) faults.push(`answer: ${response.status()} ${response.request().method()} ${response.url()}`);
  });
  return faults;
}

/**
 * Records in the page when the text of the first element that fits changes, with
 * the time on a clock that all pages of this machine share.
 */
export function recordChanges(page, selector) {
  return page.evaluate((chosen) => {
    const element = document.querySelector(chosen);
    window.recordedChanges = [];
    window.loadedOnce = true;
    new MutationObserver(() => {
      window.recordedChanges.push({ text: element.textContent, at: performance.timeOrigin + performance.now() });
    }).observe(element, { childList: true, characterData: true, subtree: true });
  }, selector);
}

/** The recorded change to `text`, once it is there, and that no reload came between. */
export async function changeTo(page, text, { within = 5_000 } = {}) {
  const change = await page.waitForFunction(
    (wanted) => window.recordedChanges?.find((one) => one.text === wanted),
    text,
    // Polling by animation frame would stop in a page that is not in front.
    { timeout: within, polling: 10 },
  );
  return change.jsonValue();
}
